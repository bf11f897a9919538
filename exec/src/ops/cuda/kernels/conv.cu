// Convolution in three directions as an implicit matrix product: any stride, padding, dilation, groups. No atomics: the
// input gradient gathers, the weight gradient is summed in parts whose order is fixed. Tiles of 64 x 64 x 16 in f32.
// x is [N, H, W, C], weight [O, kh, kw, C / groups], y [N, oh, ow, O].

struct Conv {
    int n, c, h, w, o, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw, groups;
};

// A pixel of some image, as the corner of what it reads.
struct Pixel {
    bool inside;
    int row, column;
    u64 image;
};

__device__ __forceinline__ Pixel pixel(u64 at, u64 count, int h, int w) {
    return Pixel{at < count, (int)(at / w % h), (int)(at % w), at / w / h};
}

// A place in the weight of one filter: kernel row, kernel column, channel.
struct Tap {
    bool inside;
    int row, column, channel;
};

__device__ __forceinline__ Tap tap(int at, int end, int kw, int channels) {
    const int place = at / channels;
    return Tap{at < end, place / kw, place % kw, at % channels};
}

__device__ __forceinline__ float input_at(const Conv &s, const T *x, const Pixel &y, const Tap &k, int group) {
    const int row = y.row * s.sh - s.ph + k.row * s.dh, column = y.column * s.sw - s.pw + k.column * s.dw;
    if (!y.inside || !k.inside || row < 0 || row >= s.h || column < 0 || column >= s.w) return 0.0f;
    return get(x, ((y.image * s.h + row) * s.w + column) * s.c + group * (s.c / s.groups) + k.channel);
}

// The tile product: acc[i][j] += sum over k of a[k][row + 16 i] * b[k][column + 16 j].
__device__ __forceinline__ void multiply(const float a[16][65], const float b[16][65], float acc[4][4]) {
    const int row = threadIdx.x / 16, column = threadIdx.x % 16;
#pragma unroll
    for (int k = 0; k < 16; k++) {
        float left[4], right[4];
        for (int i = 0; i < 4; i++) left[i] = a[k][row + 16 * i];
        for (int j = 0; j < 4; j++) right[j] = b[k][column + 16 * j];
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) acc[i][j] = fmaf(left[i], right[j], acc[i][j]);
    }
}

// Rows are output pixels, columns the group's output channels. Grid: (rows, columns, groups); 256 threads.
extern "C" __global__ void conv_forward(Conv s, const T *x, const float *weight, T *y) {
    __shared__ float a[16][65], b[16][65];
    const int group = blockIdx.z, outputs = s.o / s.groups, inputs = s.c / s.groups, depth = s.kh * s.kw * inputs;
    const u64 pixels = (u64)s.n * s.oh * s.ow, first = (u64)blockIdx.x * 64;
    const int filter = blockIdx.y * 64, lane = threadIdx.x % 16, line = threadIdx.x / 16;
    Pixel rows[4];
    for (int i = 0; i < 4; i++) rows[i] = pixel(first + line + 16 * i, pixels, s.oh, s.ow);
    float acc[4][4] = {};
    for (int k = 0; k < depth; k += 16) {
        const Tap place = tap(k + lane, depth, s.kw, inputs);
        for (int i = 0; i < 4; i++) {
            const int at = line + 16 * i;
            a[lane][at] = input_at(s, x, rows[i], place, group);
            const bool there = place.inside && filter + at < outputs;
            b[lane][at] = there ? weight[(u64)(group * outputs + filter + at) * depth + k + lane] : 0.0f;
        }
        __syncthreads();
        multiply(a, b, acc);
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const u64 at = first + line + 16 * i;
            const int channel = filter + lane + 16 * j;
            if (at < pixels && channel < outputs) put(y, at * s.o + group * outputs + channel, acc[i][j]);
        }
}

// Rows are input pixels, columns the group's input channels, the depth is kernel places times output channels.
extern "C" __global__ void conv_input_grad(Conv s, const T *dy, const float *weight, T *dx) {
    __shared__ float a[16][65], b[16][65];
    const int group = blockIdx.z, outputs = s.o / s.groups, inputs = s.c / s.groups, depth = s.kh * s.kw * outputs;
    const u64 pixels = (u64)s.n * s.h * s.w, first = (u64)blockIdx.x * 64;
    const int start = blockIdx.y * 64, lane = threadIdx.x % 16, line = threadIdx.x / 16;
    Pixel rows[4];
    for (int i = 0; i < 4; i++) rows[i] = pixel(first + line + 16 * i, pixels, s.h, s.w);
    float acc[4][4] = {};
    for (int k = 0; k < depth; k += 16) {
        const Tap place = tap(k + lane, depth, s.kw, outputs);
        for (int i = 0; i < 4; i++) {
            // The output pixel that reads this input pixel at this place of the kernel, if there is one.
            const int row = rows[i].row + s.ph - place.row * s.dh, column = rows[i].column + s.pw - place.column * s.dw;
            const bool there = rows[i].inside && place.inside && row >= 0 && column >= 0 && row % s.sh == 0 &&
                               column % s.sw == 0 && row / s.sh < s.oh && column / s.sw < s.ow;
            const u64 at = (rows[i].image * s.oh + row / s.sh) * s.ow + column / s.sw;
            a[lane][line + 16 * i] = there ? get(dy, at * s.o + group * outputs + place.channel) : 0.0f;
        }
        const int column = threadIdx.x % 64;
        for (int i = 0; i < 4; i++) {
            const int deep = threadIdx.x / 64 + 4 * i;
            const Tap at = tap(k + deep, depth, s.kw, outputs);
            const u64 filter = (u64)(group * outputs + at.channel) * s.kh * s.kw + at.row * s.kw + at.column;
            b[deep][column] = at.inside && start + column < inputs ? weight[filter * inputs + start + column] : 0.0f;
        }
        __syncthreads();
        multiply(a, b, acc);
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const u64 at = first + line + 16 * i;
            const int channel = start + lane + 16 * j;
            if (at < pixels && channel < inputs) put(dx, at * s.c + group * inputs + channel, acc[i][j]);
        }
}

// Rows are the group's output channels, columns places in its filters, the depth is output pixels, cut into `splits`.
// Grid: (columns, rows, groups * splits). partial: [splits, O, kh * kw * C / groups].
extern "C" __global__ void conv_weight_grad(Conv s, const T *x, const T *dy, float *partial, int splits) {
    __shared__ float a[16][65], b[16][65];
    const int group = blockIdx.z % s.groups, split = blockIdx.z / s.groups;
    const int outputs = s.o / s.groups, inputs = s.c / s.groups, places = s.kh * s.kw * inputs;
    const u64 pixels = (u64)s.n * s.oh * s.ow, share = (pixels + splits - 1) / splits;
    const u64 begin = split * share, end = min(begin + share, pixels);
    const int filter = blockIdx.y * 64, start = blockIdx.x * 64, lane = threadIdx.x % 16, line = threadIdx.x / 16;
    const int wide = threadIdx.x % 64;
    const Tap place = tap(start + wide, places, s.kw, inputs);
    float acc[4][4] = {};
    for (u64 k = begin; k < end; k += 16) {
        for (int i = 0; i < 4; i++) {
            const int deep = threadIdx.x / 64 + 4 * i;
            const u64 at = k + deep;
            const bool there = at < end && filter + wide < outputs;
            a[deep][wide] = there ? get(dy, at * s.o + group * outputs + filter + wide) : 0.0f;
            b[deep][wide] = input_at(s, x, pixel(at, end, s.oh, s.ow), place, group);
        }
        __syncthreads();
        multiply(a, b, acc);
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const int channel = filter + line + 16 * i, at = start + lane + 16 * j;
            if (channel >= outputs || at >= places) continue;
            partial[((u64)split * s.o + group * outputs + channel) * places + at] = acc[i][j];
        }
}

extern "C" __global__ void sum_parts(const float *partial, int splits, u64 n, float *sums) {
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
        double total = 0.0;
        for (int split = 0; split < splits; split++) total += partial[(u64)split * n + i];
        sums[i] = (float)total;
    }
}
