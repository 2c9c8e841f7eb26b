// This rank's part of Y = A X for a Hermitian matrix, of which its columns hold the lower triangle.
//
// A block of columns contributes, from below the diagonal, twice:
//
//   Y_o     = Y_o + A_oo X_o + A_below,o^H X_below
//   Y_below = Y_below + A_below,o X_o
//
// The columns lie as they are given, not dealt: their sum over the ranks is A X, and no rank waits for another.
// Products with several vectors read the triangle twice; an engine may have an operation for one vector that reads it
// once (engine/hermitian_product_ops.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/hermitian_product_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct HemmWorkspace {
  MatrixView<T> square;  // a diagonal block, both triangles
  HermitianProductWorkspace<T> sums;

  HemmWorkspace(Arena& arena, const TileColumns& layout, std::int64_t, std::int64_t)
      : square(arena.matrix<T>(layout.tile(), layout.tile())), sums(arena, layout.order(), layout.shard()) {}
};

template <class T, class E>
  requires BlasOps<E, T>
class Hemm {
 public:
  Hemm(E& engine, const TileColumns& layout, MatrixView<T> a, HemmWorkspace<T>& workspace)
      : e_(engine), layout_(layout), a_(a), w_(workspace) {}

  // Requires all of X on every rank.
  void run(MatrixView<T> x, MatrixView<T> y);

 private:
  E& e_;
  const TileColumns& layout_;
  MatrixView<T> a_;
  HemmWorkspace<T>& w_;
};

template <class T, class E>
  requires BlasOps<E, T>
void Hemm<T, E>::run(MatrixView<T> x, MatrixView<T> y) {
  const std::int64_t n = layout_.order(), first = e_.rank() * layout_.shard();
  const std::int64_t own = std::clamp<std::int64_t>(n - first, 0, layout_.shard());
  const auto rows = [&](MatrixView<T> m, std::int64_t begin, std::int64_t end) {
    return m.block(begin, 0, end - begin, m.columns);
  };
  if constexpr (HermitianProductOps<E, T>) {
    if (x.columns == 1) {
      e_.hermitian_product(Lane::panel, first, a_.block(0, 0, n, own), x, y, w_.sums);
      e_.join();
      return;
    }
  }
  e_.zero(Lane::panel, y);
  for (std::int64_t column = 0; column < own; column += layout_.tile()) {
    const std::int64_t width = std::min(layout_.tile(), own - column);
    const std::int64_t begin = first + column, end = begin + width;
    const auto square = w_.square.block(0, 0, width, width);
    const auto below = a_.block(end, column, n - end, width);
    e_.copy(Lane::panel, a_.block(begin, column, width, width), square);
    e_.mirror(Lane::panel, square);
    e_.gemm(Lane::panel, Op::none, Op::none, T(1), square, rows(x, begin, end), rows(y, begin, end));
    e_.gemm(Lane::panel, Op::conj_transpose, Op::none, T(1), below, rows(x, end, n), rows(y, begin, end));
    e_.gemm(Lane::panel, Op::none, Op::none, T(1), below, rows(x, begin, end), rows(y, end, n));
  }
  e_.join();
}

}  // namespace jaxmg
