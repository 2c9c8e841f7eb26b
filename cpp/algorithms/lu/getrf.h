// LU factorisation with partial pivoting, P M = L U, of a matrix dealt in tile columns, right-looking.
//
//   P1 [A11; A21] = [L11; L21] U11     the owner of tile column t factors it, with its pivots, on its own
//   [A12; A22] = P1 [A12; A22]         every rank interchanges rows of its own columns
//   U12 = L11^-1 A12                   ... solves for its part of U
//   A22 = A22 - L21 U12                ... and updates them
//
// All rows of a tile column lie on one rank, so pivots are searched for without communication, and are LAPACK's. Every
// rank receives the panel L and its pivots. The next tile column is updated and factored while the others are being
// updated: panels are the critical path. Updates come in the order in which it needs them: the next tile column (lane
// `panel`), the one after it (`ahead`), all others (`bulk`), beginning with the one after those two.
//
// Interchanges also concern the columns of L to the left. They are put off to the end, where one scatter of each
// column makes all interchanges after its own.
//
// On return tile columns hold L below their diagonal and U from there up, as LAPACK leaves them. Where a pivot is zero,
// its column is not divided, and the factorisation goes on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/cholesky/panel.h"
#include "algorithms/lu/getrf_panel.h"
#include "algorithms/slot_ring.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/lu_ops.h"
#include "engine/scratch.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct GetrfWorkspace {
  std::int64_t leaf;             // columns that the engine's getrf factors at once
  std::byte* scratch;            // getrf's
  RowMoves* moves;               // a pivot each
  std::int32_t* places;          // of rows, after the interchanges to the right
  std::vector<Panel<T>> panels;  // L of a tile column, from its diagonal down
  MatrixView<T> unpermuted;      // a tile column of L
  MatrixView<T> solved;          // U12 in own columns

  GetrfWorkspace(Arena& arena, const TileColumns& layout, std::int64_t leaf_columns, std::int64_t slots)
      : leaf(layout.ranks() == 1 ? layout.order() : std::min(leaf_columns, layout.tile())) {
    scratch = arena.take<std::byte>(getrf_scratch_bytes(layout.order(), leaf));
    if (layout.ranks() == 1) return;
    const std::int64_t tile = std::min(layout.tile(), layout.shard());
    moves = arena.take<RowMoves>(layout.order());
    places = arena.take<std::int32_t>(layout.order());
    solved = arena.matrix<T>(tile, layout.shard());
    Arena same = arena;  // L is permuted when no panel is used any more
    unpermuted = same.matrix<T>(layout.order(), tile);
    for (std::int64_t i = 0; i < slots; ++i) panels.emplace_back(arena, layout.order(), tile);
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && LuOps<E, T>
class Getrf {
 public:
  // Every rank receives the pivots of all columns. `info` is lowered to the number of the first zero pivot here.
  Getrf(E& engine, const TileColumns& layout, MatrixView<T> a, std::int32_t* pivots, GetrfWorkspace<T>& workspace,
        std::int32_t* info)
      : e_(engine),
        layout_(layout),
        a_{layout, a, engine.rank()},
        pivots_(pivots),
        w_(workspace),
        info_(info),
        ring_(engine, workspace.panels.size()) {}

  void run();

 private:
  using Event = typename E::Event;
  // Events of one step, named by what is ready on this rank.
  struct Step {
    Event panel_ready;
    // After this step's update: the next tile column; the one after it; the one after that; all others.
    Event next_updated, ahead_updated, bulk_front_updated;
  };

  Step& step(std::int64_t t) { return steps_[static_cast<std::size_t>(t)]; }
  Panel<T>& panel(std::int64_t t) { return w_.panels[ring_.slot(static_cast<std::size_t>(t))]; }

  // The first `rows` rows of a panel, which lie in its first chunk.
  MatrixView<T> top(std::int64_t t, std::int64_t rows) {
    MatrixView<T> first;
    panel(t).pieces(0, rows, 0, rows, [&](std::int64_t, MatrixView<T> piece) { first = piece; });
    return first;
  }

  // Factors tile column t on its owner, and sends L and the pivots to all ranks: first to the owner of the next tile
  // column, where the critical path continues.
  void factor(std::int64_t t) {
    const std::int64_t begin = layout_.begin(t);
    const int next = layout_.owner(std::min(t + 1, layout_.count() - 1));
    if (t > 0) e_.wait(Lane::diagonal, step(t - 1).next_updated);
    if (a_.owns(t)) factor_columns(a_.tile(t, begin, layout_.order()), begin);
    send(Lane::diagonal, t, next, no_rank);
    const Event sent = e_.record(Lane::diagonal);
    if (a_.owns(t)) e_.wait(Lane::rows, sent);
    send(Lane::rows, t, all_ranks, next);
    const Lane received = e_.rank() == next ? Lane::diagonal : Lane::rows;
    e_.plan_interchanges(received, pivots_ + begin, begin, layout_.width(t), layout_.order(), w_.moves + begin);
    step(t).panel_ready = e_.record(received);
    if (a_.owns(t)) {
      e_.wait(Lane::rhs, step(t).panel_ready);
      e_.check_pivots(Lane::rhs, a_.diagonal(t), begin, info_);
    }
  }

  void send(Lane lane, std::int64_t t, int target, int except) {
    const std::int64_t begin = layout_.begin(t), end = layout_.order(), width = layout_.width(t);
    const int owner = layout_.owner(t);
    ring_.await(lane, static_cast<std::size_t>(t));
    std::vector<Block> blocks;
    const auto add = [&](auto from, auto to) {
      blocks.push_back(make_block(owner, target, from, to));
      blocks.back().except = except;
    };
    panel(t).pieces(0, end - begin, 0, width, [&](std::int64_t row, MatrixView<T> to) {
      add(a_.tile(t, begin + row, begin + row + to.rows), to);
    });
    const MatrixView<std::int32_t> pivots{pivots_ + begin, width, 1, width};
    add(pivots, pivots);
    e_.exchange(lane, blocks);
  }

  void factor_columns(MatrixView<T> a, std::int64_t row) {
    const std::int64_t leaf = std::min(w_.leaf, e_.template getrf_columns<T>(a.rows));
    getrf_panel(e_, Lane::diagonal, a, row, leaf, pivots_ + row, w_.scratch);
  }

  // Interchanges, U12 and the update of A22 in own tile columns [first, last).
  void update(Lane lane, std::int64_t t, std::int64_t first, std::int64_t last) {
    const std::int64_t n = layout_.order(), begin = layout_.begin(t), end = layout_.end(t), width = layout_.width(t);
    for (const Span& own :
         layout_.spans(e_.rank(), std::min(first, layout_.count()), std::min(last, layout_.count()))) {
      const auto u = w_.solved.block(0, own.begin, width, own.width), a12 = a_.span(own, begin, end);
      e_.interchange(lane, Interchanges::made, w_.moves + begin, width, begin, a_.span(own, begin, n));
      e_.trsm(lane, Side::left, Uplo::lower, Op::none, Diag::unit, top(t, width), a12);
      e_.copy(lane, a12, u);  // GEMMs read a matrix of short columns faster than one of long ones
      panel(t).pieces(width, n - begin, 0, width, [&](std::int64_t row, MatrixView<T> l) {
        e_.gemm(lane, Op::none, Op::none, T(-1), l, u, a_.span(own, begin + row, begin + row + l.rows));
      });
    }
  }

  void update_next(std::int64_t t) {
    e_.wait(Lane::panel, step(t).panel_ready);
    if (t > 0) e_.wait(Lane::panel, step(t - 1).ahead_updated);
    update(Lane::panel, t, t + 1, t + 2);
    step(t).next_updated = e_.record(Lane::panel);
    ring_.used(Lane::panel, static_cast<std::size_t>(t));
  }

  void update_others(std::int64_t t) {
    e_.wait(Lane::ahead, step(t).panel_ready);
    if (t > 0) e_.wait(Lane::ahead, step(t - 1).bulk_front_updated);
    update(Lane::ahead, t, t + 2, t + 3);
    step(t).ahead_updated = e_.record(Lane::ahead);
    ring_.used(Lane::ahead, static_cast<std::size_t>(t));

    e_.wait(Lane::bulk, step(t).panel_ready);
    update(Lane::bulk, t, t + 3, t + 4);
    step(t).bulk_front_updated = e_.record(Lane::bulk);
    update(Lane::bulk, t, t + 4, layout_.count());
    ring_.used(Lane::bulk, static_cast<std::size_t>(t));
  }

  // L of each own tile column, from its diagonal tile down, with the interchanges of all later steps.
  void permute_left() {
    constexpr Lane lane = Lane::bulk;
    const std::int64_t n = layout_.order();
    e_.number(lane, n, w_.places);
    for (std::int64_t t = layout_.count() - 1; t >= 0; --t) {
      const std::int64_t begin = layout_.begin(t), end = layout_.end(t), width = layout_.width(t);
      if (a_.owns(t) && end < n) {
        const auto l = a_.tile(t, end, n), before = w_.unpermuted.block(0, 0, n - end, width);
        e_.copy(lane, l, before);
        e_.scatter_rows(lane, before, w_.places, end, l);
      }
      e_.place(lane, w_.moves + begin, width, w_.places);
    }
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  std::int32_t* pivots_;
  GetrfWorkspace<T>& w_;
  std::int32_t* info_;  // this rank's entry
  SlotRing<E> ring_;
  std::vector<Step> steps_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && LuOps<E, T>
void Getrf<T, E>::run() {
  const std::int64_t n = layout_.order();
  if (e_.size() == 1) {
    const auto a = a_.columns.block(0, 0, n, n);
    e_.getrf(Lane::panel, a, 0, pivots_, w_.scratch);
    e_.check_pivots(Lane::panel, a, 0, info_);
  } else {
    steps_.resize(static_cast<std::size_t>(layout_.count()));
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      factor(t);
      update_next(t);
      update_others(t);
    }
    e_.join();
    permute_left();
  }
  e_.join();
}

}  // namespace jaxmg
