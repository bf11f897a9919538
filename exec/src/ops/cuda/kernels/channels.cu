// What has parameters along the channels of [rows, channels]: parametric ReLU, layer norm over the channels of each row, and
// the sums that are their parameters' gradients.

template <int V> __device__ void prelu_all(const T *x, const float *weight, T *y, u64 rows, int channels) {
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (channel >= channels) return;
    const Pack<V> slope = load<V>(weight, channel);
    for (u64 row = (u64)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += (u64)gridDim.y * blockDim.y) {
        const u64 at = row * channels + channel;
        Pack<V> value = load<V>(x, at);
        for (int v = 0; v < V; v++) value.v[v] = value.v[v] > 0.0f ? value.v[v] : value.v[v] * slope.v[v];
        store<V>(y, at, value);
    }
}

extern "C" __global__ void prelu(int vec, const T *x, const float *weight, T *y, u64 rows, int channels) {
    if (vec) prelu_all<4>(x, weight, y, rows, channels);
    else prelu_all<1>(x, weight, y, rows, channels);
}

// dx, and the sums of dy * x where x is not above 0.
template <int V> struct Below {
    const T *x, *dy;
    const float *weight;
    T *dx;
    int channels;
    __device__ __forceinline__ void operator()(u64 row, int channel, float out[1][V]) const {
        const u64 at = row * channels + channel;
        const Pack<V> value = load<V>(x, at), slope = load<V>(weight, channel);
        Pack<V> grad = load<V>(dy, at);
        for (int v = 0; v < V; v++) {
            const bool above = value.v[v] > 0.0f;
            out[0][v] = above ? 0.0f : grad.v[v] * value.v[v];
            grad.v[v] = above ? grad.v[v] : grad.v[v] * slope.v[v];
        }
        store<V>(dx, at, grad);
    }
};

extern "C" __global__ void prelu_backward(int vec, const T *x, const float *weight, const T *dy, T *dx, double *partial,
                                          u64 rows, int channels) {
    if (vec) sum_rows<4, 1>(Below<4>{x, dy, weight, dx, channels}, partial, rows, channels);
    else sum_rows<1, 1>(Below<1>{x, dy, weight, dx, channels}, partial, rows, channels);
}

// The sum over a row's 32 threads, in all of them; each block of [32, 8] has a row a thread in y.
__device__ __forceinline__ float over_row(float own, float shared[8][33]) {
    __syncthreads(); // an earlier sum may still be read
    shared[threadIdx.y][threadIdx.x] = own;
    __syncthreads();
    float total = 0.0f;
    for (int i = 0; i < 32; i++) total += shared[threadIdx.y][i];
    return total;
}

// Mean and 1 / sqrt(variance + eps) of a row, the variance around the mean.
struct Centre {
    float mean, inv_std;
};

__device__ __forceinline__ Centre centre(const T *x, u64 row, bool here, double eps, int channels, float shared[8][33]) {
    float total = 0.0f;
    if (here)
        for (int c = threadIdx.x; c < channels; c += 32) total += get(x, row * channels + c);
    const float mean = over_row(total, shared) / channels;
    total = 0.0f;
    if (here)
        for (int c = threadIdx.x; c < channels; c += 32) {
            const float centred = get(x, row * channels + c) - mean;
            total += centred * centred;
        }
    const float variance = over_row(total, shared) / channels;
    return Centre{mean, (float)(1.0 / sqrt((double)variance + eps))};
}

extern "C" __global__ void layer_norm(const T *x, const float *weight, const float *bias, double eps, T *y, u64 rows,
                                      int channels) {
    __shared__ float shared[8][33];
    // All threads of a block go round as often: they wait for each other in the sums.
    for (u64 first = (u64)blockIdx.x * 8; first < rows; first += (u64)gridDim.x * 8) {
        const u64 row = first + threadIdx.y;
        const bool here = row < rows;
        const Centre own = centre(x, row, here, eps, channels, shared);
        if (here)
            for (int c = threadIdx.x; c < channels; c += 32) {
                const u64 at = row * channels + c;
                put(y, at, (get(x, at) - own.mean) * own.inv_std * weight[c] + bias[c]);
            }
    }
}

// dx = inv_std (g - mean(g) - n mean(g n)) for g = dy weight and the normalised n; hands out each row's statistics.
extern "C" __global__ void layer_norm_input_grad(const T *x, const float *weight, double eps, const T *dy, T *dx, float *means,
                                                 float *inv_stds, u64 rows, int channels) {
    __shared__ float shared[8][33];
    for (u64 first = (u64)blockIdx.x * 8; first < rows; first += (u64)gridDim.x * 8) {
        const u64 row = first + threadIdx.y;
        const bool here = row < rows;
        const Centre own = centre(x, row, here, eps, channels, shared);
        float level = 0.0f, tilt = 0.0f;
        if (here)
            for (int c = threadIdx.x; c < channels; c += 32) {
                const u64 at = row * channels + c;
                const float slope = get(dy, at) * weight[c];
                level += slope;
                tilt += slope * ((get(x, at) - own.mean) * own.inv_std);
            }
        level = over_row(level, shared) / channels;
        tilt = over_row(tilt, shared) / channels;
        if (!here) continue;
        for (int c = threadIdx.x; c < channels; c += 32) {
            const u64 at = row * channels + c;
            const float normalised = (get(x, at) - own.mean) * own.inv_std;
            put(dx, at, (get(dy, at) * weight[c] - level - normalised * tilt) * own.inv_std);
        }
        if (threadIdx.x == 0) {
            means[row] = own.mean;
            inv_stds[row] = own.inv_std;
        }
    }
}

// Sums of dy and of dy * n; without statistics n is x itself.
template <int V> struct Products {
    const T *x, *dy;
    const float *means, *inv_stds;
    int channels;
    __device__ __forceinline__ void operator()(u64 row, int channel, float out[2][V]) const {
        const u64 at = row * channels + channel;
        const Pack<V> value = load<V>(x, at), grad = load<V>(dy, at);
        const float mean = means ? means[row] : 0.0f, inv_std = means ? inv_stds[row] : 1.0f;
        for (int v = 0; v < V; v++) {
            out[0][v] = grad.v[v];
            out[1][v] = grad.v[v] * ((value.v[v] - mean) * inv_std);
        }
    }
};

extern "C" __global__ void products(int vec, const T *x, const T *dy, const float *means, const float *inv_stds,
                                    double *partial, u64 rows, int channels) {
    if (vec) sum_rows<4, 2>(Products<4>{x, dy, means, inv_stds, channels}, partial, rows, channels);
    else sum_rows<1, 2>(Products<1>{x, dy, means, inv_stds, channels}, partial, rows, channels);
}
