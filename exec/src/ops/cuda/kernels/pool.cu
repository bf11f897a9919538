// Pooling over windows and over whole images of [N, H, W, C]. Gradients gather, so that no addition needs an atomic.

struct Pool {
    int n, c, h, w, oh, ow, kh, kw, sh, sw, ph, pw; // padding before: ph, pw
    int eh, ew, counted;                            // padding behind, and whether means count padding
};

__device__ __forceinline__ int floor_at_0(int x) {
    return x < 0 ? 0 : x;
}

// The part of window `at` inside an axis of length `size`.
__device__ __forceinline__ void window(int at, int stride, int padding, int kernel, int size, int &from, int &to) {
    const int start = at * stride - padding;
    from = floor_at_0(start);
    to = min(start + kernel, size);
}

// Windows that cover position `at`.
__device__ __forceinline__ void covering(int at, int stride, int padding, int kernel, int outputs, int &from, int &to) {
    const int last = at + padding;
    from = last < kernel ? 0 : (last - kernel) / stride + 1;
    to = min(last / stride + 1, outputs);
}

// How many positions of window `at` a mean counts along an axis of length `size`.
__device__ __forceinline__ int counted(int at, int stride, int before, int behind, int kernel, int size, bool padding) {
    if (padding) return min(kernel, before + size + behind - at * stride);
    int from, to;
    window(at, stride, before, kernel, size, from, to);
    return to - from;
}

// What the mean of window `row`, `column` divides by.
__device__ __forceinline__ float area(const Pool &p, int row, int column) {
    return (float)(counted(row, p.sh, p.ph, p.eh, p.kh, p.h, p.counted) *
                   counted(column, p.sw, p.pw, p.ew, p.kw, p.w, p.counted));
}

__device__ __forceinline__ void position(u64 i, int c, int h, int w, int &channel, int &column, int &row, u64 &image) {
    channel = (int)(i % c);
    i /= c;
    column = (int)(i % w);
    i /= w;
    row = (int)(i % h);
    image = i / h;
}

// Of equal values the first wins, NaN always wins; `argmax` is row * W + column.
extern "C" __global__ void max_pool(Pool p, const T *x, T *y, u32 *argmax) {
    const u64 count = (u64)p.n * p.oh * p.ow * p.c;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
        int channel, column, row, top, bottom, left, right;
        u64 image;
        position(i, p.c, p.oh, p.ow, channel, column, row, image);
        window(row, p.sh, p.ph, p.kh, p.h, top, bottom);
        window(column, p.sw, p.pw, p.kw, p.w, left, right);
        const T *plane = x + image * p.h * p.w * p.c + channel;
        float best = __int_as_float(0xff800000); // minus infinity
        u32 at = top * p.w + left;
        for (int r = top; r < bottom; r++)
            for (int s = left; s < right; s++) {
                const float value = get(plane, (u64)(r * p.w + s) * p.c);
                if (value > best || value != value) {
                    best = value;
                    at = r * p.w + s;
                }
            }
        put(y, i, best);
        argmax[i] = at;
    }
}

extern "C" __global__ void max_pool_backward(Pool p, const T *dy, const u32 *argmax, T *dx) {
    const u64 count = (u64)p.n * p.h * p.w * p.c;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
        int channel, column, row, top, bottom, left, right;
        u64 image;
        position(i, p.c, p.h, p.w, channel, column, row, image);
        covering(row, p.sh, p.ph, p.kh, p.oh, top, bottom);
        covering(column, p.sw, p.pw, p.kw, p.ow, left, right);
        const u32 own = row * p.w + column;
        float total = 0.0f;
        for (int r = top; r < bottom; r++)
            for (int s = left; s < right; s++) {
                const u64 at = ((image * p.oh + r) * p.ow + s) * p.c + channel;
                if (argmax[at] == own) total += get(dy, at);
            }
        put(dx, i, total);
    }
}

extern "C" __global__ void avg_pool(Pool p, const T *x, T *y) {
    const u64 count = (u64)p.n * p.oh * p.ow * p.c;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
        int channel, column, row, top, bottom, left, right;
        u64 image;
        position(i, p.c, p.oh, p.ow, channel, column, row, image);
        window(row, p.sh, p.ph, p.kh, p.h, top, bottom);
        window(column, p.sw, p.pw, p.kw, p.w, left, right);
        const T *plane = x + image * p.h * p.w * p.c + channel;
        float total = 0.0f;
        for (int r = top; r < bottom; r++)
            for (int s = left; s < right; s++) total += get(plane, (u64)(r * p.w + s) * p.c);
        put(y, i, total / area(p, row, column));
    }
}

extern "C" __global__ void avg_pool_backward(Pool p, const T *dy, T *dx) {
    const u64 count = (u64)p.n * p.h * p.w * p.c;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
        int channel, column, row, top, bottom, left, right;
        u64 image;
        position(i, p.c, p.h, p.w, channel, column, row, image);
        covering(row, p.sh, p.ph, p.kh, p.oh, top, bottom);
        covering(column, p.sw, p.pw, p.kw, p.ow, left, right);
        float total = 0.0f;
        for (int r = top; r < bottom; r++)
            for (int s = left; s < right; s++)
                total += get(dy, ((image * p.oh + r) * p.ow + s) * p.c + channel) / area(p, r, s);
        put(dx, i, total);
    }
}

// y[n, c] = mean over positions. One block: 32 channels of one image, 8 threads a channel.
extern "C" __global__ void global_avg_pool(const T *x, T *y, int positions, int channels) {
    __shared__ float shared[8][33];
    const int channel = blockIdx.x * 32 + threadIdx.x;
    const u64 image = blockIdx.y;
    float total = 0.0f;
    if (channel < channels)
        for (int at = threadIdx.y; at < positions; at += 8) total += get(x, (image * positions + at) * channels + channel);
    shared[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y != 0 || channel >= channels) return;
    double sum = 0.0;
    for (int i = 0; i < 8; i++) sum += shared[i][threadIdx.x];
    put(y, image * channels + channel, (float)(sum / positions));
}

extern "C" __global__ void global_avg_pool_backward(const T *dy, T *dx, u64 n, int positions, int channels) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        put(dx, i, get(dy, i / channels / positions * channels + i % channels) / (float)positions);
}

// y = x * factor for x of [N, positions, channels] and factor of [N, channels].
extern "C" __global__ void mul_channels(const T *x, const T *factor, T *y, u64 n, int positions, int channels) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        put(y, i, get(x, i) * get(factor, i / channels / positions * channels + i % channels));
}

// y = x + term for x of [N, positions, channels] and term of [N, channels].
extern "C" __global__ void add_channels(const T *x, const T *term, T *y, u64 n, int positions, int channels) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        put(y, i, get(x, i) + get(term, i / channels / positions * channels + i % channels));
}

// The gradient of the factor: the sum of dy * x over positions.
extern "C" __global__ void factor_grad(const T *x, const T *dy, T *dfactor, int positions, int channels) {
    __shared__ float shared[8][33];
    const int channel = blockIdx.x * 32 + threadIdx.x;
    const u64 image = blockIdx.y;
    float total = 0.0f;
    if (channel < channels)
        for (int at = threadIdx.y; at < positions; at += 8) {
            const u64 i = (image * positions + at) * channels + channel;
            total += get(x, i) * get(dy, i);
        }
    shared[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y != 0 || channel >= channels) return;
    double sum = 0.0;
    for (int i = 0; i < 8; i++) sum += shared[i][threadIdx.x];
    put(dfactor, image * channels + channel, (float)sum);
}
