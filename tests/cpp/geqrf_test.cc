#include <cstddef>
#include <cstdint>
#include <limits>

#include "geqrf_checks.h"
#include "ranks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, Geqrf, OnAllScalars<HostRanks>);

namespace {

// The first of the vectors that an R is tried on is infinite.
struct InfiniteNoise : HostEngine {
  explicit InfiniteNoise(const HostEngine& engine) : HostEngine(engine) {}
  InfiniteNoise alone() const { return InfiniteNoise(HostEngine::alone()); }

  template <class T>
  void add_noise(Lane lane, Real<T> size, std::int64_t row, std::int64_t column, MatrixView<T> a) {
    HostEngine::add_noise(lane, size, row, column, a);
    *a.at(0, 0) = std::numeric_limits<Real<T>>::infinity();
  }
};

TEST(TallLeastSquares, AnRIsNotAcceptedWhereOneOfItsTrialsIsNan) {
  const std::int64_t m = 60, n = 13;
  const TallRows rows{m, n, m, 1, m};
  const auto accepts = [&](auto&& engine_of) {
    HostRanks ranks(1);
    Arena measure;
    TsqrWorkspace<double>(measure, rows, 4, 3);
    GramTrialWorkspace<double>(measure, rows, 0);
    auto a = ranks.matrix<double>(n, m), q = ranks.matrix<double>(n, m), r = ranks.matrix<double>(n, n);
    auto workspace = ranks.matrix<std::byte>(measure.used(), 1);
    a.upload(0, random_matrix<double>(n, m, 12));
    bool accepted = false;
    ranks.run([&](HostEngine& host) {
      auto engine = engine_of(host);
      Arena arena = arena_over(workspace.view(0));
      TsqrWorkspace<double> w(arena, rows, 4, 3);
      GramTrialWorkspace<double> trial(arena, rows, 0);
      Steps steps = steps_of<double>();
      accepted = Tsqr<double, decltype(engine)>(engine, rows, true, q.view(0), r.view(0), w)
                     .run_for_least_squares(a.view(0), MatrixView<double>{nullptr, m, 0, 1}, trial, steps);
    });
    return accepted;
  };
  EXPECT_TRUE(accepts([](HostEngine& host) { return host; }));
  EXPECT_FALSE(accepts([](HostEngine& host) { return InfiniteNoise(host); }));
}

}  // namespace
}  // namespace jaxmg::testing
