// Block reflectors of a QR factorisation in tile columns: H_t = I - V_t T_t V_t^H of tile column t, broadcast to all
// ranks and applied to any columns.
//
// A stores V_t below its diagonal, with an implicit unit diagonal, as LAPACK does. T_t, which is upper triangular, is
// stored by the owner of the tile, at the columns of the tile in its shard.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algorithms/panel.h"
#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

// The number of reflectors, and of tile columns that have any.
inline std::int64_t reflectors(const TileColumns& layout) { return std::min(layout.rows(), layout.columns()); }
inline std::int64_t reflector_tiles(const TileColumns& layout) {
  std::int64_t tiles = 0;
  while (tiles < layout.count() && layout.begin(tiles) < layout.rows()) ++tiles;
  return tiles;
}

// A broadcast reflector.
template <class T>
struct BlockReflector {
  Panel<T> v;  // from the diagonal down
  MatrixView<T> t;

  BlockReflector(Arena& arena, std::int64_t rows, std::int64_t width)
      : v(arena, rows, width), t(arena.matrix<T>(width, width)) {}
};

// V^H B, and the same times T or T^H.
template <class T>
struct ReflectedProducts {
  MatrixView<T> plain, multiplied;

  ReflectedProducts() = default;
  ReflectedProducts(Arena& arena, std::int64_t width, std::int64_t columns)
      : plain(arena.matrix<T>(width, columns)), multiplied(arena.matrix<T>(width, columns)) {}

  ReflectedProducts block(std::int64_t column, std::int64_t rows, std::int64_t columns) const {
    ReflectedProducts part;
    part.plain = plain.block(0, column, rows, columns);
    part.multiplied = multiplied.block(0, column, rows, columns);
    return part;
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class ReflectorTiles {
 public:
  ReflectorTiles(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<T> factors)
      : e_(engine), layout_(layout), a_{layout, a, engine.rank()}, factors_(factors) {}

  std::int64_t begin(std::int64_t t) const { return layout_.begin(t); }
  // The number of reflectors of tile t: fewer than its columns where the rows of the matrix end.
  std::int64_t width(std::int64_t t) const { return std::min(layout_.width(t), layout_.rows() - layout_.begin(t)); }
  MatrixView<T> factor(std::int64_t t) const { return factors_.block(0, layout_.local_offset(t), width(t), width(t)); }
  // Columns of the reflectors of tile t, from the diagonal down.
  MatrixView<T> vectors(std::int64_t t) const {
    return a_.columns.block(begin(t), layout_.local_offset(t), layout_.rows() - begin(t), width(t));
  }

  // Broadcasts V_t, with its unit diagonal, and T_t.
  void broadcast(Lane lane, std::int64_t t, const BlockReflector<T>& to) const {
    std::vector<Block> blocks;
    const auto v = vectors(t);
    to.v.pieces(0, v.rows, 0, v.columns, [&](std::int64_t row, MatrixView<T> piece) {
      blocks.push_back(make_block(layout_.owner(t), all_ranks, v.block(row, 0, piece.rows, piece.columns), piece));
    });
    blocks.push_back(make_block(layout_.owner(t), all_ranks, factor(t), to.t.block(0, 0, width(t), width(t))));
    e_.exchange(lane, blocks);
    unit_top(lane, t, to);
  }

  // Copies them on the owner of tile t.
  void take(Lane lane, std::int64_t t, const BlockReflector<T>& to) const {
    const auto v = vectors(t);
    to.v.pieces(0, v.rows, 0, v.columns, [&](std::int64_t row, MatrixView<T> piece) {
      e_.copy(lane, v.block(row, 0, piece.rows, piece.columns), piece);
    });
    e_.copy(lane, factor(t), to.t.block(0, 0, width(t), width(t)));
    unit_top(lane, t, to);
  }

  // B = H B, or H^H B by Op::conj_transpose, for the reflector of tile t. `b` has the rows from begin(t) on, and
  // `products` as many columns as B.
  void apply(Lane lane, Op op, std::int64_t t, const BlockReflector<T>& h, const ReflectedProducts<T>& products,
             MatrixView<T> b) const {
    const std::int64_t count = width(t);
    if (b.empty() || count == 0) return;
    h.v.pieces(0, b.rows, 0, count, [&](std::int64_t row, MatrixView<T> v) {
      const auto rows = b.block(row, 0, v.rows, b.columns);
      if (row == 0) {
        e_.product(lane, Op::conj_transpose, Op::none, T(1), v, rows, products.plain);
      } else {
        e_.gemm(lane, Op::conj_transpose, Op::none, T(1), v, rows, products.plain);
      }
    });
    e_.product(lane, op, Op::none, T(1), h.t.block(0, 0, count, count), products.plain, products.multiplied);
    h.v.pieces(0, b.rows, 0, count, [&](std::int64_t row, MatrixView<T> v) {
      e_.gemm(lane, Op::none, Op::none, T(-1), v, products.multiplied, b.block(row, 0, v.rows, b.columns));
    });
  }

 private:
  // The first chunk holds the square top.
  void unit_top(Lane lane, std::int64_t t, const BlockReflector<T>& to) const {
    to.v.pieces(0, width(t), 0, width(t), [&](std::int64_t, MatrixView<T> top) { e_.unit_lower(lane, top); });
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  MatrixView<T> factors_;
};

}  // namespace jaxmg
