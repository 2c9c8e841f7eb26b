// Schedules of algorithms: in any order that a device may choose, the result is bitwise the host engine's, and no two
// accesses to the same memory race.
#include <cmath>
#include <complex>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "eigenproblems.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "lu_solves.h"
#include "matrices.h"
#include "qr_factors.h"
#include "random_order_engine.h"
#include "ranks.h"
#include "singular_values.h"
#include "solves.h"

namespace jaxmg::testing {
namespace {

// Random orders of each shape (races are found in any order), and numbers of slots. Under sanitizers, which look for
// other faults than wrong orders, a part of them.
#ifdef JAXMG_FEW_SCALARS
constexpr std::uint64_t orders = 1;
constexpr std::int64_t slot_counts[] = {2};
#else
constexpr std::uint64_t orders = 2;
constexpr std::int64_t slot_counts[] = {1, 2, 3};
#endif

std::vector<Shape> schedules() {
  std::vector<Shape> all;
  for (const std::int64_t slots : slot_counts) {
    for (const int ranks : {2, 3, 4}) {
      all.push_back({41, ranks, 3, 3, slots});    // ragged tiles, one a block column
      all.push_back({41, ranks, 3, 7, slots});    // two tiles a block column, or a full and a ragged one
      all.push_back({36, ranks, 2, 6, slots});    // whole block columns
      all.push_back({25, ranks, 64, 64, slots});  // nothing but ragged tiles
      all.push_back({10, ranks, 1, 1, slots});
    }
    all.push_back({26, 8, 1, 3, slots});  // a rank without columns
  }
  return all;
}

// Calls check(shape, seed) for several orders of every shape.
template <class Check>
void for_orders(Check&& check) {
  for (const Shape& shape : schedules()) {
    for (std::uint64_t seed = 0; seed < orders; ++seed) {
      SCOPED_TRACE(::testing::Message() << shape << ", seed " << seed);
      ASSERT_NO_THROW(check(shape, seed));
      if (::testing::Test::HasFailure()) return;
    }
  }
}

template <class T>
void expect_potrf_in_any_order() {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const Matrix<T> a = lower_only(positive_definite<T>(shape.n, 1));
    HostRanks host(shape.ranks);
    RandomOrderRanks chance(shape.ranks, seed);
    const Matrix<T> b = random_matrix<T>(shape.n, static_cast<std::int64_t>(seed), 2);  // none in the first order
    const Factorization<T> expected = factor(host, a, shape, b), found = factor(chance, a, shape, b);
    EXPECT_EQ(found.info, 0);
    EXPECT_EQ(found.l, expected.l);
    EXPECT_EQ(found.y, expected.y);
  });
}

TEST(Schedule, PotrfReal) { expect_potrf_in_any_order<double>(); }
TEST(Schedule, PotrfComplex) { expect_potrf_in_any_order<std::complex<float>>(); }

TEST(Schedule, PotrfFindsTheSameFailingMinor) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const std::int64_t minor = 1 + (13 * shape.ranks + 7 * shape.slots + 5 * static_cast<int>(seed)) % shape.n;
    RandomOrderRanks chance(shape.ranks, seed);
    EXPECT_EQ(factor(chance, indefinite_from<double>(shape.n, minor, 2), shape).info, minor);
  });
}

TEST(Schedule, PotrsFew) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const auto l = lower_only(positive_definite<double>(shape.n, 3));  // any lower triangle with a safe diagonal
    const auto b = random_matrix<double>(shape.n, 1 + static_cast<std::int64_t>(seed % 2), 4);
    HostRanks host(shape.ranks);
    RandomOrderRanks chance(shape.ranks, seed);
    EXPECT_EQ(solve_few(chance, l, b, shape), solve_few(host, l, b, shape));
  });
}

TEST(Schedule, PotrsMany) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const auto l = lower_only(positive_definite<double>(shape.n, 5));
    const auto b = random_matrix<double>(shape.n, 7, 6);
    HostRanks host(shape.ranks);
    RandomOrderRanks chance(shape.ranks, seed);
    EXPECT_EQ(solve_many(chance, l, b, shape), solve_many(host, l, b, shape));
  });
}

// potrf, and the routines that read its factor.
TEST(Schedule, RoutinesOnAFactor) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const auto a = positive_definite<double>(shape.n, 10);
    HostRanks host(shape.ranks), host_inverse(shape.ranks), host_rows(shape.ranks), host_diagonal(shape.ranks);
    RandomOrderRanks chance(shape.ranks, seed), inverse(shape.ranks, seed), rows(shape.ranks, seed),
        diagonal(shape.ranks, seed);
    const auto factor = make_factor(host, a, shape).shards;
    EXPECT_EQ(collected(make_factor(chance, a, shape).shards, shape.layout()), collected(factor, shape.layout()));
    EXPECT_EQ(from_blocks(invert(inverse, factor, shape), shape.layout()),
              from_blocks(invert(host_inverse, factor, shape), shape.layout()));
    EXPECT_EQ(from_blocks(rows_of_factor(rows, factor, shape), shape.layout()),
              from_blocks(rows_of_factor(host_rows, factor, shape), shape.layout()));
    EXPECT_EQ(diagonal_of_factor(diagonal, factor, shape), diagonal_of_factor(host_diagonal, factor, shape));
  });
}

template <class T>
void expect_getrf_in_any_order() {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const auto m = random_matrix<T>(shape.n, shape.n, 12);
    HostRanks host(shape.ranks);
    RandomOrderRanks chance(shape.ranks, seed);
    const std::int64_t leaf = seed % 2 == 0 ? shape.n : 2;
    const auto expected = factor_lu(host, m, shape, leaf), found = factor_lu(chance, m, shape, leaf);
    EXPECT_EQ(found.lu, expected.lu);
    EXPECT_EQ(found.pivots, expected.pivots);
    EXPECT_EQ(found.info, 0);
  });
}

TEST(Schedule, GetrfReal) { expect_getrf_in_any_order<double>(); }
TEST(Schedule, GetrfComplex) { expect_getrf_in_any_order<std::complex<float>>(); }

// The errors are bounded as in tests/cpp/cuda/getrf_test.cc and potrf_test.cc, for real and for complex numbers.
template <class T>
void expect_factors_of_lower_precision_in_any_order() {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    if (seed > 0) return;  // two orders are enough
    const auto a = kernel<T>(shape.n, 10, 1);
    const auto m = random_matrix<T>(shape.n, shape.n, 12);
    for (const Arithmetic arithmetic : {Arithmetic::tf32, Arithmetic::fp16x2}) {
      SCOPED_TRACE(arithmetic == Arithmetic::tf32 ? "TF32" : "two FP16 numbers");
      const double u = arithmetic == Arithmetic::tf32 ? 0x1p-11 : 0x1p-22;
      const double root = static_cast<double>(reals_of<T>) * std::sqrt(static_cast<double>(shape.n));
      RandomOrderRanks first(shape.ranks, seed), second(shape.ranks, seed + 1000);
      const auto l = factor(first, a, shape, {}, arithmetic).l;
      EXPECT_EQ(factor(second, a, shape, {}, arithmetic).l, l);
      EXPECT_LE(factor_error(a, l) * n_eps<T>(shape.n), 2 * u * root);
      RandomOrderRanks third(shape.ranks, seed), fourth(shape.ranks, seed + 1000);
      const auto found = factor_lu(third, m, shape, 2, arithmetic), again = factor_lu(fourth, m, shape, 2, arithmetic);
      EXPECT_EQ(found.lu, again.lu);
      EXPECT_EQ(found.pivots, again.pivots);
      EXPECT_LE(lu_error(m, found) * n_eps<T>(shape.n), 2 * u * root);
    }
  });
}

TEST(Schedule, FactorsOfLowerPrecisionReal) { expect_factors_of_lower_precision_in_any_order<float>(); }
TEST(Schedule, FactorsOfLowerPrecisionComplex) {
  expect_factors_of_lower_precision_in_any_order<std::complex<float>>();
}

TEST(Schedule, Getrs) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const auto factor = lapack_lu(random_matrix<double>(shape.n, shape.n, 13));
    for (const Trans trans : {Trans::none, Trans::transpose, Trans::conj_transpose}) {
      for (const bool distributed : {false, true}) {
        const auto b = random_matrix<double>(shape.n, distributed ? 7 : 1 + static_cast<std::int64_t>(seed % 2), 14);
        HostRanks host(shape.ranks);
        RandomOrderRanks chance(shape.ranks, seed);
        EXPECT_EQ(solve_lu(chance, factor, b, shape, trans, distributed),
                  solve_lu(host, factor, b, shape, trans, distributed));
      }
    }
  });
}

// getrf, and the routines that read its factor; gesv.
TEST(Schedule, RoutinesOfLu) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const auto a = random_matrix<double>(shape.n, shape.n, 15), b = random_matrix<double>(shape.n, 5, 16);
    const auto ranks = [&] { return RandomOrderRanks(shape.ranks, seed); };
    const auto host = [&] { return HostRanks(shape.ranks); };
    auto factoring = ranks(), inverting = ranks();
    auto host_factoring = host(), host_inverting = host();
    const auto factor = getrf(host_factoring, a, shape), found = getrf(factoring, a, shape);
    EXPECT_EQ(collected(found.shards, shape.layout()), collected(factor.shards, shape.layout()));
    EXPECT_EQ(found.pivots, factor.pivots);
    EXPECT_EQ(found.info, factor.info);
    EXPECT_EQ(getri(inverting, factor, shape), getri(host_inverting, factor, shape));
    for (const bool distributed : {false, true}) {
      auto solving = ranks(), with_factor = ranks();
      auto host_solving = host(), host_with_factor = host();
      EXPECT_EQ(gesv(solving, a, b, shape, distributed).x, gesv(host_solving, a, b, shape, distributed).x);
      EXPECT_EQ(getrs(with_factor, factor, b, shape, Trans::transpose, distributed),
                getrs(host_with_factor, factor, b, shape, Trans::transpose, distributed));
    }
  });
}

// geqrf, and the routines that read its factor.
TEST(Schedule, RoutinesOfQr) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const std::int64_t rows = shape.n - 7 + static_cast<std::int64_t>(7 * (seed % 3));  // wide, square or tall
    const QrShape qr{std::max<std::int64_t>(1, rows), shape.n, shape.ranks, shape.tile, shape.slots};
    const auto a = random_matrix<double>(qr.m, qr.n, 17);
    const auto b = random_matrix<double>(qr.m, 5, 18), c = random_matrix<double>(qr.n, 5, 19);
    const auto chance = [&] { return RandomOrderRanks(shape.ranks, seed); };
    const auto host = [&] { return HostRanks(shape.ranks); };
    auto host_factoring = host();
    auto factoring = chance();
    const auto call = qr_call<routines::Geqrf, double>(qr);
    const auto factor = geqrf(host_factoring, a, qr, call, call.bytes());
    const auto found = geqrf(factoring, a, qr, call, call.bytes());
    EXPECT_EQ(collected(found.vectors, qr.layout()), collected(factor.vectors, qr.layout()));
    EXPECT_EQ(found.factors, factor.factors);
    EXPECT_EQ(found.info, factor.info);
    EXPECT_EQ(upper(chance(), factor, qr), upper(host(), factor, qr));
    EXPECT_EQ(orgqr(chance(), factor, qr), orgqr(host(), factor, qr));
    for (const bool distributed : {false, true}) {
      for (const bool adjoint : {false, true}) {
        EXPECT_EQ(ormqr(chance(), factor, b, qr, adjoint, distributed),
                  ormqr(host(), factor, b, qr, adjoint, distributed));
        if (qr.m < qr.n) continue;
        EXPECT_EQ(rtrs(chance(), factor, c, qr, adjoint, distributed),
                  rtrs(host(), factor, c, qr, adjoint, distributed));
      }
    }
  });
}

// By Gram matrices, and by reflectors: of a matrix of rank 1.
TEST(Schedule, Tsqr) {
  for (const int ranks : {1, 2, 3, 4}) {
    for (std::uint64_t seed = 0; seed < 2 * orders; ++seed) {
      SCOPED_TRACE(::testing::Message() << ranks << " ranks, seed " << seed);
      for (const auto& a : {random_matrix<double>(47, 6, 20), Matrix<double>(47, 6, 1)}) {
        const auto found = tsqr(RandomOrderRanks(ranks, seed), a, 2, 5), known = tsqr(HostRanks(ranks), a, 2, 5);
        EXPECT_EQ(found.q, known.q);
        EXPECT_EQ(found.r, known.r);
      }
    }
  }
}

// By a Gram matrix of rounded products, and by reflectors.
TEST(Schedule, TallLeastSquares) {
  const auto w = random_matrix<float>(47, 2, 21), v = random_matrix<float>(6, 2, 22);
  for (const int ranks : {1, 2, 3}) {
    for (std::uint64_t seed = 0; seed < orders; ++seed) {
      SCOPED_TRACE(::testing::Message() << ranks << " ranks, seed " << seed);
      const auto a = random_matrix<float>(47, 6, 20);
      const auto found = tall_least_squares(RandomOrderRanks(ranks, seed), a, w, v, 2, 5);
      for (const int kept : found.kept) EXPECT_TRUE(kept);
      EXPECT_LE(augmented_error(a, w, v, found.rest, found.x[0]), 30);
      const Matrix<float> ones(47, 6, 1);
      const auto other = tall_least_squares(RandomOrderRanks(ranks, seed), ones, w, v, 2, 5);
      const auto known = tall_least_squares(HostRanks(ranks), ones, w, v, 2, 5);
      EXPECT_FALSE(other.kept[0]);
      EXPECT_EQ(other.factor.q, known.factor.q);
      EXPECT_EQ(other.factor.r, known.factor.r);
    }
  }
}

TEST(Schedule, Getsls) {
  const auto w = random_matrix<float>(47, 2, 21);
  for (const int ranks : {1, 2, 3}) {
    for (std::uint64_t seed = 0; seed < orders; ++seed) {
      SCOPED_TRACE(::testing::Message() << ranks << " ranks, seed " << seed);
      for (const auto& a : {random_matrix<float>(47, 6, 20), of_condition<float>(47, 6, 1e5)}) {
        const auto found = solve_tall(RandomOrderRanks(ranks, seed), a, w, 2, 5);
        EXPECT_LE(least_squares_error(a, w, found.x[0], found.squares[0]), 30);
      }
    }
  }
}

TEST(Schedule, Redistribute) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const TileColumns layout(shape.layout().shard() * shape.ranks, shape.layout().shard(), shape.tile, shape.ranks);
    const auto a = random_matrix<double>(5, layout.order(), 7);
    for (const std::int64_t staging : {1, 3}) {
      RandomOrderRanks there(shape.ranks, seed), back(shape.ranks, seed + orders);
      EXPECT_EQ(deal(there, in_blocks(a, layout), layout, staging, false), dealt(a, layout));
      EXPECT_EQ(deal(back, dealt(a, layout), layout, staging, true), in_blocks(a, layout));
    }
  });
}

TEST(Schedule, Solve) {
  for_orders([](const Shape& shape, std::uint64_t seed) {
    const auto a = lower_only(positive_definite<double>(shape.n, 8));
    for (const bool distributed_rhs : {false, true}) {
      const auto b = random_matrix<double>(shape.n, distributed_rhs ? 5 : 2, 9);
      HostRanks host(shape.ranks);
      RandomOrderRanks chance(shape.ranks, seed);
      const auto expected = solve(host, a, b, shape, distributed_rhs);
      const auto found = solve(chance, a, b, shape, distributed_rhs);
      EXPECT_EQ(found.info, expected.info);
      EXPECT_EQ(found.x, expected.x);
    }
  });
}

// Hosts wait for their engines, which wait for other ranks. Bounds choose eigenvectors during the call.
template <class T>
void expect_syevd_in_any_order() {
  std::uint64_t seed = 0;
  for (const int ranks : {1, 2, 3}) {
    // Panels equal to tiles, across tiles, and wider than tiles; and one rank that works for all.
    for (const auto& [n, tile, b, solo] :
         {std::tuple{41, 4, 4, false}, {38, 5, 4, false}, {35, 3, 8, false}, {23, 4, 4, true}}) {
      EigenShape shape = eigen_shape(n, ranks, tile, b, seed % 2 == 0 ? 1 : 2);
      shape.solo = solo;
      const auto a = random_hermitian<T>(n, 11);
      SCOPED_TRACE(::testing::Message() << shape << ", seed " << seed);
      HostRanks host(ranks), host_values(ranks), host_some(ranks);
      RandomOrderRanks chance(ranks, seed), values(ranks, seed), some(ranks, seed);
      const auto rows = EigenvectorForm::adjoint_rows;
      const auto expected = eigen(host, a, shape, {0, n}, rows);
      const std::vector<Real<T>> bounds{expected.w[0](5, 0), expected.w[0](14, 0)};
      const auto compare = [](const Eigen<T>& found, const Eigen<T>& known) {
        EXPECT_EQ(found.status, known.status);
        EXPECT_EQ(found.w, known.w);
        EXPECT_EQ(found.z, known.z);
      };
      ASSERT_NO_THROW({
        compare(eigen(chance, a, shape, {0, n}, rows), expected);
        compare(eigen(values, a, shape, false), eigen(host_values, a, shape, false));
        compare(eigen(some, a, shape, {0, 7}, EigenvectorForm::columns, bounds),
                eigen(host_some, a, shape, {0, 7}, EigenvectorForm::columns, bounds));
      });
      ++seed;
    }
  }
}

TEST(Schedule, SyevdReal) { expect_syevd_in_any_order<double>(); }
TEST(Schedule, SyevdComplex) { expect_syevd_in_any_order<std::complex<float>>(); }

// The engine itself must find missing waits, races and deadlocks.

// Hosts decide when iterations stop. The matrices take the path by the Gram matrix, and the polar iteration with noise.
template <class T>
void expect_svd_in_any_order() {
  std::uint64_t seed = 0;
  for (const int ranks : {1, 2, 3}) {
    for (const bool singular : {false, true}) {
      for (const bool vectors : {true, false}) {
        const std::int64_t n = 17, tile = ranks == 1 ? n : 4;
        SCOPED_TRACE(::testing::Message() << ranks << " ranks, singular " << singular << ", vectors " << vectors);
        auto m = random_matrix<T>(n, n, 11);
        for (std::int64_t i = 0; singular && i < n; ++i) m(i, 3) = m(i, 5);
        const auto call = gesvd_call<T>(n, ranks, tile, 4, vectors);
        HostRanks host(ranks), host_again(ranks);
        RandomOrderRanks chance(ranks, ++seed), chance_again(ranks, ++seed);
        const auto expected = decompose(host, m, call, call.bytes()), found = decompose(chance, m, call, call.bytes());
        EXPECT_EQ(found.status, expected.status);
        EXPECT_EQ(found.s, expected.s);
        EXPECT_EQ(found.u, expected.u);
        EXPECT_EQ(found.v, expected.v);
        const auto of_polar = polar_call<T>(n, ranks, tile, vectors, true);
        const auto known = polar_factors(host_again, m, of_polar, of_polar.bytes());
        const auto polar = polar_factors(chance_again, m, of_polar, of_polar.bytes());
        EXPECT_EQ(polar.u, known.u);
        EXPECT_EQ(polar.h, known.h);
      }
    }
  }
}

TEST(Schedule, SvdReal) { expect_svd_in_any_order<double>(); }
TEST(Schedule, SvdComplex) { expect_svd_in_any_order<std::complex<float>>(); }

TEST(RandomOrder, FindsAReadThatDoesNotWait) {
  RandomOrderRanks ranks(1, 0);
  auto a = ranks.matrix<double>(2, 2), b = ranks.matrix<double>(2, 2);
  const auto body = [&](bool waits) {
    return [&, waits](RandomOrderEngine& e) {
      e.zero(Lane::panel, a.view(0));
      if (waits) e.wait(Lane::bulk, e.record(Lane::panel));
      e.copy(Lane::bulk, a.view(0), b.view(0));
    };
  };
  EXPECT_THROW(ranks.run(body(false)), Race);
  EXPECT_NO_THROW(ranks.run(body(true)));
  EXPECT_EQ(b.download(0), Matrix<double>(2, 2));
}

TEST(RandomOrder, FindsAWriteThatDoesNotWaitForReaders) {
  RandomOrderRanks ranks(1, 0);
  auto a = ranks.matrix<float>(3, 1), b = ranks.matrix<float>(3, 1);
  const auto body = [&](bool waits) {
    return [&, waits](RandomOrderEngine& e) {
      e.zero(Lane::panel, a.view(0));
      e.join();
      e.copy(Lane::bulk, a.view(0), b.view(0));
      if (waits) e.wait(Lane::panel, e.record(Lane::bulk));
      e.zero(Lane::panel, a.view(0));
    };
  };
  EXPECT_THROW(ranks.run(body(false)), Race);
  EXPECT_NO_THROW(ranks.run(body(true)));
}

TEST(RandomOrder, NeighboursDoNotRace) {
  RandomOrderRanks ranks(1, 0);
  auto a = ranks.matrix<float>(4, 4);
  EXPECT_NO_THROW(ranks.run([&](RandomOrderEngine& e) {
    e.zero(Lane::panel, a.view(0).block(0, 0, 2, 4));
    e.zero(Lane::bulk, a.view(0).block(2, 0, 2, 4));
  }));
}

// A rank that has received a block is ordered after its source, and after no other rank.
TEST(RandomOrder, AnExchangeOrdersTargetsAfterSources) {
  RandomOrderRanks ranks(3, 0);
  auto a = ranks.matrix<double>(1, 3);
  EXPECT_NO_THROW(ranks.run([&](RandomOrderEngine& e) {
    const auto own = a.view(e.rank());
    *own.data = e.rank();
    e.exchange(Lane::panel, {make_block(0, 1, own.block(0, 0, 1, 1), own.block(0, 1, 1, 1))});
    e.exchange(Lane::panel, {make_block(1, 2, own.block(0, 1, 1, 1), own.block(0, 2, 1, 1))});
  }));
  EXPECT_EQ(a.download(2)(0, 2), 0.0);
}

TEST(RandomOrder, FindsABlockSentBeforeItIsReady) {
  RandomOrderRanks ranks(2, 0);
  auto a = ranks.matrix<double>(1, 2);
  EXPECT_THROW(ranks.run([&](RandomOrderEngine& e) {
    const auto own = a.view(e.rank());
    e.zero(Lane::bulk, own);
    e.exchange(Lane::panel, {make_block(0, 1, own.block(0, 0, 1, 1), own.block(0, 1, 1, 1))});
  }),
               Race);
}

TEST(RandomOrder, FindsBlocksThatOverwriteEachOther) {
  RandomOrderRanks ranks(2, 0);
  auto a = ranks.matrix<double>(1, 3);
  EXPECT_THROW(ranks.run([&](RandomOrderEngine& e) {
    const auto own = a.view(e.rank());
    e.exchange(Lane::panel, {make_block(0, 1, own.block(0, 0, 1, 1), own.block(0, 1, 1, 1)),
                             make_block(1, 0, own.block(0, 1, 1, 1), own.block(0, 2, 1, 1))});
  }),
               Race);
}

// All lanes of a rank are ordered after the data that its host has fetched.
TEST(RandomOrder, AFetchOrdersTheLanesOfItsRank) {
  RandomOrderRanks ranks(2, 0);
  auto a = ranks.matrix<double>(1, 2), b = ranks.matrix<double>(1, 1);
  const auto body = [&](bool fetches) {
    return [&, fetches](RandomOrderEngine& e) {
      const auto own = a.view(e.rank());
      const double sent = 3;
      double received = 0;
      e.store(Lane::panel, &sent, 1, own.data);
      e.exchange(Lane::panel, {make_block(0, 1, own.block(0, 0, 1, 1), own.block(0, 1, 1, 1))});
      if (fetches) {
        e.fetch(Lane::panel, own.at(0, e.rank()), 1, &received);
        EXPECT_EQ(received, 3);
      }
      e.copy(Lane::bulk, own.block(0, 1, 1, 1), b.view(e.rank()));
    };
  };
  EXPECT_NO_THROW(ranks.run(body(true)));
  EXPECT_EQ(b.download(1)(0, 0), 3);
  EXPECT_THROW(ranks.run(body(false)), Race);
}

TEST(RandomOrder, FindsAStoreBehindAnExchange) {
  RandomOrderRanks ranks(2, 0);
  auto a = ranks.matrix<double>(1, 2);
  EXPECT_THROW(ranks.run([&](RandomOrderEngine& e) {
    const auto own = a.view(e.rank());
    const double sent = 3;
    e.exchange(Lane::panel, {make_block(0, 1, own.block(0, 0, 1, 1), own.block(0, 1, 1, 1))});
    e.store(Lane::panel, &sent, 1, own.data);
  }),
               std::logic_error);
}

TEST(RandomOrder, FindsExchangesThatWaitForEachOther) {
  RandomOrderRanks ranks(2, 0);
  auto a = ranks.matrix<double>(1, 2);
  EXPECT_THROW(ranks.run([&](RandomOrderEngine& e) {
    const auto own = a.view(e.rank());
    const std::vector<Block> blocks{make_block(0, 1, own.block(0, 0, 1, 1), own.block(0, 1, 1, 1))};
    const Lane first = e.rank() == 0 ? Lane::panel : Lane::bulk, second = e.rank() == 0 ? Lane::bulk : Lane::panel;
    e.exchange(first, blocks);
    e.wait(second, e.record(first));
    e.exchange(second, blocks);
  }),
               Stuck);
}

TEST(RandomOrder, FindsRanksThatDisagreeAboutAnExchange) {
  RandomOrderRanks ranks(2, 0);
  auto a = ranks.matrix<double>(2, 2);
  EXPECT_THROW(ranks.run([&](RandomOrderEngine& e) {
    const auto own = a.view(e.rank());
    e.exchange(Lane::panel, {make_block(0, 1, own.block(e.rank(), 0, 1, 1), own.block(0, 1, 1, 1))});
  }),
               std::logic_error);
}

}  // namespace
}  // namespace jaxmg::testing
