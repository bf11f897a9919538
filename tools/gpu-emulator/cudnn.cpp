// cuDNN's convolutions, channels last, as their definitions say: one algorithm for each direction. With EMULATOR_CUDNN=0 it knows
// none, and Attar's own kernels do the convolutions.

#include <cstdlib>

#include "numbers.h"

namespace {

enum Status { SUCCESS = 0, BAD_PARAM = 2000 };
enum Format { NHWC = 1 };
enum DataType { FLOAT = 0, BFLOAT16 = 9 };
constexpr int CROSS_CORRELATION = 1, DETERMINISTIC = 1, FMA_MATH = 3;

struct Image { // or a filter: outputs, inputs of a group, height, width
    int type, n, c, h, w;
    long at(long image, long channel, long row, long column) const { return ((image * h + row) * w + column) * c + channel; }
    long count() const { return static_cast<long>(n) * c * h * w; }
    int element() const { return type == FLOAT ? F32 : BF16; }
};

struct Window {
    int pad[2], stride[2], dilation[2], groups = 1, math = 0;
};

struct Found {
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math, reserved[3];
};

int set_image(void *to, int format, int type, int n, int c, int h, int w) {
    if (format != NHWC || (type != FLOAT && type != BFLOAT16)) return BAD_PARAM;
    *static_cast<Image *>(to) = Image{type, n, c, h, w};
    return SUCCESS;
}

int found(const Window &window, int *count, Found *results) {
    const char *asked = getenv("EMULATOR_CUDNN");
    *count = !(asked && *asked == '0');
    if (*count) results[0] = Found{1, SUCCESS, 0.1f, 0, DETERMINISTIC, window.math ? window.math : FMA_MATH, {}};
    return SUCCESS;
}

// Calls `each(output, filter, input)` with the places that belong together, for all products of the convolution.
template <class Each> void products(const Image &x, const Image &filter, const Window &s, const Image &y, const Each &each) {
    const long outputs = y.c / s.groups, inputs = x.c / s.groups;
    for (long image = 0; image < y.n; image++)
        for (long row = 0; row < y.h; row++)
            for (long column = 0; column < y.w; column++)
                for (long o = 0; o < y.c; o++)
                    for (long r = 0; r < filter.h; r++)
                        for (long k = 0; k < filter.w; k++) {
                            const long from = row * s.stride[0] - s.pad[0] + r * s.dilation[0];
                            const long at = column * s.stride[1] - s.pad[1] + k * s.dilation[1];
                            if (from < 0 || from >= x.h || at < 0 || at >= x.w) continue;
                            for (long i = 0; i < inputs; i++)
                                each(y.at(image, o, row, column), filter.at(o, i, r, k), x.at(image, o / outputs * inputs + i, from, at));
                        }
}

// Sums in f64 and stores them; scaling by 1 and 0 is what Attar asks for.
template <class Add> int summed(const Image &result, void *to, const void *one, const void *zero, const Add &add) {
    if (get(one, F32, 0) != 1.0 || get(zero, F32, 0) != 0.0) return BAD_PARAM;
    double *sums = static_cast<double *>(calloc(result.count(), sizeof(double)));
    add(sums);
    for (long i = 0; i < result.count(); i++) put(to, result.element(), i, sums[i]);
    free(sums);
    return SUCCESS;
}

const Image &image(const void *descriptor) { return *static_cast<const Image *>(descriptor); }
const Window &window(const void *descriptor) { return *static_cast<const Window *>(descriptor); }

} // namespace

extern "C" {

int cudnnCreate(void **handle) { return *handle = new char, SUCCESS; }
int cudnnSetStream(void *, void *) { return SUCCESS; }

int cudnnCreateTensorDescriptor(void **made) { return *made = new Image(), SUCCESS; }
int cudnnDestroyTensorDescriptor(void *old) { return delete static_cast<Image *>(old), SUCCESS; }
int cudnnSetTensor4dDescriptor(void *to, int format, int type, int n, int c, int h, int w) { return set_image(to, format, type, n, c, h, w); }
int cudnnCreateFilterDescriptor(void **made) { return *made = new Image(), SUCCESS; }
int cudnnDestroyFilterDescriptor(void *old) { return delete static_cast<Image *>(old), SUCCESS; }
int cudnnSetFilter4dDescriptor(void *to, int type, int format, int o, int i, int h, int w) { return set_image(to, format, type, o, i, h, w); }
int cudnnCreateConvolutionDescriptor(void **made) { return *made = new Window(), SUCCESS; }
int cudnnDestroyConvolutionDescriptor(void *old) { return delete static_cast<Window *>(old), SUCCESS; }
int cudnnSetConvolution2dDescriptor(void *to, int ph, int pw, int sh, int sw, int dh, int dw, int mode, int type) {
    if (mode != CROSS_CORRELATION || type != FLOAT) return BAD_PARAM;
    *static_cast<Window *>(to) = Window{{ph, pw}, {sh, sw}, {dh, dw}, 1, 0};
    return SUCCESS;
}
int cudnnSetConvolutionGroupCount(void *to, int groups) { return static_cast<Window *>(to)->groups = groups, SUCCESS; }
int cudnnSetConvolutionMathType(void *to, int math) { return static_cast<Window *>(to)->math = math, SUCCESS; }

int cudnnFindConvolutionForwardAlgorithmEx(void *, void *, const void *, void *, const void *, void *conv, void *, void *, int, int *count,
                                           Found *results, void *, size_t) {
    return found(window(conv), count, results);
}
int cudnnFindConvolutionBackwardDataAlgorithmEx(void *, void *, const void *, void *, const void *, void *conv, void *, void *, int,
                                                int *count, Found *results, void *, size_t) {
    return found(window(conv), count, results);
}
int cudnnFindConvolutionBackwardFilterAlgorithmEx(void *, void *, const void *, void *, const void *, void *conv, void *, void *, int,
                                                  int *count, Found *results, void *, size_t) {
    return found(window(conv), count, results);
}

int cudnnConvolutionForward(void *, const void *one, void *xs, const void *x, void *ws, const void *w, void *conv, int, void *, size_t,
                            const void *zero, void *ys, void *y) {
    const int type = image(xs).element();
    return summed(image(ys), y, one, zero, [&](double *sums) {
        products(image(xs), image(ws), window(conv), image(ys),
                 [&](long o, long f, long i) { sums[o] += get(x, type, i) * get(w, type, f); });
    });
}
int cudnnConvolutionBackwardData(void *, const void *one, void *ws, const void *w, void *ys, const void *dy, void *conv, int, void *, size_t,
                                 const void *zero, void *xs, void *dx) {
    const int type = image(ys).element();
    return summed(image(xs), dx, one, zero, [&](double *sums) {
        products(image(xs), image(ws), window(conv), image(ys),
                 [&](long o, long f, long i) { sums[i] += get(dy, type, o) * get(w, type, f); });
    });
}
int cudnnConvolutionBackwardFilter(void *, const void *one, void *xs, const void *x, void *ys, const void *dy, void *conv, int, void *,
                                   size_t, const void *zero, void *ws, void *dw) {
    const int type = image(xs).element();
    return summed(image(ws), dw, one, zero, [&](double *sums) {
        products(image(xs), image(ws), window(conv), image(ys),
                 [&](long o, long f, long i) { sums[f] += get(x, type, i) * get(dy, type, o); });
    });
}

} // extern "C"
