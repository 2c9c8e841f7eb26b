#include <cstddef>
#include <cstdint>
#include <vector>

#include "divide_and_conquer_checks.h"
#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, DivideAndConquerTest, OnRealScalars<HostRanks>);
INSTANTIATE_TYPED_TEST_SUITE_P(Host, Bisection, OnRealScalars<HostRanks>);

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
