// Times of the kernels for Cholesky's diagonal blocks beside cuSOLVER's potrf and cuBLAS's trsm, on one GPU:
//
//   diagonal_blocks_cuda13 [types, default dszc] [busy]
//
// With `busy`, products in a stream of low priority fill the GPU meanwhile, as in a factorisation. Times are medians in
// microseconds. Errors, in units of n eps, are the largest differences from the library's result in double precision,
// relative to its largest element.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "core/scalar.h"
#include "device_bench.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"
#include "engine/cuda/diagonal_blocks.h"
#include "matrices.h"

namespace {

using namespace jaxmg;
using benchmarks::Bench;
using benchmarks::OnDevice;
using jaxmg::testing::Matrix;

template <class T>
using InDouble = std::conditional_t<is_complex<T>, std::complex<double>, double>;

template <class T>
Matrix<InDouble<T>> in_double(const Matrix<T>& x) {
  Matrix<InDouble<T>> y(x.rows(), x.columns());
  std::copy(x.data(), x.data() + x.rows() * x.columns(), y.data());
  return y;
}

template <class T>
double error(const Matrix<T>& x, const Matrix<InDouble<T>>& exact, bool lower) {
  double most = 0, norm = 0;
  for (std::int64_t j = 0; j < x.columns(); ++j) {
    for (std::int64_t i = lower ? j : 0; i < x.rows(); ++i) {
      const double d = std::abs(InDouble<T>(x(i, j)) - exact(i, j));
      most = d <= most ? most : d;  // NaN counts
      norm = std::max(norm, std::abs(exact(i, j)));
    }
  }
  return most / (norm * static_cast<double>(x.columns()) * std::numeric_limits<Real<T>>::epsilon());
}

// Microseconds of cuSOLVER's potrf, whose result is left in `to`.
template <class T>
double library_potrf(Bench& bench, const OnDevice<T>& given, OnDevice<T>& to) {
  const int n = static_cast<int>(given.view.rows);
  int elements = 0;
  JAXMG_CHECK(cuda::potrf_buffer_size(bench.solver, n, to.view.data, n, &elements));
  OnDevice<T> work(std::max(1, elements), 1);
  OnDevice<std::int32_t> info(1, 1);
  return bench.measure(
      [&] { to.copy(given, bench.stream); },
      [&] { JAXMG_CHECK(cuda::potrf(bench.solver, n, to.view.data, n, work.view.data, elements, info.view.data)); });
}

// Microseconds of cuBLAS's trsm, whose result is left in `to`.
template <class T>
double library_solve(Bench& bench, const OnDevice<T>& factor, const OnDevice<T>& given, OnDevice<T>& to) {
  const int n = static_cast<int>(given.view.columns), rows = static_cast<int>(given.view.rows);
  return bench.measure([&] { to.copy(given, bench.stream); },
                       [&] {
                         JAXMG_CHECK(cuda::trsm(bench.blas, Side::right, Uplo::lower, Op::conj_transpose,
                                                Diag::non_unit, rows, n, factor.view.data, n, to.view.data, rows));
                       });
}

template <class T>
void potrf_times(Bench& bench, const char* type) {
  std::printf("\npotrf %s    own  cuSOLVER  error own  cuSOLVER\n", type);
  OnDevice<std::int32_t> info(1, 1);
  for (const std::int64_t n : {32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072}) {
    const Matrix<T> a = jaxmg::testing::positive_definite<T>(n, 1);
    const OnDevice<T> given(a);
    OnDevice<T> own(n, n), library(n, n);
    OnDevice<std::byte> progress(cuda::progress_bytes<T>(n), 1);
    const double own_us =
        bench.measure([&] { own.copy(given, bench.stream); },
                      [&] { cuda::own_potrf(bench.stream, own.view, info.view.data, progress.view.data); });
    const double library_us = library_potrf(bench, given, library);
    const OnDevice<InDouble<T>> given_in_double(in_double(a));
    OnDevice<InDouble<T>> exact(n, n);
    library_potrf(bench, given_in_double, exact);
    const Matrix<InDouble<T>> l = exact.download();
    std::printf("%7d %6.0f %9.0f %10.2g %9.2g\n", static_cast<int>(n), own_us, library_us,
                error(own.download(), l, true), error(library.download(), l, true));
    std::fflush(stdout);
  }
}

template <class T>
void solve_times(Bench& bench, const char* type) {
  std::printf("\nsolve %s  rows    own  own, few rows    cuBLAS  error own  cuBLAS\n", type);
  for (const std::int64_t n : {256, 512, 1024, 2048}) {
    // Well-conditioned: small elements below the diagonal.
    Matrix<T> l = jaxmg::testing::random_matrix<T>(n, n, 2);
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = 0; i < n; ++i) l(i, j) *= static_cast<Real<T>>(1.0 / static_cast<double>(n));
      l(j, j) = T(1) + std::abs(l(j, j));
    }
    const OnDevice<T> factor(l);
    const OnDevice<InDouble<T>> factor_in_double(in_double(l));
    for (const std::int64_t rows : {64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}) {
      if (rows * n > std::int64_t{1} << 23) continue;
      const Matrix<T> b = jaxmg::testing::random_matrix<T>(rows, n, 3);
      const OnDevice<T> given(b);
      OnDevice<T> own(rows, n), few(rows, n), library(rows, n);
      const auto by_kernel = [&](OnDevice<T>& x, bool few_rows) {
        return bench.measure([&] { x.copy(given, bench.stream); },
                             [&] { cuda::own_solve_right(bench.stream, factor.view, x.view, few_rows); });
      };
      const double own_us = by_kernel(own, false), few_us = by_kernel(few, true);
      const double library_us = library_solve(bench, factor, given, library);
      const OnDevice<InDouble<T>> given_in_double(in_double(b));
      OnDevice<InDouble<T>> exact(rows, n);
      library_solve(bench, factor_in_double, given_in_double, exact);
      const Matrix<InDouble<T>> x = exact.download();
      std::printf("%7d %5d %6.0f %14.0f %9.0f %10.2g %7.2g\n", static_cast<int>(n), static_cast<int>(rows), own_us,
                  few_us, library_us, std::max(error(own.download(), x, false), error(few.download(), x, false)),
                  error(library.download(), x, false));
      std::fflush(stdout);
    }
  }
}

template <class T>
void times(Bench& bench, const char* type) {
  potrf_times<T>(bench, type);
  solve_times<T>(bench, type);
}

}  // namespace

int main(int count, char** values) {
  const std::string types = count > 1 ? values[1] : "dszc";
  const bool busy = count > 2 && std::strcmp(values[2], "busy") == 0;
  Bench bench(busy);
  std::printf("microseconds%s\n", busy ? ", beside products that fill the GPU" : "");
  for (const char type : types) {
    if (type == 's') times<float>(bench, "f32");
    if (type == 'd') times<double>(bench, "f64");
    if (type == 'c') times<std::complex<float>>(bench, "c64");
    if (type == 'z') times<std::complex<double>>(bench, "c128");
  }
  return 0;
}
