// Losses of logits, a block of 128 threads a row of [rows, classes]: the value, and where there is one the gradient, in one
// launch. Sums have a fixed order.

#define THREADS 128

// Of the block's threads, in a fixed order; valid in all of them.
template <class Join> __device__ __forceinline__ float joined(float own, const Join &join) {
    __shared__ float shared[THREADS];
    __syncthreads(); // an earlier result may still be read
    shared[threadIdx.x] = own;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] = join(shared[threadIdx.x], shared[threadIdx.x + half]);
        __syncthreads();
    }
    return shared[0];
}

struct Larger {
    __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

struct Sum {
    __device__ float operator()(float a, float b) const { return a + b; }
};

// What is subtracted from `scale * z` to make it a logarithm of probabilities. NaN in a row makes it NaN.
struct Normaliser {
    float most, log_sum;
    __device__ __forceinline__ float log(float scaled) const { return (scaled - most) - log_sum; }
};

__device__ __forceinline__ Normaliser normaliser(const float *row, float scale, int classes) {
    float most = __uint_as_float(0xff800000u); // minus infinity
    for (int k = threadIdx.x; k < classes; k += THREADS) most = fmaxf(most, scale * row[k]);
    most = joined(most, Larger());
    float sum = 0.0f;
    for (int k = threadIdx.x; k < classes; k += THREADS) sum += expf(scale * row[k] - most);
    return Normaliser{most, logf(joined(sum, Sum()))};
}

// y = log softmax(scale * x)
extern "C" __global__ void log_softmax(const float *x, float scale, float *y, int classes) {
    const u64 start = (u64)blockIdx.x * classes;
    const Normaliser norm = normaliser(x + start, scale, classes);
    for (int k = threadIdx.x; k < classes; k += THREADS) y[start + k] = norm.log(scale * x[start + k]);
}

// dx = scale * (dy - exp(y) * sum(dy))
extern "C" __global__ void log_softmax_backward(const float *y, const float *dy, float scale, float *dx, int classes) {
    const u64 start = (u64)blockIdx.x * classes;
    float sum = 0.0f;
    for (int k = threadIdx.x; k < classes; k += THREADS) sum += dy[start + k];
    sum = joined(sum, Sum());
    for (int k = threadIdx.x; k < classes; k += THREADS) dx[start + k] = scale * (dy[start + k] - expf(y[start + k]) * sum);
}

// KL(p || q) of each row for q = softmax(scale * z), and its gradient by z, scale * (q * sum(p) - p).
extern "C" __global__ void divergence(const float *log_p, const float *z, float scale, float *rows, float *gradient,
                                      int classes) {
    const u64 start = (u64)blockIdx.x * classes;
    const Normaliser of_z = normaliser(z + start, scale, classes);
    float sum = 0.0f, weight = 0.0f;
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        const float p = expf(log_p[start + k]);
        weight += p;
        sum += p * (log_p[start + k] - of_z.log(scale * z[start + k]));
    }
    sum = joined(sum, Sum());
    weight = joined(weight, Sum());
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        const float q = expf(of_z.log(scale * z[start + k]));
        gradient[start + k] = scale * (weight * q - expf(log_p[start + k]));
    }
    if (threadIdx.x == 0) rows[blockIdx.x] = sum;
}

// -sum_k t_k log q_k of each row for q = softmax(z), and its gradient by z, q * sum(t) - t. The targets t are
// `keep * labels + share`.
extern "C" __global__ void cross_entropy(const float *labels, const float *z, float keep, float share, float *rows,
                                         float *gradient, int classes) {
    const u64 start = (u64)blockIdx.x * classes;
    const Normaliser of_z = normaliser(z + start, 1.0f, classes);
    float sum = 0.0f, weight = 0.0f;
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        const float target = keep * labels[start + k] + share;
        weight += target;
        sum += target * of_z.log(z[start + k]);
    }
    sum = joined(sum, Sum());
    weight = joined(weight, Sum());
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        const float target = keep * labels[start + k] + share;
        gradient[start + k] = weight * expf(of_z.log(z[start + k])) - target;
    }
    if (threadIdx.x == 0) rows[blockIdx.x] = -sum;
}

// y = exp(x) / sum exp(x) over the channels of a row.
extern "C" __global__ void softmax_channels(const T *x, T *y, int channels) {
    const u64 start = (u64)blockIdx.x * channels;
    float most = __uint_as_float(0xff800000u); // minus infinity
    for (int k = threadIdx.x; k < channels; k += THREADS) most = fmaxf(most, get(x, start + k));
    most = joined(most, Larger());
    float sum = 0.0f;
    for (int k = threadIdx.x; k < channels; k += THREADS) sum += expf(get(x, start + k) - most);
    sum = joined(sum, Sum());
    for (int k = threadIdx.x; k < channels; k += THREADS) put(y, start + k, expf(get(x, start + k) - most) / sum);
}

// dx = y * (dy - sum(y * dy))
extern "C" __global__ void softmax_channels_backward(const T *y, const T *dy, T *dx, int channels) {
    const u64 start = (u64)blockIdx.x * channels;
    float sum = 0.0f;
    for (int k = threadIdx.x; k < channels; k += THREADS) sum += get(y, start + k) * get(dy, start + k);
    sum = joined(sum, Sum());
    for (int k = threadIdx.x; k < channels; k += THREADS)
        put(dx, start + k, get(y, start + k) * (get(dy, start + k) - sum));
}
