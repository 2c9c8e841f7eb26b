// Solves op(F) X = B with a triangle of a factor in tile columns, for many right-hand sides.
//
// Every rank solves its own columns of B. Block columns of the factor are broadcast, or with a transpose its block
// rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/panel.h"
#include "algorithms/slot_ring.h"
#include "algorithms/triangular/triangle.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct TrsmManyWorkspace {
  std::vector<MatrixView<T>> diagonals;
  std::vector<Panel<T>> panels;           // the other rows of a block column
  std::vector<MatrixView<T>> block_rows;  // the other columns of a block row

  TrsmManyWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots) {
    for (std::int64_t i = 0; i < slots; ++i) {
      diagonals.push_back(arena.matrix<T>(depth, depth));
      Arena same = arena;  // both kinds of sweeps use the same memory
      panels.emplace_back(arena, layout.order(), depth);
      block_rows.push_back(same.matrix<T>(depth, layout.order()));
    }
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class TrsmMany {
 public:
  // `x` holds this rank's columns of B (n x k), and its columns of X after solve().
  TrsmMany(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> factor, MatrixView<T> x,
           TrsmManyWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        a_{layout, factor, engine.rank()},
        x_(x),
        w_(workspace),
        columns_(block_columns(layout, depth)),
        ring_(engine, workspace.panels.size()) {}

  // X_o = op(F_oo)^-1 X_o; then X_s = X_s - op(F)_so X_o for all later s.
  void solve(const TriangularSystem& system);
  // Does nothing, unlike TrsmFew::share(): this rank already has all rows of its columns.
  void share() {}

 private:
  struct Parts {
    Range near, far;
  };

  MatrixView<T> rows(std::int64_t begin, std::int64_t end) const { return x_.block(begin, 0, end - begin, x_.columns); }

  // The rows of X solved after a block column.
  Range later(const TriangularSystem& system, const BlockColumn& column) const {
    return system.ascending() ? Range{column.end, layout_.order()} : Range{0, column.begin};
  }
  // These rows, split into the next block column's rows and all others.
  Parts parts(const TriangularSystem& system, std::size_t i) const {
    const std::size_t count = columns_.size();
    const bool last = i + 1 == count;
    if (system.ascending()) {
      const std::int64_t end = columns_[i].end, near = last ? end : columns_[i + 1].end;
      return {{end, near}, {near, layout_.order()}};
    }
    const std::size_t o = count - 1 - i;
    const std::int64_t near = last ? 0 : columns_[o - 1].begin;
    return {{near, columns_[o].begin}, {0, near}};
  }

  // The triangle of a diagonal block, including complete diagonal tiles.
  void send_diagonal(const TriangularSystem& system, const BlockColumn& column, MatrixView<T> diagonal,
                     std::vector<Block>& blocks) const {
    const bool lower = system.uplo == Uplo::lower;
    for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) {
      const std::int64_t begin = lower ? layout_.begin(t) : column.begin, end = lower ? column.end : layout_.end(t);
      blocks.push_back(make_block(
          layout_.owner(t), all_ranks, a_.tile(t, begin, end),
          diagonal.block(begin - column.begin, layout_.begin(t) - column.begin, end - begin, layout_.width(t))));
    }
  }

  void send_block_column(Range range, const BlockColumn& column, const Panel<T>& panel,
                         std::vector<Block>& blocks) const {
    for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) {
      panel.pieces(range.begin, range.end, layout_.begin(t) - column.begin, layout_.width(t),
                   [&](std::int64_t row, MatrixView<T> to) {
                     blocks.push_back(make_block(layout_.owner(t), all_ranks, a_.tile(t, row, row + to.rows), to));
                   });
    }
  }

  // The block row: the block column's rows in all later columns.
  void send_block_row(const TriangularSystem& system, const BlockColumn& column, MatrixView<T> block_row,
                      std::vector<Block>& blocks) const {
    const std::int64_t first = system.ascending() ? column.last_tile : 0;
    const std::int64_t last = system.ascending() ? layout_.count() : column.first_tile;
    for (std::int64_t t = first; t < last; ++t) {
      blocks.push_back(make_block(layout_.owner(t), all_ranks, a_.tile(t, column.begin, column.end),
                                  block_row.block(0, layout_.begin(t), column.width(), layout_.width(t))));
    }
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  MatrixView<T> x_;
  TrsmManyWorkspace<T>& w_;
  std::vector<BlockColumn> columns_;
  SlotRing<E> ring_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void TrsmMany<T, E>::solve(const TriangularSystem& system) {
  const std::size_t count = columns_.size();
  ring_.restart();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t slot = ring_.slot(i);
    const BlockColumn& column = columns_[system.ascending() ? i : count - 1 - i];
    const auto diagonal = w_.diagonals[slot].block(0, 0, column.width(), column.width());
    ring_.await(Lane::rows, i);
    std::vector<Block> broadcast;
    send_diagonal(system, column, diagonal, broadcast);
    if (system.op == Op::none) {
      send_block_column(later(system, column), column, w_.panels[slot], broadcast);
    } else {
      send_block_row(system, column, w_.block_rows[slot], broadcast);
    }
    e_.exchange(Lane::rows, broadcast);
    e_.wait(Lane::panel, e_.record(Lane::rows));
    const auto solved = rows(column.begin, column.end);
    e_.trsm(Lane::panel, Side::left, system.uplo, system.op, system.diag, diagonal, solved);
    e_.wait(Lane::bulk, e_.record(Lane::panel));
    const auto [near, far] = parts(system, i);
    ring_.update(i, near, far, [&](Lane lane, std::int64_t begin, std::int64_t end) {
      if (system.op == Op::none) {
        w_.panels[slot].pieces(begin, end, 0, column.width(), [&](std::int64_t row, MatrixView<T> f) {
          e_.gemm(lane, Op::none, Op::none, T(-1), f, solved, rows(row, row + f.rows));
        });
      } else {
        e_.gemm(lane, system.op, Op::none, T(-1), w_.block_rows[slot].block(0, begin, column.width(), end - begin),
                solved, rows(begin, end));
      }
    });
  }
  e_.join();
}

}  // namespace jaxmg
