// Properties of the reduction to a band, for any kind of ranks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ostream>
#include <vector>

#include "algorithms/eigen/band_back_transformation.h"
#include "algorithms/eigen/band_reduction.h"
#include "dealt.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "matrices.h"
#include "residuals.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {

struct BandShape {
  std::int64_t n;
  int ranks;
  std::int64_t tile, b, delay, depth;

  TileColumns layout() const { return {n, shard_of(n, ranks), tile, ranks}; }

  friend std::ostream& operator<<(std::ostream& out, const BandShape& s) {
    return out << "n = " << s.n << " on " << s.ranks << " ranks, tile " << s.tile << ", b = " << s.b << ", delay "
               << s.delay << ", depth " << s.depth;
  }
};

// Panels within tiles, across tiles, wider than a shard or than the matrix; updates after one, several or all panels;
// orders that leave a last panel of one, of a few, of all columns.
template <class Ranks>
std::vector<BandShape> band_shapes() {
  std::vector<BandShape> all;
  std::int64_t turn = 0;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const std::int64_t n : {1, 2, 3, 5, 17, 33, 34, 64, 65, 97}) {
      for (const std::int64_t b : {1, 3, 8, 40}) {
        const std::int64_t tile = std::vector<std::int64_t>{b, 2 * b, 5, 100}[static_cast<std::size_t>(turn % 4)];
        all.push_back({n, ranks, tile, b, 1 + turn / 2 % 3, b * (1 + turn % 3)});
        ++turn;
      }
    }
    all.push_back({70, ranks, 8, 8, 100, 800});
  }
  return all;
}

template <class Ranks>
std::vector<BandShape> some_band_shapes() {
  std::vector<BandShape> some;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    some.push_back({61, ranks, 8, 8, 1, 16});
    some.push_back({50, ranks, 7, 6, 2, 18});
  }
  return some;
}

template <class T>
struct BandOf {
  std::vector<Matrix<T>> bands;  // as a band, on each rank
  Matrix<T> q;                   // explicit

  // B as a full matrix.
  Matrix<T> full(std::int64_t b) const {
    const Matrix<T>& band = bands[0];
    Matrix<T> whole(band.columns(), band.columns());
    for (std::int64_t j = 0; j < band.columns(); ++j) {
      for (std::int64_t i = j; i <= std::min(j + b, band.columns() - 1); ++i) whole(i, j) = band(i - j, j);
    }
    return mirrored(whole);
  }
};

template <class T, class Ranks>
BandOf<T> band_of(Ranks& ranks, const Matrix<T>& a, const BandShape& s) {
  using Engine = typename Ranks::Engine;
  const TileColumns layout = s.layout();
  Arena reduce, transform;
  BandReductionWorkspace<T>(reduce, layout, s.b, s.delay);
  BandBackTransformationWorkspace<T>(transform, layout, s.b, s.depth, layout.shard());
  auto shards = ranks.template matrix<T>(s.n, layout.shard());
  auto factors = ranks.template matrix<T>(s.b, s.n);
  auto band = ranks.template matrix<T>(2 * s.b, s.n);
  auto z = ranks.template matrix<T>(s.n, layout.shard());
  auto workspace = ranks.template matrix<std::byte>(std::max(reduce.used(), transform.used()), 1);
  upload(shards, dealt(a, layout));
  upload(z, columns_for_each(identity<T>(s.n), s.ranks));
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    {
      Arena arena = arena_over(workspace.view(rank));
      BandReductionWorkspace<T> w(arena, layout, s.b, s.delay);
      BandReduction<T, Engine>(engine, layout, s.b, s.delay, shards.view(rank), factors.view(rank), band.view(rank), w)
          .run();
    }
    Arena arena = arena_over(workspace.view(rank));
    BandBackTransformationWorkspace<T> w(arena, layout, s.b, s.depth, layout.shard());
    BandBackTransformation<T, Engine>(engine, layout, s.b, s.depth, shards.view(rank), factors.view(rank), z.view(rank),
                                      w)
        .run();
  });
  return {download(band, s.ranks), side_by_side(download(z, s.ranks), s.n)};
}

// ||A - Q B Q^H|| / (n eps ||A||).
template <class T>
double similarity_error(const Matrix<T>& a, const Matrix<T>& q, const Matrix<T>& b) {
  const auto wide = widened(q);
  Matrix<Wide<T>> qb(a.rows(), a.rows());
  gemm<Wide<T>>(1.0, wide, Op::none, widened(b), qb);
  auto error = widened(a);
  gemm<Wide<T>>(-1.0, qb, Op::conj_transpose, wide, error);
  return frobenius(error) / (n_eps<T>(a.rows()) * std::max(frobenius(a), std::numeric_limits<double>::min()));
}

// ||Q Q^H - I|| / (n eps): Q may be wide or square.
template <class T>
double orthogonality_error(const Matrix<T>& q) {
  const auto wide = widened(q);
  auto error = identity<Wide<T>>(q.rows());
  gemm<Wide<T>>(-1.0, wide, Op::conj_transpose, wide, error);
  return frobenius(error) / n_eps<T>(q.rows());
}

template <class Parameter>
class BandReductionTest : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  // A product of m block reflectors has an error of a small multiple of m b eps (Higham, Accuracy and Stability of
  // Numerical Algorithms, 2nd ed., section 19.5), here c n eps.
  static void check(const Matrix<T>& a, const BandShape& shape) {
    Ranks ranks(shape.ranks);
    const auto found = band_of(ranks, a, shape);
    for (const auto& band : found.bands) EXPECT_EQ(band, found.bands[0]) << "ranks differ";
    for (std::int64_t j = 0; j < shape.n; ++j) {
      for (std::int64_t i = 0; i < 2 * shape.b; ++i) {
        if (i > shape.b || i + j >= shape.n) {
          EXPECT_EQ(found.bands[0](i, j), T(0)) << "outside of the band";
        }
      }
    }
    EXPECT_LE(similarity_error(a, found.q, found.full(shape.b)), 10);
    EXPECT_LE(orthogonality_error(found.q), 10);
  }
};

TYPED_TEST_SUITE_P(BandReductionTest);

TYPED_TEST_P(BandReductionTest, IsASimilarityTransformation) {
  using T = typename TypeParam::Scalar;
  for (const BandShape& shape : band_shapes<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(shape);
    this->check(random_hermitian<T>(shape.n, 1), shape);
  }
}

TYPED_TEST_P(BandReductionTest, IsASimilarityTransformationForHardMatrices) {
  using T = typename TypeParam::Scalar;
  for (const BandShape& shape : some_band_shapes<typename TypeParam::Ranks>()) {
    for (const auto& [name, a] : hard_matrices<T>(shape.n)) {
      SCOPED_TRACE(::testing::Message() << name << ", " << shape);
      this->check(a, shape);
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(BandReductionTest, IsASimilarityTransformation, IsASimilarityTransformationForHardMatrices);

}  // namespace jaxmg::testing
