// BLAS and LAPACK of the tests: passed to the host engine before any test runs, and used for reference results.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/host/blas.h"
#include "matrices.h"

// Only their addresses are taken.
extern "C" {
void sgemm_();
void dgemm_();
void cgemm_();
void zgemm_();
void strsm_();
void dtrsm_();
void ctrsm_();
void ztrsm_();
void strsv_();
void dtrsv_();
void ctrsv_();
void ztrsv_();
void spotrf_();
void dpotrf_();
void cpotrf_();
void zpotrf_();
void sgetrf_();
void dgetrf_();
void cgetrf_();
void zgetrf_();
void sgeqrf_();
void dgeqrf_();
void cgeqrf_();
void zgeqrf_();
void slarft_();
void dlarft_();
void clarft_();
void zlarft_();
void ssyevd_();
void dsyevd_();
void cheevd_();
void zheevd_();
void sgesdd_();
void dgesdd_();
void cgesdd_();
void zgesdd_();
}

namespace jaxmg::testing {

inline const bool lapack_is_set = [] {
  const auto set = [](const char* name, void (*routine)()) { return set_blas(name, reinterpret_cast<void*>(routine)); };
  return set("sgemm", sgemm_) && set("dgemm", dgemm_) && set("cgemm", cgemm_) && set("zgemm", zgemm_) &&
         set("strsm", strsm_) && set("dtrsm", dtrsm_) && set("ctrsm", ctrsm_) && set("ztrsm", ztrsm_) &&
         set("strsv", strsv_) && set("dtrsv", dtrsv_) && set("ctrsv", ctrsv_) && set("ztrsv", ztrsv_) &&
         set("spotrf", spotrf_) && set("dpotrf", dpotrf_) && set("cpotrf", cpotrf_) && set("zpotrf", zpotrf_) &&
         set("sgetrf", sgetrf_) && set("dgetrf", dgetrf_) && set("cgetrf", cgetrf_) && set("zgetrf", zgetrf_) &&
         set("sgeqrf", sgeqrf_) && set("dgeqrf", dgeqrf_) && set("cgeqrf", cgeqrf_) && set("zgeqrf", zgeqrf_) &&
         set("slarft", slarft_) && set("dlarft", dlarft_) && set("clarft", clarft_) && set("zlarft", zlarft_) &&
         set("ssyevd", ssyevd_) && set("dsyevd", dsyevd_) && set("cheevd", cheevd_) && set("zheevd", zheevd_) &&
         set("sgesdd", sgesdd_) && set("dgesdd", dgesdd_) && set("cgesdd", cgesdd_) && set("zgesdd", zgesdd_);
}();

// LAPACK's reference results for whole matrices.
template <class T>
int lapack_potrf(Matrix<T>& a) {
  const int n = static_cast<int>(a.rows()), lda = std::max(1, n);
  int info = 0;
  Blas<T>::instance().potrf("L", &n, a.data(), &lda, &info);
  return info;
}

template <class T>
int lapack_getrf(Matrix<T>& a, std::vector<int>& pivots) {
  const int n = static_cast<int>(a.rows()), lda = std::max(1, n);
  pivots.assign(static_cast<std::size_t>(n), 0);
  int info = 0;
  Blas<T>::instance().getrf(&n, &n, a.data(), &lda, pivots.data(), &info);
  return info;
}

// A X = B with the factors and pivots of getrf, as LAPACK's getrs does it.
template <class T>
void lapack_getrs(const Matrix<T>& lu, const std::vector<int>& pivots, Matrix<T>& x) {
  const int n = static_cast<int>(x.rows()), nrhs = static_cast<int>(x.columns()), ld = std::max(1, n);
  for (std::int64_t i = 0; i < x.rows(); ++i) {
    const std::int64_t other = pivots[static_cast<std::size_t>(i)] - 1;
    for (std::int64_t j = 0; j < x.columns(); ++j) std::swap(x(i, j), x(other, j));
  }
  const T one = 1;
  Blas<T>::instance().trsm("L", "L", "N", "U", &n, &nrhs, &one, lu.data(), &ld, x.data(), &ld);
  Blas<T>::instance().trsm("L", "U", "N", "N", &n, &nrhs, &one, lu.data(), &ld, x.data(), &ld);
}

// The scalars of the reflectors.
template <class T>
std::vector<T> lapack_geqrf(Matrix<T>& a) {
  const int m = static_cast<int>(a.rows()), n = static_cast<int>(a.columns()), lwork = 64 * n;
  std::vector<T> tau(static_cast<std::size_t>(std::min(m, n))), work(static_cast<std::size_t>(lwork));
  int info = 0;
  Blas<T>::instance().geqrf(&m, &n, a.data(), &m, tau.data(), work.data(), &lwork, &info);
  return tau;
}

// A = U diag(s) V^H of a square matrix, which is lost.
template <class T>
int lapack_gesdd(Matrix<T>& a, Real<T>* s, Matrix<T>& u, Matrix<T>& vh) {
  const std::int64_t order = a.rows();
  const int n = static_cast<int>(order), ld = std::max(1, n), lwork = static_cast<int>(5 * order * order + 200 * order);
  std::vector<T> work(static_cast<std::size_t>(lwork));
  std::vector<Real<T>> rwork(static_cast<std::size_t>(5 * order * order + 7 * order + 1));
  std::vector<int> iwork(static_cast<std::size_t>(8 * order));
  int info = 0;
  if constexpr (is_complex<T>) {
    Blas<T>::instance().gesdd("S", &n, &n, a.data(), &ld, s, u.data(), &ld, vh.data(), &ld, work.data(), &lwork,
                              rwork.data(), iwork.data(), &info);
  } else {
    Blas<T>::instance().gesdd("S", &n, &n, a.data(), &ld, s, u.data(), &ld, vh.data(), &ld, work.data(), &lwork,
                              iwork.data(), &info);
  }
  return info;
}

// L L^H X = B, as LAPACK's potrs does it.
template <class T>
void lapack_potrs(const Matrix<T>& l, Matrix<T>& x) {
  const int n = static_cast<int>(x.rows()), nrhs = static_cast<int>(x.columns()), ld = std::max(1, n);
  const T one = 1;
  for (const char* op : {"N", "C"}) {
    Blas<T>::instance().trsm("L", "L", op, "N", &n, &nrhs, &one, l.data(), &ld, x.data(), &ld);
  }
}

}  // namespace jaxmg::testing
