// Convolutions whose groups have one input channel, as in MobileNet: no product worth a tile, only memory to stream.
// x is [N, H, W, C], weight [O, kh * kw], y [N, oh, ow, O]; output channel o reads input channel o / (O / C).
// Four channels at once (`vec`) only where O = C.

struct Conv {
    int n, c, h, w, o, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw, groups;
};

template <int V> __device__ void forward(const Conv &s, const T *x, const float *weight, T *y) {
    const u64 count = (u64)s.n * s.oh * s.ow * s.o;
    const int taps = s.kh * s.kw, times = s.o / s.c;
    for (u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * V; i < count; i += (u64)gridDim.x * blockDim.x * V) {
        const int channel = (int)(i % s.o), column = (int)(i / s.o % s.ow), row = (int)(i / s.o / s.ow % s.oh);
        const u64 image = i / s.o / s.ow / s.oh;
        Pack<V> total;
        for (int v = 0; v < V; v++) total.v[v] = 0.0f;
        for (int r = 0; r < s.kh; r++) {
            const int from = row * s.sh - s.ph + r * s.dh;
            if (from < 0 || from >= s.h) continue;
            for (int k = 0; k < s.kw; k++) {
                const int at = column * s.sw - s.pw + k * s.dw;
                if (at < 0 || at >= s.w) continue;
                const Pack<V> value = load<V>(x, ((image * s.h + from) * s.w + at) * s.c + channel / times);
                for (int v = 0; v < V; v++)
                    total.v[v] = fmaf(value.v[v], weight[(channel + v) * taps + r * s.kw + k], total.v[v]);
            }
        }
        store<V>(y, i, total);
    }
}

extern "C" __global__ void depthwise_forward(Conv s, int vec, const T *x, const float *weight, T *y) {
    if (vec) forward<4>(s, x, weight, y);
    else forward<1>(s, x, weight, y);
}

template <int V> __device__ void input_grad(const Conv &s, const T *dy, const float *weight, T *dx) {
    const u64 count = (u64)s.n * s.h * s.w * s.c;
    const int taps = s.kh * s.kw, times = s.o / s.c;
    for (u64 i = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * V; i < count; i += (u64)gridDim.x * blockDim.x * V) {
        const int channel = (int)(i % s.c), column = (int)(i / s.c % s.w), row = (int)(i / s.c / s.w % s.h);
        const u64 image = i / s.c / s.w / s.h;
        Pack<V> total;
        for (int v = 0; v < V; v++) total.v[v] = 0.0f;
        for (int r = 0; r < s.kh; r++) {
            const int from = row + s.ph - r * s.dh;
            if (from < 0 || from % s.sh != 0 || from / s.sh >= s.oh) continue;
            for (int k = 0; k < s.kw; k++) {
                const int at = column + s.pw - k * s.dw;
                if (at < 0 || at % s.sw != 0 || at / s.sw >= s.ow) continue;
                const u64 place = ((image * s.oh + from / s.sh) * s.ow + at / s.sw) * s.o + channel * times;
                for (int t = 0; t < times; t++) {
                    const Pack<V> grad = load<V>(dy, place + t);
                    for (int v = 0; v < V; v++)
                        total.v[v] = fmaf(grad.v[v], weight[(channel * times + t + v) * taps + r * s.kw + k], total.v[v]);
                }
            }
        }
        store<V>(dx, i, total);
    }
}

extern "C" __global__ void depthwise_input_grad(Conv s, int vec, const T *dy, const float *weight, T *dx) {
    if (vec) input_grad<4>(s, dy, weight, dx);
    else input_grad<1>(s, dy, weight, dx);
}

// One place of the kernel: dy times the input that this place saw, for each output pixel and channel.
template <int V> struct Products {
    const Conv &s;
    const T *x, *dy;
    int down, across; // where this place lies from the pixel's corner
    __device__ __forceinline__ void operator()(u64 pixel, int channel, float out[1][V]) const {
        const int row = (int)(pixel / s.ow % s.oh) * s.sh + down, column = (int)(pixel % s.ow) * s.sw + across;
        if (row < 0 || row >= s.h || column < 0 || column >= s.w) {
            for (int v = 0; v < V; v++) out[0][v] = 0.0f;
            return;
        }
        const u64 image = pixel / s.ow / s.oh;
        const Pack<V> value = load<V>(x, ((image * s.h + row) * s.w + column) * s.c + channel / (s.o / s.c));
        const Pack<V> grad = load<V>(dy, pixel * s.o + channel);
        for (int v = 0; v < V; v++) out[0][v] = value.v[v] * grad.v[v];
    }
};

// Grid: (channels, splits, kernel places). partial: [kh * kw, splits, O].
extern "C" __global__ void depthwise_weight_grad(Conv s, int vec, const T *x, const T *dy, double *partial) {
    const int row = blockIdx.z / s.kw, column = blockIdx.z % s.kw;
    const int down = row * s.dh - s.ph, across = column * s.dw - s.pw;
    double *own = partial + (u64)blockIdx.z * gridDim.y * s.o;
    const u64 pixels = (u64)s.n * s.oh * s.ow;
    if (vec) sum_rows<4, 1>(Products<4>{s, x, dy, down, across}, own, pixels, s.o);
    else sum_rows<1, 1>(Products<1>{s, x, dy, down, across}, own, pixels, s.o);
}

// Grid: (O, kernel places), 128 threads.
extern "C" __global__ void depthwise_weight_finish(const double *partial, int splits, int channels, float *dweight) {
    const double *own = partial + (u64)blockIdx.y * splits * channels;
    const double total = sum_splits(own, splits, 1, 0, channels, blockIdx.x);
    if (threadIdx.x == 0) dweight[blockIdx.x * gridDim.y + blockIdx.y] = (float)total;
}
