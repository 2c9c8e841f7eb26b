// Products of square matrices in tile columns.
//
//   C = C + alpha X^H Y    the lower triangle: block column X_o is broadcast, and every rank computes own columns of
//                          C[o, :], up to the diagonal block, from own columns of Y
//   C = C + alpha A B      block column A_o is broadcast, and every rank adds A_o B[o, own] to its own columns of C
//
// Nothing but panels of the left operand moves, and all products are wide GEMMs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/panel.h"
#include "algorithms/slot_ring.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct ProductsWorkspace {
  std::vector<Panel<T>> panels;  // of the left operand

  ProductsWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots) {
    if (layout.ranks() == 1) return;
    for (std::int64_t i = 0; i < slots; ++i) panels.emplace_back(arena, layout.order(), depth);
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class Products {
 public:
  Products(E& engine, const TileColumns& layout, std::int64_t depth, ProductsWorkspace<T>& workspace)
      : e_(engine), layout_(layout), w_(workspace), columns_(parts_of(layout, depth)) {}

  // C = C + alpha X^H Y in the lower triangle and in all of the diagonal blocks.
  void adjoint_product(T alpha, MatrixView<T> x, MatrixView<T> y, MatrixView<T> c);
  // C = C + alpha A B. The columns of B and C may be distributed in any way, alike.
  void product(T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c);

 private:
  // A single rank has one tile, which is cut to save half of a lower triangle.
  static std::vector<BlockColumn> parts_of(const TileColumns& layout, std::int64_t depth) {
    if (layout.ranks() > 1) return block_columns(layout, depth);
    const std::int64_t n = layout.order(), width = std::min<std::int64_t>(n, 512);
    return block_columns(TileColumns(n, n, width, 1), width);
  }

  // Calls multiply(block column, row, piece) for the pieces of each block column of A, in lane `bulk`.
  template <class Multiply>
  void broadcast(MatrixView<T> a, Multiply&& multiply) {
    const TiledShard<T> own{layout_, a, e_.rank()};
    SlotRing<E> ring(e_, w_.panels.size());
    for (std::size_t o = 0; o < columns_.size(); ++o) {
      const BlockColumn& column = columns_[o];
      if (e_.size() == 1) {
        multiply(column, 0, own.columns.block(0, column.begin, layout_.order(), column.width()));
        continue;
      }
      const Panel<T>& panel = w_.panels[ring.slot(o)];
      ring.await(Lane::rows, o);
      std::vector<Block> blocks;
      for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) {
        panel.pieces(0, layout_.order(), layout_.begin(t) - column.begin, layout_.width(t),
                     [&](std::int64_t row, MatrixView<T> to) {
                       blocks.push_back(make_block(layout_.owner(t), all_ranks, own.tile(t, row, row + to.rows), to));
                     });
      }
      e_.exchange(Lane::rows, blocks);
      e_.wait(Lane::bulk, e_.record(Lane::rows));
      panel.pieces(0, layout_.order(), 0, column.width(),
                   [&](std::int64_t row, MatrixView<T> piece) { multiply(column, row, piece); });
      ring.used(Lane::bulk, o);
    }
    e_.join();
  }

  E& e_;
  const TileColumns& layout_;
  ProductsWorkspace<T>& w_;
  std::vector<BlockColumn> columns_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void Products<T, E>::adjoint_product(T alpha, MatrixView<T> x, MatrixView<T> y, MatrixView<T> c) {
  const TiledShard<T> right{layout_, y, e_.rank()}, result{layout_, c, e_.rank()};
  broadcast(x, [&](const BlockColumn& column, std::int64_t row, MatrixView<T> left) {
    for (const Span& span : layout_.spans_of_columns(e_.rank(), 0, column.end)) {
      e_.gemm(Lane::bulk, Op::conj_transpose, Op::none, alpha, left, right.span(span, row, row + left.rows),
              result.span(span, column.begin, column.end));
    }
  });
}

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void Products<T, E>::product(T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
  broadcast(a, [&](const BlockColumn& column, std::int64_t row, MatrixView<T> left) {
    e_.gemm(Lane::bulk, Op::none, Op::none, alpha, left, b.block(column.begin, 0, column.width(), b.columns),
            c.block(row, 0, left.rows, c.columns));
  });
}

}  // namespace jaxmg
