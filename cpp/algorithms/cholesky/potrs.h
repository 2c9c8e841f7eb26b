// Solves L L^H X = B with the factor that Potrf leaves in tile columns.
//
// Few right-hand sides: every rank holds all of B; the factor stays where it is. One chain step a tile: its
// owner solves with the diagonal tile, and the sums the later tiles need are formed where the factor is. In the
// forward sweep (L Y = B, by columns) partial sums travel to the owner of the next tile, in the backward sweep
// (L^H X = Y, by dot products with columns) the solved piece of X travels to all.
//
// Many right-hand sides: every rank solves its own columns of B; panels of the factor (forward) and its block
// rows (backward) travel to all.
#pragma once

#include <algorithm>
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
struct PotrsFewWorkspace {
  MatrixView<T> sums;      // forward: what own columns owe to each row; backward: sums for own columns
  MatrixView<T> received;  // tile rows from each rank, side by side

  PotrsFewWorkspace(Arena& arena, const TileColumns& layout, std::int64_t nrhs) {
    if (layout.ranks() == 1) return;
    const std::int64_t tile = std::min(layout.tile(), layout.order());
    sums = arena.matrix<T>(std::max(layout.order(), layout.shard()), nrhs);
    received = arena.matrix<T>(tile, nrhs * layout.ranks());
  }
};

template <class T, class E>
  requires Engine<E, T>
class PotrsFew {
 public:
  // `x` holds B (n x nrhs) on every rank, and X on return.
  PotrsFew(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<T> x, PotrsFewWorkspace<T>& workspace)
      : e_(engine), layout_(layout), a_(a), x_(x), w_(workspace) {}

  void run() {
    forward();
    backward();
  }

  // L Y = B: X holds B, then, in the rows of own tiles, Y.
  void forward() {
    if (e_.size() == 1) {
      e_.trsm(Lane::panel, Side::left, Op::none, whole_factor(), x_);
    } else {
      forward_chain();
    }
    e_.join();
  }

  // Every rank gets the rows of all tiles from their owners.
  void share() {
    std::vector<Block> rows;
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      rows.push_back(make_block(layout_.owner(t), all_ranks, rows_of(x_, t), rows_of(x_, t)));
    }
    if (e_.size() > 1) e_.exchange(Lane::panel, rows);
    e_.join();
  }

  // L^H X = Y, from all of Y or from the rows of own tiles.
  void backward() {
    if (e_.size() == 1) {
      e_.trsm(Lane::panel, Side::left, Op::conj_transpose, whole_factor(), x_);
    } else {
      backward_chain();
    }
    e_.join();
  }

 private:
  using Event = typename E::Event;

  MatrixView<T> whole_factor() const { return a_.block(0, 0, layout_.order(), layout_.order()); }
  MatrixView<T> rows_of(MatrixView<T> m, std::int64_t t) const {
    return m.block(layout_.begin(t), 0, layout_.width(t), m.columns);
  }
  MatrixView<T> diagonal_tile(std::int64_t t) const {
    return a_.block(layout_.begin(t), layout_.local_offset(t), layout_.width(t), layout_.width(t));
  }
  // Tiles that a chain step updates itself, before all others: a turn of the owners.
  std::int64_t near_end(std::int64_t t) const { return std::min(layout_.count(), t + 1 + e_.size()); }

  // Y_t = L_tt^-1 (B_t - sum over s < t of L_ts Y_s); the owner of s holds L_ts and adds up what it owes to t.
  void forward_chain() {
    const std::int64_t nrhs = x_.columns;
    const auto sums = w_.sums.block(0, 0, layout_.order(), nrhs);
    e_.zero(Lane::panel, sums);
    Event far_done{};  // of the last own tile, and whether the panel's lane has yet to wait for it
    bool far_pending = false;
    std::int64_t last_own = -1;
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      // Far updates by the last own tile reach rows of tiles from near_end on.
      if (far_pending && t >= near_end(last_own)) {
        e_.wait(Lane::panel, far_done);
        far_pending = false;
      }
      const int owner = layout_.owner(t);
      std::vector<Block> blocks;
      const auto slot = [&](int r) { return w_.received.block(0, r * nrhs, layout_.width(t), nrhs); };
      for (int r = 0; r < e_.size() && t > 0; ++r) {
        if (r != owner) blocks.push_back(make_block(r, owner, rows_of(sums, t), slot(r)));
      }
      e_.exchange(Lane::panel, blocks);
      if (e_.rank() != owner) continue;
      std::vector<MatrixView<T>> terms;
      for (int r = 0; r < e_.size(); ++r) terms.push_back(r == owner ? rows_of(sums, t) : slot(r));
      if (t > 0) e_.subtract(Lane::panel, terms, rows_of(x_, t));
      e_.trsm(Lane::panel, Side::left, Op::none, diagonal_tile(t), rows_of(x_, t));
      if (far_pending) e_.wait(Lane::panel, far_done);
      const auto owe = [&](Lane lane, std::int64_t begin, std::int64_t end) {
        e_.gemm(lane, Op::none, Op::none, T(1), a_.block(begin, layout_.local_offset(t), end - begin, layout_.width(t)),
                rows_of(x_, t), sums.block(begin, 0, end - begin, nrhs));
      };
      const std::int64_t near = layout_.end(near_end(t) - 1);
      const Event solved = e_.record(Lane::panel);
      owe(Lane::panel, layout_.end(t), near);
      e_.wait(Lane::bulk, solved);
      if (near < layout_.order()) owe(Lane::bulk, near, layout_.order());
      far_done = e_.record(Lane::bulk);
      far_pending = true;
      last_own = t;
    }
  }

  // X_t = L_tt^-H (Y_t - sum over s > t of L_st^H X_s); the owner of t holds all L_st and is sent each X_s.
  void backward_chain() {
    const std::int64_t nrhs = x_.columns;
    const auto sums = w_.sums.block(0, 0, layout_.shard(), nrhs);  // rows are own columns in local order
    e_.zero(Lane::panel, sums);
    Event far_done{};
    const Event zeroed = e_.record(Lane::panel);
    e_.wait(Lane::bulk, zeroed);
    const std::int64_t last = layout_.count() - 1;
    for (std::int64_t t = last; t >= 0; --t) {
      const int owner = layout_.owner(t);
      if (e_.rank() == owner) {
        const auto own_sums = sums.block(layout_.local_offset(t), 0, layout_.width(t), nrhs);
        e_.subtract(Lane::panel, std::vector{own_sums}, rows_of(x_, t));
        e_.trsm(Lane::panel, Side::left, Op::conj_transpose, diagonal_tile(t), rows_of(x_, t));
      }
      e_.exchange(Lane::panel, {make_block(owner, all_ranks, rows_of(x_, t), rows_of(x_, t))});
      const Event here = e_.record(Lane::panel);
      // Own tiles near before t in the chain's lane, the others behind it. An own tile that has just come near
      // has been far until now: those sums must be in before its next one is added.
      const std::int64_t near = std::max<std::int64_t>(0, t - e_.size());
      if (t < last && layout_.owner(near) == e_.rank()) e_.wait(Lane::panel, far_done);
      gather_products(Lane::panel, t, near, t);
      e_.wait(Lane::bulk, here);
      gather_products(Lane::bulk, t, 0, near);
      far_done = e_.record(Lane::bulk);
    }
  }

  // sums_s += L_ts^H X_t for own tiles s in [first, last), joined where they lie side by side.
  void gather_products(Lane lane, std::int64_t t, std::int64_t first, std::int64_t last) {
    for (const Span& own : layout_.spans(e_.rank(), first, last)) {
      e_.gemm(lane, Op::conj_transpose, Op::none, T(1),
              a_.block(layout_.begin(t), own.begin, layout_.width(t), own.width), rows_of(x_, t),
              w_.sums.block(own.begin, 0, own.width, x_.columns));
    }
  }

  E& e_;
  const TileColumns& layout_;
  MatrixView<T> a_, x_;
  PotrsFewWorkspace<T>& w_;
};

template <class T>
struct PotrsManyWorkspace {
  std::vector<MatrixView<T>> diagonals;
  std::vector<Panel<T>> panels;  // forward: rows below the pivot; backward, as block_rows: columns before it
  std::vector<MatrixView<T>> block_rows;

  PotrsManyWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots) {
    for (std::int64_t i = 0; i < slots; ++i) {
      diagonals.push_back(arena.matrix<T>(depth, depth));
      Arena same = arena;  // the two sweeps use the same memory in turn
      panels.emplace_back(arena, layout.order(), depth);
      block_rows.push_back(same.matrix<T>(depth, layout.order()));
    }
  }
};

template <class T, class E>
  requires Engine<E, T>
class PotrsMany {
 public:
  // `x` holds this rank's columns of B (n x k), and its columns of X on return.
  PotrsMany(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MatrixView<T> x,
            PotrsManyWorkspace<T>& workspace)
      : e_(engine), layout_(layout), a_(a), x_(x), w_(workspace), block_columns_(block_columns(layout, depth)) {}

  void run() {
    forward();
    backward();
  }

  // L Y = B: X holds B, then Y.  X_t = L_tt^-1 X_t; X_below = X_below - L_below,t X_t.
  void forward() {
    steps_.assign(block_columns_.size(), {});
    for (std::size_t o = 0; o < block_columns_.size(); ++o) {
      const BlockColumn& block = block_columns_[o];
      const auto diagonal = w_.diagonals[slot(o)].block(0, 0, block.width(), block.width());
      free_slot(o);
      std::vector<Block> blocks;
      send_diagonal(layout_, block, a_, diagonal, blocks);
      for (std::int64_t t = block.first_tile; t < block.last_tile; ++t) {
        w_.panels[slot(o)].pieces(
            block.end, layout_.order(), layout_.begin(t) - block.begin, layout_.width(t),
            [&](std::int64_t row, MatrixView<T> to) {
              blocks.push_back(make_block(layout_.owner(t), all_ranks, in_place(t, row, row + to.rows), to));
            });
      }
      e_.exchange(Lane::rows, blocks);
      e_.wait(Lane::panel, e_.record(Lane::rows));
      const auto solved = rows(block.begin, block.end);
      e_.trsm(Lane::panel, Side::left, Op::none, diagonal, solved);
      e_.wait(Lane::bulk, e_.record(Lane::panel));
      const auto update = [&](Lane lane, std::int64_t begin, std::int64_t end) {
        w_.panels[slot(o)].pieces(begin, end, 0, block.width(), [&](std::int64_t row, MatrixView<T> l) {
          e_.gemm(lane, Op::none, Op::none, T(-1), l, solved, rows(row, row + l.rows));
        });
      };
      const std::int64_t near = o + 1 < block_columns_.size() ? block_columns_[o + 1].end : block.end;
      if (o > 0) e_.wait(Lane::panel, steps_[o - 1].far_done);
      update(Lane::panel, block.end, near);
      steps_[o].near_done = e_.record(Lane::panel);
      update(Lane::bulk, near, layout_.order());
      steps_[o].far_done = e_.record(Lane::bulk);
    }
    e_.join();
  }

  // L^H X = Y.  X_t = L_tt^-H X_t; X_above = X_above - L_t,above^H X_t.
  void backward() {
    const std::size_t count = block_columns_.size();
    steps_.assign(count, {});
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t o = count - 1 - i;
      const BlockColumn& block = block_columns_[o];
      const auto diagonal = w_.diagonals[slot(i)].block(0, 0, block.width(), block.width());
      const auto block_row = w_.block_rows[slot(i)].block(0, 0, block.width(), block.begin);
      free_slot(i);
      std::vector<Block> blocks;
      send_diagonal(layout_, block, a_, diagonal, blocks);
      send_block_row(layout_, block, a_, block_row, blocks);
      e_.exchange(Lane::rows, blocks);
      e_.wait(Lane::panel, e_.record(Lane::rows));
      const auto solved = rows(block.begin, block.end);
      e_.trsm(Lane::panel, Side::left, Op::conj_transpose, diagonal, solved);
      e_.wait(Lane::bulk, e_.record(Lane::panel));
      const auto update = [&](Lane lane, std::int64_t begin, std::int64_t end) {
        e_.gemm(lane, Op::conj_transpose, Op::none, T(-1), block_row.block(0, begin, block.width(), end - begin),
                solved, rows(begin, end));
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

 private:
  using Event = typename E::Event;
  struct Step {
    Event near_done, far_done;
  };

  MatrixView<T> in_place(std::int64_t t, std::int64_t begin, std::int64_t end) const {
    return a_.block(begin, layout_.local_offset(t), end - begin, layout_.width(t));
  }
  MatrixView<T> rows(std::int64_t begin, std::int64_t end) const { return x_.block(begin, 0, end - begin, x_.columns); }
  std::size_t slot(std::size_t i) const { return i % w_.panels.size(); }

  // Before transfer number i overwrites its slot, the updates that read it must be done.
  void free_slot(std::size_t i) {
    if (i < w_.panels.size()) return;
    e_.wait(Lane::rows, steps_[i - w_.panels.size()].near_done);
    e_.wait(Lane::rows, steps_[i - w_.panels.size()].far_done);
  }

  E& e_;
  const TileColumns& layout_;
  MatrixView<T> a_, x_;
  PotrsManyWorkspace<T>& w_;
  std::vector<BlockColumn> block_columns_;
  std::vector<Step> steps_;
};

}  // namespace jaxmg
