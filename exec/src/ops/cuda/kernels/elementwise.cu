// Activations, their gradients, sums, products, what ends a convolution. `vec` says that all addresses and sizes allow four at once.

template <int V> __device__ void activate_all(int kind, float slope, const T *x, T *y, u64 n) {
    for (u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * V; i < n; i += (u64)gridDim.x * blockDim.x * V) {
        Pack<V> pack = load<V>(x, i);
        for (int v = 0; v < V; v++) pack.v[v] = activated(kind, pack.v[v], slope);
        store<V>(y, i, pack);
    }
}

extern "C" __global__ void activate(int vec, int kind, float slope, const T *x, T *y, u64 n) {
    if (vec) activate_all<4>(kind, slope, x, y, n);
    else activate_all<1>(kind, slope, x, y, n);
}

template <int V> __device__ void activate_backward_all(int kind, float slope, const T *y, const T *dy, T *dx, u64 n) {
    for (u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * V; i < n; i += (u64)gridDim.x * blockDim.x * V) {
        const Pack<V> out = load<V>(y, i);
        Pack<V> grad = load<V>(dy, i);
        for (int v = 0; v < V; v++) grad.v[v] = masked(kind, out.v[v], grad.v[v], slope);
        store<V>(dx, i, grad);
    }
}

extern "C" __global__ void activate_backward(int vec, int kind, float slope, const T *y, const T *dy, T *dx,
                                             u64 n) {
    if (vec) activate_backward_all<4>(kind, slope, y, dy, dx, n);
    else activate_backward_all<1>(kind, slope, y, dy, dx, n);
}

template <int V> __device__ void add_all(const T *a, const T *b, T *y, u64 n) {
    for (u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * V; i < n; i += (u64)gridDim.x * blockDim.x * V) {
        Pack<V> left = load<V>(a, i);
        const Pack<V> right = load<V>(b, i);
        for (int v = 0; v < V; v++) left.v[v] += right.v[v];
        store<V>(y, i, left);
    }
}

extern "C" __global__ void add(int vec, const T *a, const T *b, T *y, u64 n) {
    if (vec) add_all<4>(a, b, y, n);
    else add_all<1>(a, b, y, n);
}

template <int V> __device__ void mul_all(const T *a, const T *b, T *y, u64 n) {
    for (u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * V; i < n; i += (u64)gridDim.x * blockDim.x * V) {
        Pack<V> left = load<V>(a, i);
        const Pack<V> right = load<V>(b, i);
        for (int v = 0; v < V; v++) left.v[v] *= right.v[v];
        store<V>(y, i, left);
    }
}

extern "C" __global__ void mul(int vec, const T *a, const T *b, T *y, u64 n) {
    if (vec) mul_all<4>(a, b, y, n);
    else mul_all<1>(a, b, y, n);
}

// y = activation(y + bias + residual) in place, for y of [rows, channels]; bias and residual may be missing.
template <int V> __device__ void tail_all(const float *bias, const T *residual, int kind, T *y, u64 rows, int channels) {
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (channel >= channels) return;
    Pack<V> shift;
    for (int v = 0; v < V; v++) shift.v[v] = bias ? bias[channel + v] : 0.0f;
    for (u64 row = (u64)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += (u64)gridDim.y * blockDim.y) {
        const u64 at = row * channels + channel;
        Pack<V> value = load<V>(y, at);
        for (int v = 0; v < V; v++) value.v[v] += shift.v[v];
        if (residual) {
            const Pack<V> added = load<V>(residual, at);
            for (int v = 0; v < V; v++) value.v[v] += added.v[v];
        }
        for (int v = 0; v < V; v++) value.v[v] = activated(kind, value.v[v]);
        store<V>(y, at, value);
    }
}

extern "C" __global__ void tail(int vec, const float *bias, const T *residual, int kind, T *y, u64 rows, int channels) {
    if (vec) tail_all<4>(bias, residual, kind, y, rows, channels);
    else tail_all<1>(bias, residual, kind, y, rows, channels);
}
