// Crop with padding, mirror and normalise images of a data set that lives on the card.
// images: [.., H, W, C] u8; index: [n]; draws: [n, 3] = top, left, mirrored; table: [C, 256] = what each pixel value becomes.

__device__ __forceinline__ int reflected(int at, int size) {
    const int last = size - 1;
    return last - abs(last - abs(at));
}

extern "C" __global__ void augment(const unsigned char *images, const u32 *index, const int *draws, const float *table, float *y,
                                   int n, int h, int w, int c, int reflect) {
    const u64 count = (u64)n * h * w * c;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (u64)gridDim.x * blockDim.x) {
        const int channel = (int)(i % c), column = (int)(i / c % w), row = (int)(i / c / w % h);
        const u64 image = i / c / w / h;
        const int *draw = draws + image * 3;
        int from = row + draw[0], at = (draw[2] ? w - 1 - column : column) + draw[1];
        unsigned char value = 0;
        if (reflect) {
            from = reflected(from, h);
            at = reflected(at, w);
        }
        if (from >= 0 && from < h && at >= 0 && at < w)
            value = images[(((u64)index[image] * h + from) * w + at) * c + channel];
        y[i] = table[channel * 256 + value];
    }
}
