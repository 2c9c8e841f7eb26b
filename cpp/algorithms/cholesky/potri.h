// Inverse A^-1 = L^-H L^-1, in place of the factor that Potrf leaves in tile columns.
//
//   Y = L^-H         bottom up, into the upper triangle: L_oo^H Y_o = I_o, then Y_above = Y_above - L_o,above^H Y_o
//   A^-1 = Y Y^H     into the lower triangle, summed over the block columns of Y
//
// Both are GEMMs on every rank's own columns. The block rows of L are broadcast to the first, the block columns of Y to
// the second, and no rank waits for results of another rank in between. Y solves L^H Y = I by substitution with L
// itself. One sweep that factors, inverts and multiplies as it goes (Gauss-Jordan) looks faster, but loses digits in
// proportion to the condition of A (Du Croz and Higham, "Stability of methods for matrix inversion", IMA J. Numer.
// Anal. 12, 1992, compare the methods; on a kernel matrix of condition 1e12 the residual was 2.5e-13 to 1e-10 instead
// of 2.5e-17).
//
// The lower triangle of the result is A^-1, including whole diagonal tiles; Y remains above them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/cholesky/factor_blocks.h"
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
struct PotriWorkspace {
  MatrixView<T> diagonal_tiles;           // own diagonal tiles of Y, at the columns of the shard
  std::vector<MatrixView<T>> diagonals;   // L_oo, lower triangle
  std::vector<MatrixView<T>> block_rows;  // L_o,above
  std::vector<MatrixView<T>> solved;      // Y_o in own columns
  std::vector<Panel<T>> panels;           // a block column of Y

  PotriWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots) {
    diagonal_tiles = arena.matrix<T>(layout.tile(), layout.shard());
    Arena product = arena;  // the two stages share the memory
    for (std::int64_t i = 0; i < slots; ++i) {
      diagonals.push_back(arena.matrix<T>(depth, depth));
      block_rows.push_back(arena.matrix<T>(depth, layout.order()));
      solved.push_back(arena.matrix<T>(depth, layout.shard()));
      panels.emplace_back(product, layout.order(), depth);
    }
    if (product.used() > arena.used()) arena = product;
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class Potri {
 public:
  Potri(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, PotriWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        a_{layout, a, engine.rank()},
        w_(workspace),
        columns_(block_columns(layout, depth)),
        ring_(engine, workspace.panels.size()) {}

  void run();

 private:
  // Y = L^-H. The rows of a block column of L are needed once, and therefore rows of Y overwrite them in place.
  void invert_factor() {
    const std::size_t count = columns_.size();
    ring_.restart();
    for (const BlockColumn& column : columns_) {
      a_.each_own(column.first_tile, column.last_tile,
                  [&](std::int64_t t) { e_.zero(Lane::bulk, a_.tile(t, 0, column.begin)); });
    }
    e_.join();
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t o = count - 1 - i, slot = ring_.slot(i);
      const BlockColumn& column = columns_[o];
      const auto diagonal = w_.diagonals[slot].block(0, 0, column.width(), column.width());
      const auto block_row = w_.block_rows[slot].block(0, 0, column.width(), column.begin);
      const auto own = layout_.spans(e_.rank(), column.first_tile, layout_.count());
      const auto solved = [&](const Span& span) {
        return w_.solved[slot].block(0, span.begin, column.width(), span.width);
      };
      ring_.await(Lane::rows, i);
      std::vector<Block> broadcast;
      send_diagonal(a_, column, diagonal, broadcast);
      send_block_row(a_, column, block_row, broadcast);
      e_.exchange(Lane::rows, broadcast);
      a_.each_own(column.first_tile, column.last_tile, [&](std::int64_t t) {
        e_.zero(Lane::rows, a_.tile(t, column.begin, column.end));
        e_.identity(Lane::rows, a_.diagonal(t));
      });

      e_.wait(Lane::panel, e_.record(Lane::rows));
      for (const Span& span : own) {
        const auto y = a_.span(span, column.begin, column.end);
        e_.trsm(Lane::panel, Side::left, Uplo::lower, Op::conj_transpose, Diag::non_unit, diagonal, y);
        // GEMMs read a matrix of short columns faster than one of long ones.
        e_.copy(Lane::panel, y, solved(span));
      }
      e_.wait(Lane::bulk, e_.record(Lane::panel));
      const std::int64_t near = o > 0 ? columns_[o - 1].begin : 0;
      ring_.update(i, {near, column.begin}, {0, near}, [&](Lane lane, std::int64_t begin, std::int64_t end) {
        for (const Span& span : own) {
          e_.gemm(lane, Op::conj_transpose, Op::none, T(-1), block_row.block(0, begin, column.width(), end - begin),
                  solved(span), a_.span(span, begin, end));
        }
      });
    }
    e_.join();
  }

  // A^-1 = sum over block columns o of Y_:,o Y_:,o^H, in own columns from their diagonal down. This overwrites only the
  // diagonal tiles of Y, which are copied first.
  void multiply() {
    const std::size_t count = columns_.size();
    ring_.restart();
    a_.each_own(0, layout_.count(), [&](std::int64_t t) {
      const std::int64_t width = layout_.width(t);
      e_.copy(Lane::bulk, a_.diagonal(t), w_.diagonal_tiles.block(0, layout_.local_offset(t), width, width));
      e_.zero(Lane::bulk, a_.tile(t, layout_.begin(t), layout_.order()));
    });
    e_.join();
    for (std::size_t i = 0; i < count; ++i) {
      const BlockColumn& column = columns_[count - 1 - i];
      const Panel<T>& panel = w_.panels[ring_.slot(i)];
      ring_.await(Lane::rows, i);
      gather_column(column, panel);
      e_.wait(Lane::bulk, e_.record(Lane::rows));
      a_.each_own(0, column.last_tile, [&](std::int64_t t) {
        panel.pieces(layout_.begin(t), layout_.end(t), 0, column.width(), [&](std::int64_t first, MatrixView<T> right) {
          const std::int64_t at = layout_.local_offset(t) + first - layout_.begin(t);
          panel.pieces(layout_.begin(t), column.end, 0, column.width(), [&](std::int64_t row, MatrixView<T> left) {
            e_.gemm(Lane::bulk, Op::none, Op::conj_transpose, T(1), left, right,
                    a_.columns.block(row, at, left.rows, right.rows));
          });
        });
      });
      ring_.used(Lane::bulk, i);
    }
    e_.join();
  }

  // A block column of Y on every rank: rows above the diagonal tiles from the matrix, the diagonal tiles from their
  // copies, zeros below.
  void gather_column(const BlockColumn& column, const Panel<T>& panel) {
    panel.pieces(column.begin, column.end, 0, column.width(),
                 [&](std::int64_t, MatrixView<T> square) { e_.zero(Lane::rows, square); });
    std::vector<Block> broadcast;
    for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) {
      const std::int64_t at = layout_.begin(t) - column.begin, width = layout_.width(t);
      const auto send = [&](std::int64_t begin, std::int64_t end, auto&& from) {
        panel.pieces(begin, end, at, width, [&](std::int64_t row, MatrixView<T> to) {
          broadcast.push_back(make_block(layout_.owner(t), all_ranks, from(row, to.rows), to));
        });
      };
      send(0, layout_.begin(t), [&](std::int64_t row, std::int64_t rows) { return a_.tile(t, row, row + rows); });
      send(layout_.begin(t), layout_.end(t), [&](std::int64_t row, std::int64_t rows) {
        return w_.diagonal_tiles.block(row - layout_.begin(t), layout_.local_offset(t), rows, width);
      });
    }
    e_.exchange(Lane::rows, broadcast);
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  PotriWorkspace<T>& w_;
  std::vector<BlockColumn> columns_;
  SlotRing<E> ring_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void Potri<T, E>::run() {
  invert_factor();
  multiply();
}

}  // namespace jaxmg
