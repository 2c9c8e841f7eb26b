// Solves L L^H X = B with the factor that Potrf leaves in tile columns, for many right-hand sides.
//
// Every rank solves its own columns of B. Panels of the factor (forward sweep) and its block rows (backward sweep) are
// broadcast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/cholesky/factor_blocks.h"
#include "algorithms/cholesky/panel.h"
#include "algorithms/slot_ring.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct PotrsManyWorkspace {
  std::vector<MatrixView<T>> diagonals;
  std::vector<Panel<T>> panels;           // forward: rows below the block column
  std::vector<MatrixView<T>> block_rows;  // backward: columns before it

  PotrsManyWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots) {
    for (std::int64_t i = 0; i < slots; ++i) {
      diagonals.push_back(arena.matrix<T>(depth, depth));
      Arena same = arena;  // the two sweeps share the memory
      panels.emplace_back(arena, layout.order(), depth);
      block_rows.push_back(same.matrix<T>(depth, layout.order()));
    }
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class PotrsMany {
 public:
  // `x` holds this rank's columns of B (n x k), and its columns of X on return.
  PotrsMany(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MatrixView<T> x,
            PotrsManyWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        a_{layout, a, engine.rank()},
        x_(x),
        w_(workspace),
        columns_(block_columns(layout, depth)),
        ring_(engine, workspace.panels.size()) {}

  void run();

  // L Y = B, Y in place of B.  X_o = L_oo^-1 X_o; X_below = X_below - L_below,o X_o.
  void forward() {
    ring_.restart();
    for (std::size_t o = 0; o < columns_.size(); ++o) {
      const BlockColumn& column = columns_[o];
      const Panel<T>& panel = w_.panels[ring_.slot(o)];
      const auto diagonal = w_.diagonals[ring_.slot(o)].block(0, 0, column.width(), column.width());
      ring_.await(Lane::rows, o);
      std::vector<Block> broadcast;
      send_diagonal(a_, column, diagonal, broadcast);
      for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) {
        panel.pieces(column.end, layout_.order(), layout_.begin(t) - column.begin, layout_.width(t),
                     [&](std::int64_t row, MatrixView<T> to) {
                       broadcast.push_back(make_block(layout_.owner(t), all_ranks, a_.tile(t, row, row + to.rows), to));
                     });
      }
      e_.exchange(Lane::rows, broadcast);
      const auto solved = solve(Op::none, diagonal, column);
      const std::int64_t near = o + 1 < columns_.size() ? columns_[o + 1].end : column.end;
      ring_.update(o, {column.end, near}, {near, layout_.order()},
                   [&](Lane lane, std::int64_t begin, std::int64_t end) {
                     panel.pieces(begin, end, 0, column.width(), [&](std::int64_t row, MatrixView<T> l) {
                       e_.gemm(lane, Op::none, Op::none, T(-1), l, solved, rows(row, row + l.rows));
                     });
                   });
    }
    e_.join();
  }

  // L^H X = Y.  X_o = L_oo^-H X_o; X_above = X_above - L_o,above^H X_o.
  void backward() {
    const std::size_t count = columns_.size();
    ring_.restart();
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t o = count - 1 - i;
      const BlockColumn& column = columns_[o];
      const auto diagonal = w_.diagonals[ring_.slot(i)].block(0, 0, column.width(), column.width());
      const auto block_row = w_.block_rows[ring_.slot(i)].block(0, 0, column.width(), column.begin);
      ring_.await(Lane::rows, i);
      std::vector<Block> broadcast;
      send_diagonal(a_, column, diagonal, broadcast);
      send_block_row(a_, column, block_row, broadcast);
      e_.exchange(Lane::rows, broadcast);
      const auto solved = solve(Op::conj_transpose, diagonal, column);
      const std::int64_t near = o > 0 ? columns_[o - 1].begin : 0;
      ring_.update(i, {near, column.begin}, {0, near}, [&](Lane lane, std::int64_t begin, std::int64_t end) {
        e_.gemm(lane, Op::conj_transpose, Op::none, T(-1), block_row.block(0, begin, column.width(), end - begin),
                solved, rows(begin, end));
      });
    }
    e_.join();
  }

 private:
  MatrixView<T> rows(std::int64_t begin, std::int64_t end) const { return x_.block(begin, 0, end - begin, x_.columns); }

  // Solves with the diagonal block once it has arrived. Updates in either lane may use the result.
  MatrixView<T> solve(Op op, MatrixView<T> diagonal, const BlockColumn& column) {
    const auto x = rows(column.begin, column.end);
    e_.wait(Lane::panel, e_.record(Lane::rows));
    e_.trsm(Lane::panel, Side::left, Uplo::lower, op, Diag::non_unit, diagonal, x);
    e_.wait(Lane::bulk, e_.record(Lane::panel));
    return x;
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  MatrixView<T> x_;
  PotrsManyWorkspace<T>& w_;
  std::vector<BlockColumn> columns_;
  SlotRing<E> ring_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void PotrsMany<T, E>::run() {
  forward();
  backward();
}

}  // namespace jaxmg
