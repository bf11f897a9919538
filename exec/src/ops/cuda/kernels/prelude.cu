// What every kernel file starts with: vectors of channels, activations, sums over rows.
// Images are [N, H, W, C]: a row is one pixel of one image, and neighbouring threads take neighbouring channels.
// A file is compiled once for each type T that images are stored in; all arithmetic is f32, and so are parameters.

typedef unsigned int u32;
typedef unsigned long long u64;

struct bf16 {
    unsigned short bits;
};

typedef STORED T;

// V values that travel as one load; V is 4 where the number of channels allows it, else 1.
template <int V> struct alignas(4 * V) Pack {
    float v[V];
};

template <int V> struct alignas(2 * V) Halves {
    unsigned short v[V];
};

__device__ __forceinline__ float widened(unsigned short bits) {
    return __uint_as_float((u32)bits << 16);
}

// To the nearest, ties to even; NaN stays NaN.
__device__ __forceinline__ unsigned short narrowed(float x) {
    const u32 bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <int V> __device__ __forceinline__ Pack<V> load(const float *from, u64 at) {
    return *reinterpret_cast<const Pack<V> *>(from + at);
}

template <int V> __device__ __forceinline__ Pack<V> load(const bf16 *from, u64 at) {
    const Halves<V> halves = *reinterpret_cast<const Halves<V> *>(from + at);
    Pack<V> pack;
    for (int v = 0; v < V; v++) pack.v[v] = widened(halves.v[v]);
    return pack;
}

template <int V> __device__ __forceinline__ void store(float *to, u64 at, const Pack<V> &pack) {
    *reinterpret_cast<Pack<V> *>(to + at) = pack;
}

template <int V> __device__ __forceinline__ void store(bf16 *to, u64 at, const Pack<V> &pack) {
    Halves<V> halves;
    for (int v = 0; v < V; v++) halves.v[v] = narrowed(pack.v[v]);
    *reinterpret_cast<Halves<V> *>(to + at) = halves;
}

__device__ __forceinline__ float get(const float *from, u64 at) {
    return from[at];
}

__device__ __forceinline__ float get(const bf16 *from, u64 at) {
    return widened(from[at].bits);
}

__device__ __forceinline__ void put(float *to, u64 at, float value) {
    to[at] = value;
}

__device__ __forceinline__ void put(bf16 *to, u64 at, float value) {
    to[at].bits = narrowed(value);
}

// The normal distribution, (1 + erf(x / sqrt(2))) / 2.
__device__ __forceinline__ float normal(float x) {
    return 0.5f + 0.5f * erff(x * 0.70710678f);
}

__device__ __forceinline__ float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

// 2 sqrt(2 / pi) (x + 0.044715 x^3): the sigmoid of it is (1 + tanh) / 2 of half of it.
__device__ __forceinline__ float tanh_argument(float x) {
    return 1.5957691f * (x + 0.044715f * (x * x * x));
}

// Activations: 0 none, 1 ReLU, 2 ReLU6, 3 hard-swish, 4 hard-sigmoid, 5 sigmoid, 6 SiLU, 7 GELU, 8 GELU by tanh, 9 leaky
// ReLU with `slope`. NaN stays NaN; the comparisons are those of the CPU kernels.
__device__ __forceinline__ float activated(int kind, float x, float slope = 0.0f) {
    if (kind == 0) return x;
    if (kind == 5) return sigmoid(x);
    if (kind == 6) return x / (1.0f + expf(-x));
    if (kind == 7) return x * normal(x);
    if (kind == 8) return x * sigmoid(tanh_argument(x));
    if (kind == 9) return x > 0.0f ? x : x * slope;
    if (kind >= 3) {
        const float shifted = x + 3.0f;
        const float floored = shifted <= 0.0f ? 0.0f : shifted;
        const float gate = floored >= 6.0f ? 6.0f : floored;
        return (kind == 3 ? x * gate : gate) / 6.0f;
    }
    const float floored = x <= 0.0f ? 0.0f : x;
    return kind == 2 && floored >= 6.0f ? 6.0f : floored;
}

// The gradient before an activation: `y` is the output of a clamp (1, 2) or a sigmoid (5), the input of another.
__device__ __forceinline__ float masked(int kind, float y, float dy, float slope = 0.0f) {
    if (kind == 3) return y <= -3.0f ? 0.0f : y >= 3.0f ? dy : dy * (y / 3.0f + 0.5f);
    if (kind == 4) return y > -3.0f && y < 3.0f ? dy * (1.0f / 6.0f) : 0.0f;
    if (kind == 5) return dy * (y * (1.0f - y));
    if (kind == 6) {
        const float gate = sigmoid(y);
        return dy * (gate * (1.0f + y * (1.0f - gate)));
    }
    if (kind == 7) return dy * (normal(y) + y * (0.3989423f * expf(-0.5f * (y * y))));
    if (kind == 8) {
        const float gate = sigmoid(tanh_argument(y));
        return dy * (gate + y * (gate * (1.0f - gate)) * (1.5957691f * (1.0f + 0.134145f * (y * y))));
    }
    if (kind == 9) return y > 0.0f ? dy : dy * slope;
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
