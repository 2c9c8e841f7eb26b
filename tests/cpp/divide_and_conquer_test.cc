#include <cstddef>
#include <cstdint>
#include <vector>

#include "divide_and_conquer_checks.h"
#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, DivideAndConquerTest, OnRealScalars<HostRanks>);
INSTANTIATE_TYPED_TEST_SUITE_P(Host, Bisection, OnRealScalars<HostRanks>);

template <class R>
class SturmCounts : public ::testing::Test {};
using SturmTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SturmCounts, SturmTypes);

// At every eigenvalue, between neighbours, and beside them. Both counts are exact for a matrix whose elements, of at
// most 5 with x on the diagonal, differ by a few roundings.
TYPED_TEST(SturmCounts, AgreeWithPivots) {
  using R = TypeParam;
  const double tolerance = 32 * static_cast<double>(unit_roundoff<R>());
  for (const std::int64_t n : {1, 2, 3, 21, 65, 130}) {
    for (const auto& t : tridiagonals<R>(n)) {
      const double largest = t.largest(), scale = largest > 0 ? largest : 1;
      std::vector<TridiagonalRow<R>> rows;
      for (std::size_t i = 0; i < t.d.size(); ++i) {
        const R off = i > 0 ? t.e[i - 1] / static_cast<R>(scale) : R(0);
        rows.push_back({t.d[i] / static_cast<R>(scale), off * off});
      }
      constexpr std::size_t chunk = SturmCount<R>::rows;
      while (rows.size() % chunk != 0) rows.push_back({R(5), R(0)});
      const auto by_pivots = [&](double x) {
        R pivot = 1;
        int negative = 0;
        for (const auto& row : rows) {
          pivot = next_pivot(pivot, row.d, row.square, static_cast<R>(x));
          negative += pivot < 0 ? 1 : 0;
        }
        return negative;
      };
      const std::vector<double> w = lapack_eigenvalues(t, scale);
      std::vector<R> points = {R(-4), R(0), R(1), R(4)};
      for (std::size_t i = 0; i < w.size(); ++i) {
        for (const double x : {w[i], (w[i] + w[i > 0 ? i - 1 : 0]) / 2, w[i] - tolerance, w[i] + tolerance}) {
          points.push_back(static_cast<R>(x));
        }
      }
      for (const R x : points) {
        SCOPED_TRACE(::testing::Message() << t.name << ", order " << n << ", " << x);
        SturmCount<R> count;
        for (std::size_t i = 0; i < rows.size(); i += chunk) count.count(&rows[i], x);
        EXPECT_GE(count.negative(), by_pivots(static_cast<double>(x) - tolerance));
        EXPECT_LE(count.negative(), by_pivots(static_cast<double>(x) + tolerance));
      }
    }
  }
}

namespace {

// Counts the multiplications of matrix products.
class CountingEngine : public HostEngine {
 public:
  using HostEngine::HostEngine;

  template <class T>
  void gemm(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    multiplications += c.rows * c.columns * a.columns;
    HostEngine::gemm(lane, opa, opb, alpha, a, b, c);
  }

  std::int64_t multiplications = 0;
};

Matrix<double> columns_of(MatrixView<double> q, EigenvectorRange range) {
  Matrix<double> columns(q.rows, range.count);
  for (std::int64_t j = 0; j < range.count; ++j) {
    for (std::int64_t i = 0; i < q.rows; ++i) columns(i, j) = *q.at(i, range.first + j);
  }
  return columns;
}

struct WantedVectors {
  Matrix<double> q;
  std::int64_t multiplications;
};

WantedVectors decompose_on_one_rank(const Tridiagonal<double>& t, EigenvectorRange wanted) {
  const std::int64_t n = t.order();
  Arena measure;
  DivideAndConquerWorkspace<double>(measure, n, n, n);
  std::vector<std::byte> memory(static_cast<std::size_t>(measure.used()));
  Arena arena(memory.data(), measure.used());
  DivideAndConquerWorkspace<double> workspace(arena, n, n, n);
  Participant alone(fresh_key(), 0, {0}, {}, test_timeout);
  Communicator communicator(alone);
  CountingEngine engine(communicator);
  std::vector<double> w(t.d.size());
  std::int32_t info = no_failure;
  DivideAndConquer<double, CountingEngine> merging(engine, n, n, t.d.data(), t.e.data(), w.data(), &info, workspace);
  merging.values();
  merging.vectors(wanted);
  return {columns_of(workspace.rows, wanted), engine.multiplications};
}

// The last merge computes only the requested columns, equal to the same columns among all: at most n rows times n
// numbers each.
TEST(DivideAndConquer, ComputesOnlyTheRequestedVectors) {
  const auto t = tridiagonals<double>(64)[0];
  const std::int64_t n = t.order();
  auto all = decompose_on_one_rank(t, {0, n});
  const auto none = decompose_on_one_rank(t, {0, 0});
  EXPECT_GE(all.multiplications, 3 * none.multiplications);
  for (const EigenvectorRange wanted : {EigenvectorRange{0, 8}, {29, 5}, {n - 1, 1}}) {
    const auto some = decompose_on_one_rank(t, wanted);
    EXPECT_LE(some.multiplications, none.multiplications + wanted.count * n * n);
    EXPECT_LE(frobenius(minus(some.q, columns_of(all.q.view(), wanted))), bound * n_eps<double>(n));
  }
}

}  // namespace

}  // namespace jaxmg::testing
