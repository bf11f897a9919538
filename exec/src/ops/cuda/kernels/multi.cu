// One launch for all parameters. `table` holds 8 words a tensor: its length, the bits of a factor of its own, then up to
// six addresses; behind the tensors comes one word a block: tensor << 32 | first element / CHUNK.
// The arithmetic is that of the CPU's optimisers, in f32.

#define CHUNK 8192u

struct Part {
    const u64 *entry;
    u64 from, to;
    __device__ float *at(int i) const { return reinterpret_cast<float *>(entry[2 + i]); }
    __device__ float factor() const { return __uint_as_float((u32)entry[1]); }
};

__device__ __forceinline__ Part part(const u64 *table, int tensors) {
    const u64 word = table[8 * tensors + blockIdx.x];
    const u64 *entry = table + 8 * (word >> 32);
    const u64 from = (word & 0xffffffffull) * CHUNK;
    return Part{entry, from, min(from + CHUNK, entry[0])};
}

// Addresses: w, g, v (0 at the first step), new w, new v (0 without momentum). The factor is the weight decay.
extern "C" __global__ void multi_sgd(const u64 *table, int tensors, float lr, float momentum, int nesterov) {
    const Part p = part(table, tensors);
    const float *w = p.at(0), *g = p.at(1), *v = p.at(2), decay = p.factor();
    float *w_next = p.at(3), *v_next = p.at(4);
    for (u64 i = p.from + threadIdx.x; i < p.to; i += blockDim.x) {
        const float d = g[i] + decay * w[i];
        const float velocity = v ? momentum * v[i] + d : d;
        w_next[i] = w[i] - lr * (nesterov ? d + momentum * velocity : velocity);
        if (v_next) v_next[i] = velocity;
    }
}

// Addresses: w, g, m, v, new w; new m and v overwrite nothing: they follow new w at distances `m_after`, `v_after`.
// The factor is 1 - lr * decay. m and v may be 0 at the first step.
extern "C" __global__ void multi_adamw(const u64 *table, int tensors, float rest1, float b2, float rest2, float step, float root,
                                       float eps, u64 m_after, u64 v_after) {
    const Part p = part(table, tensors);
    const float *w = p.at(0), *g = p.at(1), *m = p.at(2), *v = p.at(3), keep = p.factor();
    float *w_next = p.at(4), *m_next = w_next + m_after, *v_next = w_next + v_after;
    for (u64 i = p.from + threadIdx.x; i < p.to; i += blockDim.x) {
        const float m_old = m ? m[i] : 0.0f, v_old = v ? v[i] : 0.0f;
        const float first = m_old + rest1 * (g[i] - m_old);
        const float second = b2 * v_old + rest2 * (g[i] * g[i]);
        w_next[i] = w[i] * keep - step * (first / (sqrtf(second) / root + eps));
        m_next[i] = first;
        v_next[i] = second;
    }
}

// Addresses: average, w, new average. An average of weights, or running statistics.
extern "C" __global__ void multi_mix(const u64 *table, int tensors, float keep, float rest) {
    const Part p = part(table, tensors);
    const float *average = p.at(0), *w = p.at(1);
    float *next = p.at(2);
    for (u64 i = p.from + threadIdx.x; i < p.to; i += blockDim.x) next[i] = keep * average[i] + rest * w[i];
}

// Addresses: x, y. y = factor * x.
extern "C" __global__ void multi_scale(const u64 *table, int tensors, float factor) {
    const Part p = part(table, tensors);
    const float *x = p.at(0);
    float *y = p.at(1);
    for (u64 i = p.from + threadIdx.x; i < p.to; i += blockDim.x) y[i] = x[i] * factor;
}

__device__ __forceinline__ double block_sum(double own) { // 256 threads; valid in all of them
    __shared__ double shared[256];
    shared[threadIdx.x] = own;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    return shared[0];
}

// Addresses: x. One partial sum of squares a block.
extern "C" __global__ void multi_squares(const u64 *table, int tensors, double *partial) {
    const Part p = part(table, tensors);
    const float *x = p.at(0);
    double total = 0.0;
    for (u64 i = p.from + threadIdx.x; i < p.to; i += blockDim.x) total += (double)x[i] * x[i];
    total = block_sum(total);
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// One block of 256 threads adds up all partial sums in a fixed order.
extern "C" __global__ void total(const double *partial, u32 count, double *sum) {
    double own = 0.0;
    for (u32 i = threadIdx.x; i < count; i += 256) own += partial[i];
    own = block_sum(own);
    if (threadIdx.x == 0) sum[0] = own;
}
