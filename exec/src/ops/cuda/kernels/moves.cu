// Values moved and nothing computed, of images [N, H, W, C], where a row is one pixel; values as whole numbers and back.
// Each kernel writes with neighbouring threads what lies beside each other.

// y[row, start + i] = x[row, i]: rows of `width` values among rows of `whole`. `n` values are moved.
extern "C" __global__ void put_channels(const T *x, T *y, u64 n, int width, int whole, int start) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        y[i / width * whole + start + i % width] = x[i];
}

// y[row, i] = x[row, start + i], the reverse.
extern "C" __global__ void take_channels(const T *x, T *y, u64 n, int width, int whole, int start) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        y[i] = x[i / width * whole + start + i % width];
}

// The gradient of that: y[row, start + i] = x[row, i], zeros elsewhere. `n` values of y are written.
extern "C" __global__ void widen_channels(const T *x, T *y, u64 n, int width, int whole, int start) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        const int at = (int)(i % whole) - start;
        put(y, i, at >= 0 && at < width ? get(x, i / whole * width + at) : 0.0f);
    }
}

// Channel i * groups + g is channel g * (channels / groups) + i.
extern "C" __global__ void shuffle_channels(const T *x, T *y, u64 n, int channels, int groups) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        const int channel = (int)(i % channels);
        y[i] = x[i - channel + channel % groups * (channels / groups) + channel / groups];
    }
}

// An image of h x w pixels, moved by `top` and `left` (which may be negative), in one of oh x ow; zeros where none is.
extern "C" __global__ void move_image(const T *x, T *y, u64 n, int c, int h, int w, int oh, int ow, int top, int left) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        const u64 pixel = i / c;
        const int column = (int)(pixel % ow) - left, row = (int)(pixel / ow % oh) - top;
        const bool inside = row >= 0 && row < h && column >= 0 && column < w;
        put(y, i, inside ? get(x, ((pixel / ow / oh * h + row) * w + column) * c + i % c) : 0.0f);
    }
}

// y = clamp(round(x / scale) + zero, low, high), ties to even; scale and zero are one number each. NaN stays NaN.
extern "C" __global__ void quantize(const T *x, T *y, u64 n, const float *scale, const float *zero, float low, float high) {
    const float step = scale[0], middle = zero[0];
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        const float number = rintf(get(x, i) / step) + middle;
        put(y, i, number < low ? low : number > high ? high : number);
    }
}

// y = (x - zero) * scale
extern "C" __global__ void dequantize(const T *x, T *y, u64 n, const float *scale, const float *zero) {
    const float step = scale[0], middle = zero[0];
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)
        put(y, i, (get(x, i) - middle) * step);
}
