// BLAS and LAPACK of the host, as function pointers given at run time: SciPy's inside Python (the routines
// behind scipy.linalg.cython_blas and cython_lapack), OpenBLAS in the C++ tests.
#pragma once

#include <complex>
#include <string>

namespace jaxmg {

// LAPACK's syevd for real T, heevd for complex T.
template <class T>
struct HeevdFunction {
  using Type = void(const char* jobz, const char* uplo, const int* n, T* a, const int* lda, T* w, T* work,
                    const int* lwork, int* iwork, const int* liwork, int* info);
};
template <class R>
struct HeevdFunction<std::complex<R>> {
  using Type = void(const char* jobz, const char* uplo, const int* n, std::complex<R>* a, const int* lda, R* w,
                    std::complex<R>* work, const int* lwork, R* rwork, const int* lrwork, int* iwork, const int* liwork,
                    int* info);
};

// LAPACK's gesdd.
template <class T>
struct GesddFunction {
  using Type = void(const char* jobz, const int* m, const int* n, T* a, const int* lda, T* s, T* u, const int* ldu,
                    T* vt, const int* ldvt, T* work, const int* lwork, int* iwork, int* info);
};
template <class R>
struct GesddFunction<std::complex<R>> {
  using Type = void(const char* jobz, const int* m, const int* n, std::complex<R>* a, const int* lda, R* s,
                    std::complex<R>* u, const int* ldu, std::complex<R>* vt, const int* ldvt, std::complex<R>* work,
                    const int* lwork, R* rwork, int* iwork, int* info);
};

template <class T>
struct Blas {
  // Fortran calling convention: every argument by address.
  void (*gemm)(const char* transa, const char* transb, const int* m, const int* n, const int* k, const T* alpha,
               const T* a, const int* lda, const T* b, const int* ldb, const T* beta, T* c, const int* ldc) = nullptr;
  void (*trsm)(const char* side, const char* uplo, const char* transa, const char* diag, const int* m, const int* n,
               const T* alpha, const T* a, const int* lda, T* b, const int* ldb) = nullptr;
  void (*trsv)(const char* uplo, const char* trans, const char* diag, const int* n, const T* a, const int* lda, T* x,
               const int* incx) = nullptr;
  void (*potrf)(const char* uplo, const int* n, T* a, const int* lda, int* info) = nullptr;
  void (*getrf)(const int* m, const int* n, T* a, const int* lda, int* ipiv, int* info) = nullptr;
  void (*geqrf)(const int* m, const int* n, T* a, const int* lda, T* tau, T* work, const int* lwork,
                int* info) = nullptr;
  void (*larft)(const char* direct, const char* storev, const int* n, const int* k, const T* v, const int* ldv,
                const T* tau, T* t, const int* ldt) = nullptr;
  typename HeevdFunction<T>::Type* heevd = nullptr;
  typename GesddFunction<T>::Type* gesdd = nullptr;

  static Blas& instance();
};

// Stores the routine `name` ("dgemm", "zpotrf", ...). Returns false for a name that is not used.
bool set_blas(const std::string& name, void* function);

}  // namespace jaxmg
