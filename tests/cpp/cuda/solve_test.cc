// The whole solve on GPUs: agreement with the host engine, shapes of real size, repeated and simultaneous calls.
#include <cmath>
#include <cstdint>
#include <numeric>
#include <thread>
#include <vector>

#include "cuda_ranks.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/lanes.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {
namespace {

template <class T>
Matrix<T> whole(const Solution<T>& solution, bool distributed_rhs, std::int64_t columns) {
  return distributed_rhs ? side_by_side(solution.x, columns) : solution.x[0];
}

template <class T>
void expect_solved(const Solution<T>& solution, const Matrix<T>& a, const Matrix<T>& b, bool distributed_rhs) {
  for (const std::int32_t info : solution.info) EXPECT_EQ(info, 0);
  EXPECT_LE(solve_error(a, whole(solution, distributed_rhs, b.columns()), b), 3);
}

// A few small solves, for compute-sanitizer.
template <class Parameter>
class Quick : public ::testing::Test {};

using QuickTypes = ::testing::Types<On<PeerRanks, float>, On<PeerRanks, std::complex<double>>, On<NcclRanks, double>>;
TYPED_TEST_SUITE(Quick, QuickTypes);

TYPED_TEST(Quick, Solves) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 1);
  for (const int ranks : {1, 2, 4}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const bool distributed_rhs : {false, true}) {
      if (distributed_rhs && ranks == 1) continue;
      const Shape shape{45, ranks, 4, 8, 2};
      SCOPED_TRACE(shape);
      const auto a = positive_definite<T>(shape.n, 1);
      const auto b = random_matrix<T>(shape.n, 5, 2);
      typename TypeParam::Ranks there(ranks);
      expect_solved(solve(there, a, b, shape, distributed_rhs), a, b, distributed_rhs);
    }
  }
}

template <class Parameter>
class Solve : public ::testing::Test {};

using SolveTypes = ::testing::Types<On<PeerRanks, float>, On<PeerRanks, double>, On<PeerRanks, std::complex<float>>,
                                    On<PeerRanks, std::complex<double>>, On<NcclRanks, std::complex<float>>>;
TYPED_TEST_SUITE(Solve, SolveTypes);

TYPED_TEST(Solve, AgreesWithTheHostEngine) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 1);
  for (const int ranks : {1, 2, 3, 4}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const Shape& shape : {Shape{257, ranks, 32, 96, 3}, Shape{330, ranks, 64, 64, 2}}) {
      for (const bool distributed_rhs : {false, true}) {
        if (distributed_rhs && ranks == 1) continue;
        SCOPED_TRACE(::testing::Message() << shape << (distributed_rhs ? ", distributed B" : ", replicated B"));
        const auto a = positive_definite<T>(shape.n, 3);
        const auto b = random_matrix<T>(shape.n, 9, 4);
        typename TypeParam::Ranks there(ranks);
        HostRanks here(ranks);
        const auto found = solve(there, a, b, shape, distributed_rhs);
        const auto expected = solve(here, a, b, shape, distributed_rhs);
        EXPECT_EQ(found.info, expected.info);
        EXPECT_LE(difference(whole(found, distributed_rhs, 9), whole(expected, distributed_rhs, 9)), 10);
      }
    }
  }
}

TYPED_TEST(Solve, DoesNotDependOnTheOrderOfDevices) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 2);
  for (const int ranks : {2, 3, 4}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    std::vector<int> devices = TypeParam::Ranks::spread(ranks);
    std::reverse(devices.begin(), devices.end());
    const Shape shape{70, ranks, 6, 12, 3};
    SCOPED_TRACE(shape);
    const auto a = positive_definite<T>(shape.n, 5);
    const auto b = random_matrix<T>(shape.n, 3, 6);
    typename TypeParam::Ranks there(devices);
    expect_solved(solve(there, a, b, shape, false), a, b, false);
  }
}

// From the second call on only the order of their streams synchronises the ranks. All calls give the same bits.
TYPED_TEST(Solve, RepeatedCallsGiveTheSameBits) {
  using T = typename TypeParam::Scalar;
  JAXMG_NEEDS_RANKS(TypeParam::Ranks, 1);
  for (const int ranks : {1, 2, 3, 4}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const bool distributed_rhs : {false, true}) {
      if (distributed_rhs && ranks == 1) continue;
      const Shape shape{190, ranks, 10, 30, 3};
      SCOPED_TRACE(shape);
      const auto a = positive_definite<T>(shape.n, 7);
      const auto b = random_matrix<T>(shape.n, 6, 8);
      std::vector<Matrix<T>> first;
      for (int turn = 0; turn < 10; ++turn) {
        typename TypeParam::Ranks there(ranks);
        const auto solution = solve(there, a, b, shape, distributed_rhs);
        if (turn == 0) {
          expect_solved(solution, a, b, distributed_rhs);
          first = solution.x;
        }
        EXPECT_EQ(solution.x, first) << "turn " << turn;
      }
    }
  }
}

// Each call has its own team, with separate streams and flags.
TEST(SolveOfPeers, TwoCallsAtOnce) {
  using T = double;
  JAXMG_NEEDS_RANKS(PeerRanks, 2);
  const int ranks = PeerRanks::available(4) && ranks_per_gpu() == 1 ? 4 : 2;
  const auto call = [&](std::int64_t n, unsigned seed) {
    const Shape shape{n, ranks, 8, 24, 3};
    const auto a = positive_definite<T>(n, seed);
    const auto b = random_matrix<T>(n, 2, seed + 1);
    for (int turn = 0; turn < 10; ++turn) {
      PeerRanks there(ranks);
      expect_solved(solve(there, a, b, shape, false), a, b, false);
    }
  };
  std::thread one([&] { call(150, 1); }), other([&] { call(203, 3); });
  one.join();
  other.join();
}

// a(i, j) = r^|i - j| (Kac, Murdock and Szego), turned by phases where it is complex: of modest condition, and cheap.
template <class T>
Matrix<T> toeplitz(std::int64_t n) {
  std::vector<T> diagonals;
  for (std::int64_t d = 0; d < n; ++d) {
    const double size = std::pow(0.9, static_cast<double>(d)), angle = static_cast<double>(d);
    diagonals.push_back(is_complex<T> ? make_scalar<T>(size * std::cos(angle), size * std::sin(angle))
                                      : make_scalar<T>(size, 0));
  }
  Matrix<T> a(n, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      const T value = diagonals[static_cast<std::size_t>(std::abs(i - j))];
      a(i, j) = i < j ? conjugate(value) : value;
    }
  }
  return a;
}

// Solves with the planner's choices, on every number of GPUs.
template <class T, class Ranks>
void solve_as_planned(std::int64_t n, std::int64_t nrhs) {
  JAXMG_NEEDS_RANKS(Ranks, 1);
  const auto a = toeplitz<T>(n);
  const auto b = random_matrix<T>(n, nrhs, 9);
  for (const int ranks : {1, 2, 3, 4}) {
    if (!Ranks::available(ranks)) continue;
    CallOf<routines::Posv, T> call(n, ranks, 0);
    call.problem.nrhs = nrhs;
    call.problem.platform = Platform::cuda;
    for (const std::int64_t one_rank_up_to : {-1, 0}) {
      call.problem.one_rank_up_to = one_rank_up_to;
      call.plan = routines::Posv::plan(call.problem).plan;
      const Shape shape{n, ranks, call.plan.tile, call.plan.depth, call.plan.slots};
      const bool distributed_rhs = call.plan.distributed_rhs;
      SCOPED_TRACE(::testing::Message() << shape << (distributed_rhs ? ", distributed B" : ", replicated B")
                                        << (call.plan.solo() ? ", one rank" : ""));
      Ranks there(ranks);
      expect_solved(solve(there, in_blocks(a, shape.layout()), b, call, call.bytes()), a, b, distributed_rhs);
    }
  }
}

TEST(PlannedSolve, OneRightHandSide) { solve_as_planned<double, PeerRanks>(3001, 1); }
TEST(PlannedSolve, OneRightHandSideThroughNccl) { solve_as_planned<double, NcclRanks>(3001, 1); }
TEST(PlannedSolve, ManyRightHandSides) { solve_as_planned<float, PeerRanks>(900, 280); }
TEST(PlannedSolve, ManyRightHandSidesThroughNccl) { solve_as_planned<std::complex<float>, NcclRanks>(600, 200); }

// Panels of more than one chunk of rows.
template <class Ranks>
void solve_with_chunks() {
  constexpr int ranks = 4;
  JAXMG_NEEDS_RANKS(Ranks, ranks);
  const Shape shape{Panel<float>::chunk_rows + 77, ranks, 256, 512, 3};
  const auto a = toeplitz<float>(shape.n);
  const auto b = random_matrix<float>(shape.n, 1, 10);
  Ranks there(ranks);
  expect_solved(solve(there, a, b, shape, false), a, b, false);
}

TEST(ChunkedSolve, BetweenPeers) { solve_with_chunks<PeerRanks>(); }
TEST(ChunkedSolve, ThroughNccl) { solve_with_chunks<NcclRanks>(); }

// The planned workspace is at least what cuSOLVER requires.
TEST(Scratch, HoldsCusolversWorkspace) {
  JAXMG_NEEDS_RANKS(PeerRanks, 1);
  JAXMG_CHECK(cudaSetDevice(0));
  cuda::Lanes lanes;
  for (const std::int64_t n : {1, 2, 31, 32, 33, 100, 128, 255, 256, 512, 777, 1024, 2048, 4096, 10000, 16384, 40000}) {
    for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
      dispatch(type, [&]<class T>() {
        int elements = 0;
        JAXMG_CHECK(cuda::potrf_buffer_size(lanes.solver(Lane::panel), static_cast<int>(n), static_cast<T*>(nullptr),
                                            static_cast<int>(n), &elements));
        EXPECT_LE(elements * static_cast<std::int64_t>(sizeof(T)), cusolver_potrf_bytes(n))
            << "n = " << n << ", scalar type " << static_cast<int>(type);
      });
    }
  }
}

TEST(Scratch, HoldsCusolversWorkspaceOfLu) {
  JAXMG_NEEDS_RANKS(PeerRanks, 1);
  JAXMG_CHECK(cudaSetDevice(0));
  cuda::Lanes lanes;
  for (const std::int64_t m : {1, 2, 33, 128, 777, 2048, 4096, 16384, 40000, 65536, 200000}) {
    for (const std::int64_t n : {std::int64_t{1}, std::int64_t{32}, std::int64_t{100}, std::int64_t{512}, m}) {
      if (n > m) continue;
      for (const ScalarType type : {ScalarType::f32, ScalarType::f64, ScalarType::c64, ScalarType::c128}) {
        dispatch(type, [&]<class T>() {
          int elements = 0;
          JAXMG_CHECK(cuda::getrf_buffer_size(lanes.solver(Lane::panel), static_cast<int>(m), static_cast<int>(n),
                                              static_cast<T*>(nullptr), static_cast<int>(m), &elements));
          EXPECT_LE(elements * static_cast<std::int64_t>(sizeof(T)) + Arena::alignment, getrf_scratch_bytes(m, n))
              << m << " x " << n << ", scalar type " << static_cast<int>(type);
        });
      }
    }
  }
}

}  // namespace
}  // namespace jaxmg::testing
