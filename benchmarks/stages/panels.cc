// Times of the QR factorisation of panels, by CholeskyQR and column by column, and of the steps of a panel of the
// reduction to a band, on one GPU:
//
//   panels_cuda13 [types, default d] [busy]
//
// With `busy`, products in a stream of low priority fill the GPU meanwhile, as in a factorisation. Times are medians in
// microseconds. Errors are ||Q^H Q - I||_F and ||A - Q R||_F / ||A||_F in units of eps.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/scalar.h"
#include "device_bench.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/panel_qr_ops.h"
#include "engine/scratch.h"
#include "matrices.h"

namespace {

using namespace jaxmg;
using benchmarks::Bench;
using benchmarks::device_array;
using benchmarks::OnDevice;
using jaxmg::testing::Matrix;
using jaxmg::testing::random_matrix;

constexpr Lane lane = Lane::panel;

template <class T>
struct Errors {
  double orthogonality, residual, largest;
};

template <class T>
T conjugated(T x) {
  if constexpr (is_complex<T>) {
    return std::conj(x);
  } else {
    return x;
  }
}

// Of A = (I - V T V^H) [R; 0].
template <class T>
Errors<T> errors(const Matrix<T>& a, const Matrix<T>& factored, const Matrix<T>& t) {
  const std::int64_t m = a.rows(), n = a.columns();
  Matrix<T> v = factored, q(m, n);
  double largest = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i <= j; ++i) v(i, j) = T(i == j ? 1 : 0);
    for (std::int64_t i = 0; i < m; ++i) largest = std::max(largest, static_cast<double>(std::abs(v(i, j))));
  }
  for (std::int64_t j = 0; j < n; ++j) {
    q(j, j) = T(1);
    for (std::int64_t i = 0; i < n; ++i) {
      T sum(0);  // T V_1^H
      for (std::int64_t k = i; k < n; ++k) sum += t(i, k) * conjugated(v(j, k));
      for (std::int64_t row = 0; row < m; ++row) q(row, j) -= v(row, i) * sum;
    }
  }
  double orthogonality = 0, residual = 0, norm = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t k = 0; k <= j; ++k) {
      T sum(j == k ? -1 : 0);
      for (std::int64_t i = 0; i < m; ++i) sum += conjugated(q(i, k)) * q(i, j);
      orthogonality += (j == k ? 1 : 2) * std::norm(sum);
    }
    std::vector<T> left(static_cast<std::size_t>(m));
    for (std::int64_t i = 0; i < m; ++i) left[static_cast<std::size_t>(i)] = a(i, j);
    for (const T x : left) norm += std::norm(x);
    for (std::int64_t k = 0; k <= j; ++k) {
      for (std::int64_t i = 0; i < m; ++i) left[static_cast<std::size_t>(i)] -= q(i, k) * factored(k, j);
    }
    for (const T x : left) residual += std::norm(x);
  }
  const double eps = std::numeric_limits<Real<T>>::epsilon();
  return {std::sqrt(orthogonality) / eps, norm > 0 ? std::sqrt(residual / norm) / eps : std::sqrt(residual) / eps,
          largest};
}

// The engine's operations, on its panel lane.
class Engine : public cuda::CudaBlasOps, public cuda::CudaPanelQrOps {
 public:
  explicit Engine(const cuda::Lanes& lanes) : CudaBlasOps(lanes), CudaPanelQrOps(lanes) {}
};

// Microseconds and, if asked for, errors of a panel factored by columns, and by CholeskyQR.
template <class T>
struct Compared {
  double us[2];
  Errors<T> found[2];

  Compared(Bench& bench, Engine& engine, const Matrix<T>& a, bool with_errors) {
    const OnDevice<T> given(a);
    const std::int64_t n = a.columns();
    OnDevice<T> panel(a.rows(), n), t(n, n), scratch(geqrt_scratch(n), 1);
    for (const int method : {0, 1}) {
      us[method] = bench.measure([&] { panel.copy(given, bench.stream); },
                                 [&] { engine.geqrt(lane, panel.view, t.view, scratch.view.data, 8 * method); });
      if (with_errors) found[method] = errors(a, panel.download(), t.download());
    }
  }
};

template <class T>
void panel_times(Bench& bench, Engine& engine, const char* type) {
  std::printf("\npanel %s           us, by columns  CholeskyQR   orth., by columns  CholeskyQR    res.  CholeskyQR\n",
              type);
  for (const std::int64_t n : {32, 64}) {
    for (const std::int64_t m : {64, 512, 1024, 2048, 4096, 8128, 16320, 32704, 65472}) {
      const auto [us, found] = Compared<T>(bench, engine, random_matrix<T>(m, n, 1), m <= 4096);
      std::printf("%7d x %d %16.0f %11.0f", static_cast<int>(m), static_cast<int>(n), us[0], us[1]);
      if (m <= 4096) {
        std::printf(" %20.1f %11.1f %7.1f %11.1f", found[0].orthogonality, found[1].orthogonality, found[0].residual,
                    found[1].residual);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
}

template <class T>
void hard_panels(Bench& bench, Engine& engine, const char* type) {
  const std::vector<std::pair<const char*, std::function<T(std::int64_t, std::int64_t, std::int64_t, T)>>> hard = {
      {"graded columns", [](auto, auto j, auto n, T x) { return x * T(std::pow(1e-12, static_cast<double>(j) / n)); }},
      {"graded rows", [](auto i, auto, auto, T x) { return x * T(std::pow(1e-16, static_cast<double>(i) / 1500)); }},
      {"half the columns twice", [](auto, auto, auto, T x) { return x; }},
      {"ones", [](auto, auto, auto, T) { return T(1); }},
      {"zero", [](auto, auto, auto, T) { return T(0); }},
      {"a zero column", [](auto, auto j, auto, T x) { return j == 5 ? T(0) : x; }},
      {"upper triangle", [](auto i, auto j, auto, T x) { return i > j ? T(0) : x; }},
      {"few rows", [](auto i, auto, auto n, T x) { return 2 * i >= n ? T(0) : x; }},
      {"powers",
       [](auto i, auto j, auto, T) { return T(std::pow(static_cast<double>(i) / 1500, static_cast<double>(j))); }},
      {"Hilbert", [](auto i, auto j, auto, T) { return T(1.0 / static_cast<double>(i + j + 1)); }},
      {"tiny", [](auto, auto, auto, T x) { return x * T(sizeof(Real<T>) == 8 ? 1e-200 : 1e-25); }},
  };
  std::printf(
      "\nhard %s                  us, by columns  CholeskyQR   orth., by columns  CholeskyQR    res.  CholeskyQR  "
      "max|v|\n",
      type);
  for (const std::int64_t n : {32, 64}) {
    for (const std::int64_t m : {n, n + 13, std::int64_t{1500}}) {
      for (const auto& [name, entry] : hard) {
        Matrix<T> a = random_matrix<T>(m, n, 2);
        for (std::int64_t j = 0; j < n; ++j) {
          for (std::int64_t i = 0; i < m; ++i) a(i, j) = entry(i, j, n, a(i, j));
        }
        if (std::strcmp(name, "half the columns twice") == 0) {
          for (std::int64_t j = n / 2; j < n; ++j) std::copy_n(&a(0, j - n / 2), m, &a(0, j));
        }
        const auto [us, found] = Compared<T>(bench, engine, a, true);
        std::printf("%5d x %d %-22s %6.0f %11.0f %20.1f %11.1f %7.1f %11.1f %7.3f\n", static_cast<int>(m),
                    static_cast<int>(n), name, us[0], us[1], found[0].orthogonality, found[1].orthogonality,
                    found[0].residual, found[1].residual, found[1].largest);
      }
      std::fflush(stdout);
    }
  }
}

// The steps of a panel of b columns, with m rows left, on one of `ranks` ranks (algorithms/eigen/band_reduction.h).
template <class T>
void band_steps(Bench& bench, Engine& engine, std::int64_t m, std::int64_t ranks) {
  const std::int64_t b = 64, own = m / ranks;
  OnDevice<T> a(m, own), left(random_matrix<T>(m, 4 * b, 1)), right(random_matrix<T>(own, 4 * b, 1)), panel(m, b);
  OnDevice<T> z(own, b), t(random_matrix<T>(b, b, 3)), scratch(two_sided_scratch(b), 1);
  JAXMG_CHECK(cudaMemset(a.view.data, 0, a.bytes()));
  const auto v = left.view.block(0, 0, m, b), w = left.view.block(0, b, m, b);
  std::printf("band panel, m %d, %d ranks:", static_cast<int>(m), static_cast<int>(ranks));
  const auto step = [&](const char* name, auto&& work_of_step) {
    std::printf("  %s %.0f", name, bench.measure([] {}, work_of_step));
  };
  const auto update = [&](std::int64_t depth, std::int64_t columns, MatrixView<T> to) {
    engine.gemm(lane, Op::none, Op::conj_transpose, T(-1), left.view.block(0, 0, m, depth),
                right.view.block(0, 0, columns, depth), to);
  };
  step("update panel", [&] { update(2 * b, b, panel.view); });
  step("unit lower", [&] { engine.unit_lower(lane, v); });
  step("A V", [&] { engine.product(lane, Op::conj_transpose, Op::none, T(1), a.view, v, z.view); });
  step("two-sided", [&] { engine.two_sided(lane, v, t.view, w, scratch.view.data); });
  step("update", [&] { update(2 * b, own, a.view); });
  step("update by two panels", [&] { update(4 * b, own, a.view); });
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** values) {
  const std::string types = count > 1 ? values[1] : "d";
  const bool busy = count > 2 && std::strcmp(values[2], "busy") == 0;
  const cuda::Lanes lanes;
  Engine engine(lanes);
  Bench bench(busy, lanes.stream(lane));
  std::printf("microseconds%s\n", busy ? ", beside products that fill the GPU" : "");
  const auto times = [&]<class T>(const char* type) {
    panel_times<T>(bench, engine, type);
    if (!busy) hard_panels<T>(bench, engine, type);
  };
  for (const char type : types) {
    if (type == 's') times.operator()<float>("f32");
    if (type == 'd') times.operator()<double>("f64");
    if (type == 'c') times.operator()<std::complex<float>>("c64");
    if (type == 'z') times.operator()<std::complex<double>>("c128");
  }
  if (busy) return 0;
  for (const std::int64_t m : {2048, 8128, 16320}) {
    for (const std::int64_t ranks : {1, 4}) band_steps<double>(bench, engine, m, ranks);
  }
  return 0;
}
