// What every kernel file starts with: vectors of channels, activations, sums over rows.
// Images are [N, H, W, C]: a row is one pixel of one image, and neighbouring threads take neighbouring channels.

typedef unsigned int u32;
typedef unsigned long long u64;

// V floats that travel as one load; V is 4 where the number of channels allows it, else 1.
template <int V> struct alignas(4 * V) Pack {
    float v[V];
};

template <int V> __device__ __forceinline__ Pack<V> load(const float *from, u64 at) {
    return *reinterpret_cast<const Pack<V> *>(from + at);
}

template <int V> __device__ __forceinline__ void store(float *to, u64 at, const Pack<V> &pack) {
    *reinterpret_cast<Pack<V> *>(to + at) = pack;
}

// Activations: 0 none, 1 ReLU, 2 ReLU6. NaN stays NaN; the comparisons are those of the CPU kernels.
__device__ __forceinline__ float activated(int kind, float x) {
    if (kind == 0) return x;
    const float floored = x <= 0.0f ? 0.0f : x;
    return kind == 2 && floored >= 6.0f ? 6.0f : floored;
}

// The gradient where the output `y` of an activation was not clamped.
__device__ __forceinline__ float masked(int kind, float y, float dy) {
    if (kind == 1) return y <= 0.0f ? 0.0f : dy;
    if (kind == 2) return y > 0.0f && y < 6.0f ? dy : 0.0f;
    return dy;
}

// Sums K numbers a channel over rows. A thread owns V channels and every (gridDim.y * blockDim.y)-th row; up to 16 values
// are added in f32, the rest in f64. `partial` is [gridDim.y, K, channels]; `finish` kernels add it up in a fixed order,
// so a sum has the same bits in every run.
// terms(row, channel, out) writes out[K][V].
template <int V, int K, class Terms>
__device__ __forceinline__ void sum_rows(const Terms &terms, double *partial, u64 rows, int channels) {
    extern __shared__ double shared[];
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    double total[K][V];
    for (int k = 0; k < K; k++)
        for (int v = 0; v < V; v++) total[k][v] = 0.0;
    if (channel < channels) {
        const u64 step = (u64)gridDim.y * blockDim.y;
        for (u64 row = (u64)blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += 16 * step) {
            float part[K][V];
            for (int k = 0; k < K; k++)
                for (int v = 0; v < V; v++) part[k][v] = 0.0f;
#pragma unroll 4
            for (int i = 0; i < 16; i++) {
                const u64 at = row + i * step;
                if (at >= rows) break;
                float out[K][V];
                terms(at, channel, out);
                for (int k = 0; k < K; k++)
                    for (int v = 0; v < V; v++) part[k][v] += out[k][v];
            }
            for (int k = 0; k < K; k++)
                for (int v = 0; v < V; v++) total[k][v] += part[k][v];
        }
    }
    const int width = blockDim.x * V;
    for (int k = 0; k < K; k++) {
        for (int v = 0; v < V; v++) shared[threadIdx.y * width + threadIdx.x * V + v] = total[k][v];
        __syncthreads();
        for (int half = blockDim.y / 2; half > 0; half /= 2) { // blockDim.y is a power of two
            if (threadIdx.y < half)
                for (int v = 0; v < V; v++)
                    shared[threadIdx.y * width + threadIdx.x * V + v] +=
                        shared[(threadIdx.y + half) * width + threadIdx.x * V + v];
            __syncthreads();
        }
        if (threadIdx.y == 0 && channel < channels)
            for (int v = 0; v < V; v++)
                partial[((u64)blockIdx.y * K + k) * channels + channel + v] = shared[threadIdx.x * V + v];
        __syncthreads();
    }
}

// One block a channel, 128 threads: the sum over `splits` of partial[split, k, channel]; valid in thread 0.
__device__ __forceinline__ double sum_splits(const double *partial, int splits, int count, int k, int channels, int channel) {
    __shared__ double shared[128];
    double total = 0.0;
    for (int split = threadIdx.x; split < splits; split += 128)
        total += partial[((u64)split * count + k) * channels + channel];
    __syncthreads(); // an earlier sum may still be read
    shared[threadIdx.x] = total;
    __syncthreads();
    for (int half = 64; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    return shared[0];
}
