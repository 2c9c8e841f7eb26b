// cuBLAS and cuSOLVERDn by scalar type.
#pragma once

#include <cublas_v2.h>
#include <cusolverDn.h>

#include <complex>
#include <cstdint>

#include "core/matrix_view.h"
#include "core/scalar.h"

namespace jaxmg::cuda {

inline cublasOperation_t operation(Op op) {
  return op == Op::none ? CUBLAS_OP_N : op == Op::transpose ? CUBLAS_OP_T : CUBLAS_OP_C;
}
inline cublasSideMode_t side_mode(Side side) { return side == Side::left ? CUBLAS_SIDE_LEFT : CUBLAS_SIDE_RIGHT; }
inline cublasFillMode_t fill_mode(Uplo uplo) {
  return uplo == Uplo::lower ? CUBLAS_FILL_MODE_LOWER : CUBLAS_FILL_MODE_UPPER;
}
inline cublasDiagType_t diag_type(Diag diag) { return diag == Diag::unit ? CUBLAS_DIAG_UNIT : CUBLAS_DIAG_NON_UNIT; }

constexpr cudaDataType data_type(ScalarType type) {
  switch (type) {
    case ScalarType::f32:
      return CUDA_R_32F;
    case ScalarType::f64:
      return CUDA_R_64F;
    case ScalarType::c64:
      return CUDA_C_32F;
    case ScalarType::c128:
      break;
  }
  return CUDA_C_64F;
}

// The routines of one scalar type under the libraries' names and types.
template <class T>
struct Routines;

#define JAXMG_CUDA_ROUTINES(scalar, native, letter)                                 \
  template <>                                                                       \
  struct Routines<scalar> {                                                         \
    using Native = native;                                                          \
    static constexpr auto gemm = cublas##letter##gemm;                              \
    static constexpr auto gemm_batched = cublas##letter##gemmStridedBatched;        \
    static constexpr auto gemv = cublas##letter##gemv;                              \
    static constexpr auto geam = cublas##letter##geam;                              \
    static constexpr auto trsm = cublas##letter##trsm;                              \
    static constexpr auto trsv = cublas##letter##trsv;                              \
    static constexpr auto potrf = cusolverDn##letter##potrf;                        \
    static constexpr auto potrf_buffer_size = cusolverDn##letter##potrf_bufferSize; \
    static constexpr auto getrf = cusolverDn##letter##getrf;                        \
    static constexpr auto getrf_buffer_size = cusolverDn##letter##getrf_bufferSize; \
  };
JAXMG_CUDA_ROUTINES(float, float, S)
JAXMG_CUDA_ROUTINES(double, double, D)
JAXMG_CUDA_ROUTINES(std::complex<float>, cuComplex, C)
JAXMG_CUDA_ROUTINES(std::complex<double>, cuDoubleComplex, Z)
#undef JAXMG_CUDA_ROUTINES

template <class T>
auto* native(T* scalars) {
  return reinterpret_cast<typename Routines<T>::Native*>(scalars);
}
template <class T>
const auto* native(const T* scalars) {
  return reinterpret_cast<const typename Routines<T>::Native*>(scalars);
}

template <class T>
cublasStatus_t gemm(cublasHandle_t blas, Op opa, Op opb, int m, int n, int k, const T* alpha, const T* a, int lda,
                    const T* b, int ldb, const T* beta, T* c, int ldc) {
  return Routines<T>::gemm(blas, operation(opa), operation(opb), m, n, k, native(alpha), native(a), lda, native(b), ldb,
                           native(beta), native(c), ldc);
}

// C_i = A_i B_i for i < count, with strided matrices.
template <class T>
cublasStatus_t multiply_batched(cublasHandle_t blas, int m, int n, int k, const T* a, int lda, std::int64_t stride_a,
                                const T* b, int ldb, std::int64_t stride_b, T* c, int ldc, std::int64_t stride_c,
                                int count) {
  const T one = 1, zero = 0;
  return Routines<T>::gemm_batched(blas, CUBLAS_OP_N, CUBLAS_OP_N, m, n, k, native(&one), native(a), lda, stride_a,
                                   native(b), ldb, stride_b, native(&zero), native(c), ldc, stride_c, count);
}

// y = beta y + alpha op(A) x for an m x n matrix A.
template <class T>
cublasStatus_t gemv(cublasHandle_t blas, Op op, int m, int n, const T* alpha, const T* a, int lda, const T* x,
                    const T* beta, T* y) {
  return Routines<T>::gemv(blas, operation(op), m, n, native(alpha), native(a), lda, native(x), 1, native(beta),
                           native(y), 1);
}

// B = A^H for an m x n matrix B.
template <class T>
cublasStatus_t conj_transpose(cublasHandle_t blas, int m, int n, const T* a, int lda, T* b, int ldb) {
  const T one = 1, zero = 0;
  return Routines<T>::geam(blas, CUBLAS_OP_C, CUBLAS_OP_N, m, n, native(&one), native(a), lda, native(&zero), native(b),
                           ldb, native(b), ldb);
}

template <class T>
cublasStatus_t trsm(cublasHandle_t blas, Side side, Uplo uplo, Op op, Diag diag, int m, int n, const T* a, int lda,
                    T* x, int ldx) {
  const T one = 1;
  return Routines<T>::trsm(blas, side_mode(side), fill_mode(uplo), operation(op), diag_type(diag), m, n, native(&one),
                           native(a), lda, native(x), ldx);
}

template <class T>
cublasStatus_t trsv(cublasHandle_t blas, Uplo uplo, Op op, Diag diag, int n, const T* a, int lda, T* x) {
  return Routines<T>::trsv(blas, fill_mode(uplo), operation(op), diag_type(diag), n, native(a), lda, native(x), 1);
}

template <class T>
cusolverStatus_t potrf_buffer_size(cusolverDnHandle_t solver, int n, T* a, int lda, int* elements) {
  return Routines<T>::potrf_buffer_size(solver, CUBLAS_FILL_MODE_LOWER, n, native(a), lda, elements);
}

template <class T>
cusolverStatus_t potrf(cusolverDnHandle_t solver, int n, T* a, int lda, T* work, int elements, int* info) {
  return Routines<T>::potrf(solver, CUBLAS_FILL_MODE_LOWER, n, native(a), lda, native(work), elements, info);
}

template <class T>
cusolverStatus_t getrf_buffer_size(cusolverDnHandle_t solver, int m, int n, T* a, int lda, int* elements) {
  return Routines<T>::getrf_buffer_size(solver, m, n, native(a), lda, elements);
}

template <class T>
cusolverStatus_t getrf(cusolverDnHandle_t solver, int m, int n, T* a, int lda, T* work, int* pivots, int* info) {
  return Routines<T>::getrf(solver, m, n, native(a), lda, native(work), pivots, info);
}

}  // namespace jaxmg::cuda
