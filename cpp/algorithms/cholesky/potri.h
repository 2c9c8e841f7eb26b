// The inverse A^-1 = L^-H L^-1 from the factor that Potrf leaves in tile columns, in place.
//
//   Y = L^-H         bottom up, into the upper triangle: L_oo^H Y_o = I_o, then Y_above = Y_above - L_o,above^H Y_o
//   A^-1 = Y Y^H     into the lower triangle, added up over the columns of Y
//
// Both are GEMMs on every rank's own columns: the first is sent the block rows of L, the second the columns of Y, and
// no rank waits for what another computes in between. Y solves L^H Y = I by substitution with L itself. What looks
// faster, one sweep that factors, inverts and multiplies as it goes (Gauss-Jordan), loses digits in proportion to the
// condition of A (Du Croz and Higham, "Stability of methods for matrix inversion", IMA J. Numer. Anal. 12, 1992, tell
// the methods apart; on a kernel matrix of condition 1e12 the residual was 2.5e-13 to 1e-10 instead of 2.5e-17).
//
// The lower triangle of the result is A^-1, the diagonal tiles whole; above them Y remains.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/cholesky/factor_blocks.h"
#include "algorithms/cholesky/panel.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct PotriWorkspace {
  MatrixView<T> diagonal_tiles;           // of Y, own ones, where their columns lie
  std::vector<MatrixView<T>> diagonals;   // L_oo, lower triangle
  std::vector<MatrixView<T>> block_rows;  // L_o,above
  std::vector<MatrixView<T>> solved;      // Y_o in own columns
  std::vector<Panel<T>> panels;           // a pivot's columns of Y

  PotriWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots) {
    diagonal_tiles = arena.matrix<T>(layout.tile(), layout.shard());
    Arena product = arena;  // the two stages use the same memory in turn
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
  requires Engine<E, T>
class Potri {
 public:
  Potri(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, PotriWorkspace<T>& workspace)
      : e_(engine), layout_(layout), a_(a), w_(workspace), block_columns_(block_columns(layout, depth)) {}

  void run() {
    invert_factor();
    multiply();
  }

 private:
  using Event = typename E::Event;
  struct Step {
    Event near_done, far_done;
  };

  std::size_t slot(std::size_t i) const { return i % w_.panels.size(); }
  MatrixView<T> in_place(std::int64_t t, std::int64_t begin, std::int64_t end) const {
    return a_.block(begin, layout_.local_offset(t), end - begin, layout_.width(t));
  }
  MatrixView<T> diagonal_tile(std::int64_t t) const { return in_place(t, layout_.begin(t), layout_.end(t)); }
  template <class Visit>
  void own_tiles(std::int64_t first, std::int64_t last, Visit&& visit) {
    for (std::int64_t t = first; t < last; ++t) {
      if (layout_.owner(t) == e_.rank()) visit(t);
    }
  }

  // Before transfer number i overwrites its slot, what the last one brought there must have been used.
  void free_slot(std::size_t i) {
    if (i < w_.panels.size()) return;
    e_.wait(Lane::rows, steps_[i - w_.panels.size()].near_done);
    e_.wait(Lane::rows, steps_[i - w_.panels.size()].far_done);
  }

  // Y = L^-H. A pivot's rows of L are needed once, so in the pivot's own columns those of Y take their place.
  void invert_factor() {
    const std::size_t count = block_columns_.size();
    steps_.assign(count, {});
    for (const BlockColumn& block : block_columns_) {
      own_tiles(block.first_tile, block.last_tile,
                [&](std::int64_t t) { e_.zero(Lane::bulk, in_place(t, 0, block.begin)); });
    }
    e_.join();
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t o = count - 1 - i;
      const BlockColumn& block = block_columns_[o];
      const auto diagonal = w_.diagonals[slot(i)].block(0, 0, block.width(), block.width());
      const auto block_row = w_.block_rows[slot(i)].block(0, 0, block.width(), block.begin);
      const auto own = layout_.spans(e_.rank(), block.first_tile, layout_.count());
      free_slot(i);
      std::vector<Block> blocks;
      send_diagonal(layout_, block, a_, diagonal, blocks);
      send_block_row(layout_, block, a_, block_row, blocks);
      e_.exchange(Lane::rows, blocks);
      own_tiles(block.first_tile, block.last_tile, [&](std::int64_t t) {
        e_.zero(Lane::rows, in_place(t, block.begin, block.end));
        e_.identity(Lane::rows, diagonal_tile(t));
      });

      e_.wait(Lane::panel, e_.record(Lane::rows));
      for (const Span& columns : own) {
        const auto y = a_.block(block.begin, columns.begin, block.width(), columns.width);
        e_.trsm(Lane::panel, Side::left, Op::conj_transpose, diagonal, y);
        // GEMMs read a matrix of short columns faster than one of long ones.
        e_.copy(Lane::panel, y, solved(i, columns));
      }
      e_.wait(Lane::bulk, e_.record(Lane::panel));
      const auto update = [&](Lane lane, std::int64_t begin, std::int64_t end) {
        for (const Span& columns : own) {
          e_.gemm(lane, Op::conj_transpose, Op::none, T(-1), block_row.block(0, begin, block.width(), end - begin),
                  solved(i, columns), a_.block(begin, columns.begin, end - begin, columns.width));
        }
      };
      const std::int64_t near = o > 0 ? block_columns_[o - 1].begin : 0;
      if (i > 0) e_.wait(Lane::panel, steps_[i - 1].far_done);
      update(Lane::panel, near, block.begin);
      steps_[i].near_done = e_.record(Lane::panel);
      update(Lane::bulk, 0, near);
      steps_[i].far_done = e_.record(Lane::bulk);
    }
    e_.join();
  }
  MatrixView<T> solved(std::size_t i, const Span& columns) const {
    const std::int64_t rows = block_columns_[block_columns_.size() - 1 - i].width();
    return w_.solved[slot(i)].block(0, columns.begin, rows, columns.width);
  }

  // A^-1 = sum over pivots o of Y_:,o Y_:,o^H, in own columns from their diagonal down. It takes the place of nothing
  // of Y but the diagonal tiles, which are kept aside.
  void multiply() {
    const std::size_t count = block_columns_.size();
    steps_.assign(count, {});
    own_tiles(0, layout_.count(), [&](std::int64_t t) {
      const std::int64_t width = layout_.width(t);
      e_.copy(Lane::bulk, diagonal_tile(t), w_.diagonal_tiles.block(0, layout_.local_offset(t), width, width));
      e_.zero(Lane::bulk, in_place(t, layout_.begin(t), layout_.order()));
    });
    e_.join();
    for (std::size_t i = 0; i < count; ++i) {
      const BlockColumn& block = block_columns_[count - 1 - i];
      const Panel<T>& panel = w_.panels[slot(i)];
      free_slot(i);
      panel.pieces(block.begin, block.end, 0, block.width(),
                   [&](std::int64_t, MatrixView<T> square) { e_.zero(Lane::rows, square); });
      std::vector<Block> blocks;
      for (std::int64_t t = block.first_tile; t < block.last_tile; ++t) {
        const std::int64_t at = layout_.begin(t) - block.begin, width = layout_.width(t);
        const auto send = [&](std::int64_t begin, std::int64_t end, auto&& from) {
          panel.pieces(begin, end, at, width, [&](std::int64_t row, MatrixView<T> to) {
            blocks.push_back(make_block(layout_.owner(t), all_ranks, from(row, to.rows), to));
          });
        };
        send(0, layout_.begin(t), [&](std::int64_t row, std::int64_t rows) { return in_place(t, row, row + rows); });
        send(layout_.begin(t), layout_.end(t), [&](std::int64_t row, std::int64_t rows) {
          return w_.diagonal_tiles.block(row - layout_.begin(t), layout_.local_offset(t), rows, width);
        });
      }
      e_.exchange(Lane::rows, blocks);
      e_.wait(Lane::bulk, e_.record(Lane::rows));
      own_tiles(0, block.last_tile, [&](std::int64_t t) {
        panel.pieces(layout_.begin(t), layout_.end(t), 0, block.width(), [&](std::int64_t column, MatrixView<T> right) {
          const std::int64_t at = layout_.local_offset(t) + column - layout_.begin(t);
          panel.pieces(layout_.begin(t), block.end, 0, block.width(), [&](std::int64_t row, MatrixView<T> left) {
            e_.gemm(Lane::bulk, Op::none, Op::conj_transpose, T(1), left, right,
                    a_.block(row, at, left.rows, right.rows));
          });
        });
      });
      steps_[i].near_done = steps_[i].far_done = e_.record(Lane::bulk);
    }
    e_.join();
  }

  E& e_;
  const TileColumns& layout_;
  MatrixView<T> a_;
  PotriWorkspace<T>& w_;
  std::vector<BlockColumn> block_columns_;
  std::vector<Step> steps_;
};

}  // namespace jaxmg
