// Times of the kernels for Cholesky's diagonal blocks beside cuSOLVER's potrf and cuBLAS's trsm, on one GPU:
//
//   diagonal_blocks_cuda13 [types, default dszc] [busy]
//
// With `busy`, products in a stream of low priority fill the GPU meanwhile, as in a factorisation. Times are medians in
// microseconds; `differs` is the largest difference from the library's result, in units of n eps.
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
using benchmarks::device_array;
using benchmarks::OnDevice;
using jaxmg::testing::Matrix;

template <class T>
double difference(const Matrix<T>& x, const Matrix<T>& y, bool lower) {
  double most = 0, norm = 0;
  for (std::int64_t j = 0; j < x.columns(); ++j) {
    for (std::int64_t i = lower ? j : 0; i < x.rows(); ++i) {
      const double d = static_cast<double>(std::abs(x(i, j) - y(i, j)));
      most = d <= most ? most : d;  // NaN counts
      norm = std::max(norm, static_cast<double>(std::abs(y(i, j))));
    }
  }
  return most / (norm * static_cast<double>(x.columns()) * std::numeric_limits<Real<T>>::epsilon());
}

template <class T>
void potrf_times(Bench& bench, const char* type) {
  std::printf("\npotrf %s    own  cuSOLVER   differs\n", type);
  auto* const info = device_array<std::int32_t>(1);
  for (const std::int64_t n : {32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048}) {
    const OnDevice<T> given(jaxmg::testing::positive_definite<T>(n, 1));
    OnDevice<T> own(n, n), library(n, n);
    OnDevice<std::byte> progress(cuda::progress_bytes<T>(n), 1);
    int elements = 0;
    const int order = static_cast<int>(n);
    JAXMG_CHECK(cuda::potrf_buffer_size(bench.solver, order, library.view.data, order, &elements));
    OnDevice<T> work(std::max(1, elements), 1);
    const double own_us = bench.measure([&] { own.copy(given, bench.stream); },
                                        [&] { cuda::own_potrf(bench.stream, own.view, info, progress.view.data); });
    const double library_us = bench.measure(
        [&] { library.copy(given, bench.stream); },
        [&] {
          JAXMG_CHECK(cuda::potrf(bench.solver, order, library.view.data, order, work.view.data, elements, info));
        });
    std::printf("%7d %6.0f %9.0f %9.2g\n", order, own_us, library_us,
                difference(own.download(), library.download(), true));
    std::fflush(stdout);
  }
  JAXMG_CHECK(cudaFree(info));
}

template <class T>
void solve_times(Bench& bench, const char* type) {
  std::printf("\nsolve %s  rows    own  own, few rows    cuBLAS   differs\n", type);
  for (const std::int64_t n : {256, 512, 1024, 2048}) {
    // Well-conditioned: small elements below the diagonal.
    Matrix<T> l = jaxmg::testing::random_matrix<T>(n, n, 2);
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = 0; i < n; ++i) l(i, j) *= static_cast<Real<T>>(1.0 / static_cast<double>(n));
      l(j, j) = T(1) + std::abs(l(j, j));
    }
    const OnDevice<T> factor(l);
    for (const std::int64_t rows : {64, 128, 256, 512, 1024, 2048, 3072, 4096}) {
      const OnDevice<T> given(jaxmg::testing::random_matrix<T>(rows, n, 3));
      OnDevice<T> own(rows, n), few(rows, n), library(rows, n);
      const auto by_kernel = [&](OnDevice<T>& x, bool few_rows) {
        return bench.measure([&] { x.copy(given, bench.stream); },
                             [&] { cuda::own_solve_right(bench.stream, factor.view, x.view, few_rows); });
      };
      const double own_us = by_kernel(own, false), few_us = by_kernel(few, true);
      const double library_us = bench.measure(
          [&] { library.copy(given, bench.stream); },
          [&] {
            JAXMG_CHECK(cuda::trsm(bench.blas, Side::right, Uplo::lower, Op::conj_transpose, Diag::non_unit,
                                   static_cast<int>(rows), static_cast<int>(n), factor.view.data, static_cast<int>(n),
                                   library.view.data, static_cast<int>(rows)));
          });
      const Matrix<T> expected = library.download();
      std::printf("%7d %5d %6.0f %14.0f %9.0f %9.2g\n", static_cast<int>(n), static_cast<int>(rows), own_us, few_us,
                  library_us,
                  std::max(difference(own.download(), expected, false), difference(few.download(), expected, false)));
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
