// cuBLAS and cuRAND as far as Attar and Candle call them. Products are summed in f64.

#include <cstdlib>

#include "numbers.h"

namespace {

constexpr int COMPUTE_F64 = 70;

// cudaDataType_t
int element(int type) {
    switch (type) {
    case 0: return F32;
    case 1: return F64;
    case 14: return BF16;
    }
    fprintf(stderr, "emulator: a matrix of type %d\n", type);
    abort();
}

char HANDLE;

} // namespace

extern "C" {

int cublasCreate_v2(void **handle) { return *handle = &HANDLE, 0; }
int cublasDestroy_v2(void *) { return 0; }
int cublasSetStream_v2(void *, void *) { return 0; }
int cublasSetMathMode(void *, int) { return 0; }

// Columns first in memory, as cuBLAS has them.
int cublasGemmStridedBatchedEx(void *, int a_turned, int b_turned, int m, int n, int k, const void *alpha, const void *a, int a_type,
                               int lda, long long a_step, const void *b, int b_type, int ldb, long long b_step, const void *beta,
                               void *c, int c_type, int ldc, long long c_step, int batch, int compute, int) {
    const int scalar = compute == COMPUTE_F64 ? F64 : F32;
    a_type = element(a_type), b_type = element(b_type), c_type = element(c_type);
    const double scale = get(alpha, scalar, 0), keep = get(beta, scalar, 0);
    for (long s = 0; s < batch; s++)
        for (long j = 0; j < n; j++)
            for (long i = 0; i < m; i++) {
                double sum = 0.0;
                for (long l = 0; l < k; l++)
                    sum += get(a, a_type, s * a_step + (a_turned ? i * lda + l : l * lda + i)) *
                           get(b, b_type, s * b_step + (b_turned ? l * ldb + j : j * ldb + l));
                const long at = s * c_step + j * ldc + i;
                put(c, c_type, at, scale * sum + (keep == 0.0 ? 0.0 : keep * get(c, c_type, at)));
            }
    return 0;
}

int curandCreateGenerator(void **generator, int) { return *generator = &HANDLE, 0; }
int curandDestroyGenerator(void *) { return 0; }
int curandSetStream(void *, void *) { return 0; }
int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return 0; }

} // extern "C"
