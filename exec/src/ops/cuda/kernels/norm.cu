// Batch norm with the addition and the activation behind it, forward and backward; sums per channel.
// x, y and their gradients are [rows, channels]. Moments are summed around the channel's first value, in two levels.

template <int V> struct Moments {
    const T *x;
    int channels;
    __device__ __forceinline__ void operator()(u64 row, int channel, float out[2][V]) const {
        const Pack<V> value = load<V>(x, row * channels + channel), shift = load<V>(x, channel);
        for (int v = 0; v < V; v++) {
            const float centred = value.v[v] - shift.v[v];
            out[0][v] = centred;
            out[1][v] = centred * centred;
        }
    }
};

extern "C" __global__ void moments(int vec, const T *x, double *partial, u64 rows, int channels) {
    if (vec) sum_rows<4, 2>(Moments<4>{x, channels}, partial, rows, channels);
    else sum_rows<1, 2>(Moments<1>{x, channels}, partial, rows, channels);
}

extern "C" __global__ void moments_finish(const double *partial, int splits, const T *x, double eps, u64 rows,
                                          int channels, float *mean, float *inv_std, float *unbiased) {
    const int channel = blockIdx.x;
    const double first = sum_splits(partial, splits, 2, 0, channels, channel);
    const double second = sum_splits(partial, splits, 2, 1, channels, channel);
    if (threadIdx.x != 0) return;
    const double offset = first / rows;
    double squares = second - first * offset;
    if (squares < 0.0) squares = 0.0; // rounding; NaN stays NaN
    mean[channel] = (float)(get(x, channel) + offset);
    inv_std[channel] = (float)(1.0 / sqrt(squares / rows + eps));
    unbiased[channel] = (float)(squares / (double)(rows - 1));
}

// y = activation((x - mean) * weight * inv_std + bias + residual). With `eps >= 0`, `spread` is a variance, else 1 / std.
template <int V>
__device__ void apply(const T *x, const float *mean, const float *spread, double eps, const float *weight,
                      const float *bias, const T *residual, int kind, T *y, u64 rows, int channels) {
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (channel >= channels) return;
    const Pack<V> centre = load<V>(mean, channel), shift = load<V>(bias, channel), gain = load<V>(weight, channel);
    Pack<V> scale = load<V>(spread, channel);
    for (int v = 0; v < V; v++) {
        if (eps >= 0.0) scale.v[v] = (float)(1.0 / sqrt((double)scale.v[v] + eps));
        scale.v[v] *= gain.v[v];
    }
    for (u64 row = (u64)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += (u64)gridDim.y * blockDim.y) {
        const u64 at = row * channels + channel;
        Pack<V> value = load<V>(x, at);
        for (int v = 0; v < V; v++) value.v[v] = (value.v[v] - centre.v[v]) * scale.v[v] + shift.v[v];
        if (residual) {
            const Pack<V> added = load<V>(residual, at);
            for (int v = 0; v < V; v++) value.v[v] += added.v[v];
        }
        for (int v = 0; v < V; v++) value.v[v] = activated(kind, value.v[v]);
        store<V>(y, at, value);
    }
}

extern "C" __global__ void norm_apply(int vec, const T *x, const float *mean, const float *spread, double eps,
                                      const float *weight, const float *bias, const T *residual, int kind, T *y,
                                      u64 rows, int channels) {
    if (vec) apply<4>(x, mean, spread, eps, weight, bias, residual, kind, y, rows, channels);
    else apply<1>(x, mean, spread, eps, weight, bias, residual, kind, y, rows, channels);
}

// Sums of g and of g * normalised x, where g is dy past the activation's mask.
template <int V> struct Slopes {
    const T *x, *y, *dy;
    const float *mean, *inv_std;
    int kind, channels;
    __device__ __forceinline__ void operator()(u64 row, int channel, float out[2][V]) const {
        const u64 at = row * channels + channel;
        Pack<V> grad = load<V>(dy, at);
        const Pack<V> value = load<V>(x, at), centre = load<V>(mean, channel), scale = load<V>(inv_std, channel);
        if (kind) {
            const Pack<V> passed = load<V>(y, at);
            for (int v = 0; v < V; v++) grad.v[v] = masked(kind, passed.v[v], grad.v[v]);
        }
        for (int v = 0; v < V; v++) {
            out[0][v] = grad.v[v];
            out[1][v] = grad.v[v] * ((value.v[v] - centre.v[v]) * scale.v[v]);
        }
    }
};

extern "C" __global__ void slopes(int vec, const T *x, const float *mean, const float *inv_std, const T *y, int kind,
                                  const T *dy, double *partial, u64 rows, int channels) {
    if (vec) sum_rows<4, 2>(Slopes<4>{x, y, dy, mean, inv_std, kind, channels}, partial, rows, channels);
    else sum_rows<1, 2>(Slopes<1>{x, y, dy, mean, inv_std, kind, channels}, partial, rows, channels);
}

extern "C" __global__ void slopes_finish(const double *partial, int splits, int channels, float *dweight, float *dbias) {
    const int channel = blockIdx.x;
    const double shift = sum_splits(partial, splits, 2, 0, channels, channel);
    const double slope = sum_splits(partial, splits, 2, 1, channels, channel);
    if (threadIdx.x != 0) return;
    dbias[channel] = (float)shift;
    dweight[channel] = (float)slope;
}

// dx = weight * inv_std * (g - mean(g) - normalised x * mean(g * normalised x)); dresidual = g, where it is wanted.
template <int V>
__device__ void input_grad(const T *x, const float *mean, const float *inv_std, const float *weight, const T *y, int kind,
                           const T *dy, const float *dweight, const float *dbias, T *dx, T *dresidual,
                           u64 rows, int channels) {
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (channel >= channels) return;
    const Pack<V> centre = load<V>(mean, channel), scale = load<V>(inv_std, channel);
    Pack<V> gain = load<V>(weight, channel), slope = load<V>(dweight, channel), shift = load<V>(dbias, channel);
    for (int v = 0; v < V; v++) {
        gain.v[v] *= scale.v[v];
        slope.v[v] = (float)((double)slope.v[v] / rows);
        shift.v[v] = (float)((double)shift.v[v] / rows);
    }
    for (u64 row = (u64)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += (u64)gridDim.y * blockDim.y) {
        const u64 at = row * channels + channel;
        Pack<V> grad = load<V>(dy, at);
        if (kind) {
            const Pack<V> passed = load<V>(y, at);
            for (int v = 0; v < V; v++) grad.v[v] = masked(kind, passed.v[v], grad.v[v]);
        }
        if (dresidual) store<V>(dresidual, at, grad);
        const Pack<V> value = load<V>(x, at);
        for (int v = 0; v < V; v++) {
            const float normalised = (value.v[v] - centre.v[v]) * scale.v[v];
            grad.v[v] = gain.v[v] * (grad.v[v] - shift.v[v] - normalised * slope.v[v]);
        }
        store<V>(dx, at, grad);
    }
}

extern "C" __global__ void norm_input_grad(int vec, const T *x, const float *mean, const float *inv_std,
                                           const float *weight, const T *y, int kind, const T *dy,
                                           const float *dweight, const float *dbias, T *dx, T *dresidual, u64 rows,
                                           int channels) {
    if (vec) input_grad<4>(x, mean, inv_std, weight, y, kind, dy, dweight, dbias, dx, dresidual, rows, channels);
    else input_grad<1>(x, mean, inv_std, weight, y, kind, dy, dweight, dbias, dx, dresidual, rows, channels);
}

template <int V> struct Values {
    const T *x;
    int channels;
    __device__ __forceinline__ void operator()(u64 row, int channel, float out[1][V]) const {
        const Pack<V> value = load<V>(x, row * channels + channel);
        for (int v = 0; v < V; v++) out[0][v] = value.v[v];
    }
};

extern "C" __global__ void channel_sums(int vec, const T *x, double *partial, u64 rows, int channels) {
    if (vec) sum_rows<4, 1>(Values<4>{x, channels}, partial, rows, channels);
    else sum_rows<1, 1>(Values<1>{x, channels}, partial, rows, channels);
}

extern "C" __global__ void channel_sums_finish(const double *partial, int splits, int channels, float *sums) {
    const double total = sum_splits(partial, splits, 1, 0, channels, blockIdx.x);
    if (threadIdx.x == 0) sums[blockIdx.x] = (float)total;
}
