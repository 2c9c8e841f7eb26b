// Properties of products with a Hermitian matrix, for any engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "algorithms/cholesky/hemm.h"
#include "algorithms/instances.h"
#include "core/arena.h"
#include "core/larger.h"
#include "gtest/gtest.h"
#include "layout/tile_columns.h"
#include "matrices.h"
#include "shapes.h"
#include "solves.h"
#include "typed.h"

namespace jaxmg::testing {

template <class Parameter>
class HemmProperties : public ::testing::Test {};

TYPED_TEST_SUITE_P(HemmProperties);

// The sum over the ranks is A X: |Y - A X| <= 2 n eps |A| |X|, element by element. Nothing above the diagonal is read.
TYPED_TEST_P(HemmProperties, PartsOfAllRanksAddUpToTheProduct) {
  using T = typename TypeParam::Scalar;
  std::vector<Shape> all = shapes<typename TypeParam::Ranks>();
  // Several strips and chunks of kernels for one vector.
  for (const int ranks : {1, 2}) {
    if (TypeParam::Ranks::available(ranks)) all.push_back({700, ranks, 64, 64, 1});
  }
  for (const Shape& shape : all) {
    for (const std::int64_t count : {1, 3}) {
      if (shape.n > 500 && count > 1) continue;
      SCOPED_TRACE(::testing::Message() << shape << ", " << count << " vectors");
      const TileColumns layout = shape.layout();
      const std::int64_t n = shape.n, shard = layout.shard();
      Matrix<T> full = random_matrix<T>(n, n, 1), stored = full;
      for (std::int64_t j = 0; j < n; ++j) {
        for (std::int64_t i = 0; i < j; ++i) {
          full(i, j) = conjugate(full(j, i));
          stored(i, j) = not_a_number<T>();
        }
        full(j, j) = std::real(full(j, j));
      }
      const Matrix<T> x = random_matrix<T>(n, count, 2);
      typename TypeParam::Ranks ranks(shape.ranks);
      auto shards = ranks.template matrix<T>(n, shard);
      auto vectors = ranks.template matrix<T>(n, count), parts = ranks.template matrix<T>(n, count);
      Arena measure;
      HemmWorkspace<T>(measure, layout, 1, 1);
      auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
      for (int r = 0; r < shape.ranks; ++r) {
        Matrix<T> own(n, shard, not_a_number<T>());
        for (std::int64_t j = 0; j < shard && r * shard + j < n; ++j) {
          std::copy_n(&stored(0, r * shard + j), n, &own(0, j));
        }
        shards.upload(r, own);
        vectors.upload(r, x);
      }
      ranks.run([&](auto& engine) {
        const int r = engine.rank();
        Arena arena = arena_over(workspace.view(r));
        HemmWorkspace<T> w(arena, layout, 1, 1);
        Hemm<T, std::decay_t<decltype(engine)>>(engine, layout, shards.view(r), w).run(vectors.view(r), parts.view(r));
      });
      Matrix<T> sum(n, count);
      for (int r = 0; r < shape.ranks; ++r) {
        const Matrix<T> part = parts.download(r);
        for (std::int64_t j = 0; j < count; ++j) {
          for (std::int64_t i = 0; i < n; ++i) sum(i, j) += part(i, j);
        }
      }
      double worst = 0;
      for (std::int64_t j = 0; j < count; ++j) {
        for (std::int64_t i = 0; i < n; ++i) {
          T difference = -sum(i, j);
          double size = 0;
          for (std::int64_t k = 0; k < n; ++k) {
            difference += full(i, k) * x(k, j);
            size += std::abs(full(i, k) * x(k, j));
          }
          worst = larger_or_nan(worst, static_cast<double>(std::abs(difference)) / size);
        }
      }
      EXPECT_LE(worst, 4 * static_cast<double>(n) * std::numeric_limits<Real<T>>::epsilon());
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(HemmProperties, PartsOfAllRanksAddUpToTheProduct);

}  // namespace jaxmg::testing
