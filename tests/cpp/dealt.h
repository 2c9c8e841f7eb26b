// Matrices cut into shards, before and after they are dealt in TileColumns.
#pragma once

#include <cstdint>
#include <vector>

#include "layout/tile_columns.h"
#include "matrices.h"

namespace jaxmg::testing {

// ceil(n / ranks), as JAX shards.
inline std::int64_t shard_of(std::int64_t n, int ranks) { return (n + ranks - 1) / ranks; }

// The columns of each shard before they are dealt; padding beyond the matrix is NaN, since it must not be read.
template <class T>
std::vector<Matrix<T>> in_blocks(const Matrix<T>& a, const TileColumns& layout) {
  std::vector<Matrix<T>> shards;
  for (int r = 0; r < layout.ranks(); ++r) {
    shards.emplace_back(a.rows(), layout.shard(), not_a_number<T>());
    for (std::int64_t j = 0; j < layout.shard() && r * layout.shard() + j < a.columns(); ++j) {
      for (std::int64_t i = 0; i < a.rows(); ++i) shards.back()(i, j) = a(i, r * layout.shard() + j);
    }
  }
  return shards;
}

// The inverse of `in_blocks`.
template <class T>
Matrix<T> from_blocks(const std::vector<Matrix<T>>& shards, const TileColumns& layout) {
  Matrix<T> a(shards[0].rows(), layout.columns());
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < a.rows(); ++i) {
      a(i, j) = shards[static_cast<std::size_t>(j / layout.shard())](i, j % layout.shard());
    }
  }
  return a;
}

// The columns of each shard after they are dealt.
template <class T>
std::vector<Matrix<T>> dealt(const Matrix<T>& a, const TileColumns& layout) {
  std::vector<Matrix<T>> shards(static_cast<std::size_t>(layout.ranks()),
                                Matrix<T>(a.rows(), layout.shard(), not_a_number<T>()));
  for (std::int64_t t = 0; t < layout.count(); ++t) {
    for (std::int64_t j = 0; j < layout.width(t); ++j) {
      for (std::int64_t i = 0; i < a.rows(); ++i) {
        shards[static_cast<std::size_t>(layout.owner(t))](i, layout.local_offset(t) + j) = a(i, layout.begin(t) + j);
      }
    }
  }
  return shards;
}

// The inverse of `dealt`.
template <class T>
Matrix<T> collected(const std::vector<Matrix<T>>& shards, const TileColumns& layout) {
  Matrix<T> a(shards[0].rows(), layout.columns());
  for (std::int64_t t = 0; t < layout.count(); ++t) {
    for (std::int64_t j = 0; j < layout.width(t); ++j) {
      for (std::int64_t i = 0; i < a.rows(); ++i) {
        a(i, layout.begin(t) + j) = shards[static_cast<std::size_t>(layout.owner(t))](i, layout.local_offset(t) + j);
      }
    }
  }
  return a;
}

}  // namespace jaxmg::testing
