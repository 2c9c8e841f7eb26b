// LU factorisation with partial pivoting, P M = L U, of a matrix dealt in tile columns, right-looking.
//
//   P1 [A11; A21] = [L11; L21] U11     the owner of tile column t factors it, with its pivots, on its own
//   [A12; A22] = P1 [A12; A22]         every rank interchanges rows of its own columns
//   U12 = L11^-1 A12                   ... solves for its part of U
//   A22 = A22 - L21 U12                ... and updates them
//
// All rows of a tile column lie on one rank, so pivots are searched for without communication, and are LAPACK's. Every
// rank receives the panel L and its pivots.
//
// The products with narrow panels are slow, and wide panels take long to factor. Therefore the panels of a block
// column, some adjacent tile columns, update most of the matrix together,
//
//   [A12; A22] = P [A12; A22],  U12 = L11^-1 A12,  A22 = A22 - L21 U12    with P = P2 P1, L = [P2 L1, L2]
//
// where received panels are interchanged by those after them. Each panel alone updates the others of its block column,
// and the first tile column of the next.
//
// The next tile column is updated and factored while the others are being updated: panels are the critical path.
// Updates come in the order in which it needs them: the next tile column (lane `panel`); others by one panel, and the
// first one by the whole block column (`ahead`); all others (`bulk`), beginning with the tile columns that the other
// lanes update by the next block column.
//
// In float32 and complex64, the products may use tensor cores (engine/low_precision_ops.h). In TF32, these are all
// updates, and the solves for U12 of a block column, by its panels. With two FP16 numbers for each element, it is the
// update of most of the matrix, from parts of L and U12 that are formed once for each block column.
//
// cuBLAS's products in tensor cores occupy all multiprocessors until they end, and the many small kernels of a panel
// would wait for one of them each. While a rank's own tile column is the critical path, `bulk` therefore gives way, but
// not on one rank, which always has the critical path.
//
// Interchanges also concern the columns of L to the left. They are put off to the end, where all interchanges after
// its own are made in each column at once.
//
// On return tile columns hold L below their diagonal and U from there up, as LAPACK leaves them. Where a pivot is zero,
// its column is not divided, and the factorisation goes on.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "algorithms/lu/getrf_panel.h"
#include "algorithms/panel.h"
#include "algorithms/slot_ring.h"
#include "core/arena.h"
#include "core/arithmetic.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/low_precision_ops.h"
#include "engine/lu_ops.h"
#include "engine/scratch.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct GetrfWorkspace {
  std::int64_t leaf;      // columns that the engine's getrf factors at once
  std::byte* scratch;     // getrf's
  RowMoves* moves;        // a pivot each
  std::int32_t* places;   // of rows, after the interchanges to the right
  std::int32_t* origins;  // of rows, before them
  std::int32_t* urgent;   // whether the critical path is on this rank
  std::vector<BlockColumn> columns;
  std::vector<Panel<T>> panels;  // L of a block column, from its diagonal down
  MatrixView<T> unpermuted;      // a tile column of L
  MatrixView<T> solved;          // U12 in own columns
  Arithmetic arithmetic;
  std::vector<Panel<Half>> parts;  // of the panels, as left operands
  MatrixView<Half> solved_parts;   // of U12, as right operands

  // Block columns have up to `depth` columns, and their panels use `slots` buffers in rotation.
  GetrfWorkspace(Arena& arena, const TileColumns& layout, std::int64_t leaf_columns, std::int64_t depth,
                 std::int64_t slots, Arithmetic products = Arithmetic::full)
      : arithmetic(products) {
    const bool whole = layout.ranks() == 1 && arithmetic == Arithmetic::full;  // by the engine's getrf
    leaf = whole ? layout.order() : std::min(leaf_columns, layout.tile());
    scratch = arena.take<std::byte>(getrf_scratch_bytes(layout.order(), leaf));
    if (whole) return;
    const std::int64_t tile = std::min(layout.tile(), layout.shard());
    moves = arena.take<RowMoves>(layout.order());
    places = arena.take<std::int32_t>(layout.order());
    origins = arena.take<std::int32_t>(layout.order());
    urgent = arena.take<std::int32_t>(1);
    columns = block_columns(layout, depth);
    std::int64_t widest = 0;
    for (const BlockColumn& column : columns) widest = std::max(widest, column.width());
    solved = arena.matrix<T>(widest, layout.shard());
    if (arithmetic == Arithmetic::fp16x2) {
      solved_parts = arena.matrix<Half>(3 * reals_of<T> * widest, layout.shard());
      for (std::int64_t i = 0; i < slots; ++i) {
        parts.emplace_back(arena, reals_of<T> * layout.order(), 2 * reals_of<T> * widest);
      }
    }
    Arena same = arena;  // L is permuted when no panel is used any more
    unpermuted = same.matrix<T>(layout.order(), tile);
    for (std::int64_t i = 0; i < slots; ++i) panels.emplace_back(arena, layout.order(), widest);
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
  // The last update of a tile column on this rank, and its lane.
  struct Update {
    Lane lane;
    Event done;
  };

  static std::size_t index(std::int64_t t) { return static_cast<std::size_t>(t); }
  const Panel<T>& panel(std::size_t o) const { return w_.panels[ring_.slot(o)]; }

  // Unit lower triangle of panels [by.begin, by.end), whose rows lie in the first chunk.
  MatrixView<T> triangle(std::size_t o, Range by) const {
    const std::int64_t first = layout_.begin(by.begin) - w_.columns[o].begin;
    const std::int64_t width = layout_.end(by.end - 1) - layout_.begin(by.begin);
    return panel(o).chunks().piece(first, first, width).block(0, 0, width, width);
  }

  // Calls visit(update) for the last updates of own tile columns.
  template <class Visit>
  void each_updated(Range tiles, Visit&& visit) {
    a_.each_own(tiles.begin, tiles.end, [&](std::int64_t t) { visit(updated_[index(t)]); });
  }

  // Factors tile column t of block column o on its owner, and sends L and the pivots to all ranks: first to the owner
  // of the next tile column, where the critical path continues.
  void factor(std::size_t o, std::int64_t t) {
    const std::int64_t begin = layout_.begin(t);
    const int next = layout_.owner(std::min(t + 1, layout_.count() - 1));
    if (a_.owns(t)) {
      if (const auto& updated = updated_[index(t)]) e_.wait(Lane::diagonal, updated->done);
      set_urgent(Lane::diagonal, true);
      factor_columns(a_.tile(t, begin, layout_.order()), begin);
      set_urgent(Lane::diagonal, false);
    }
    send(Lane::diagonal, o, t, next, no_rank);
    const Event sent = e_.record(Lane::diagonal);
    if (a_.owns(t)) e_.wait(Lane::rows, sent);
    send(Lane::rows, o, t, all_ranks, next);
    const Lane received = e_.rank() == next ? Lane::diagonal : Lane::rows;
    e_.plan_interchanges(received, pivots_ + begin, begin, layout_.width(t), layout_.order(), w_.moves + begin);
    ready_[index(t)] = e_.record(received);
    if (a_.owns(t)) {
      e_.wait(Lane::rhs, ready_[index(t)]);
      e_.check_pivots(Lane::rhs, a_.diagonal(t), begin, info_);
    }
  }

  void send(Lane lane, std::size_t o, std::int64_t t, int target, int except) {
    const std::int64_t begin = layout_.begin(t), width = layout_.width(t), origin = w_.columns[o].begin;
    const int owner = layout_.owner(t);
    if (t == w_.columns[o].first_tile) ring_.await(lane, o);
    std::vector<Block> blocks;
    const auto add = [&](auto from, auto to) {
      blocks.push_back(make_block(owner, target, from, to));
      blocks.back().except = except;
    };
    panel(o).pieces(
        begin - origin, layout_.order() - origin, begin - origin, width,
        [&](std::int64_t row, MatrixView<T> to) { add(a_.tile(t, origin + row, origin + row + to.rows), to); });
    const MatrixView<std::int32_t> pivots{pivots_ + begin, width, 1, width};
    add(pivots, pivots);
    e_.exchange(lane, blocks);
  }

  void factor_columns(MatrixView<T> a, std::int64_t row) {
    const std::int64_t leaf = std::min(w_.leaf, e_.template getrf_columns<T>(a.rows));
    GetrfPanel<T, E>(e_, Lane::diagonal, a, row, leaf, pivots_ + row, w_.scratch).run();
  }

  // Makes the interchanges of panel t in the panels before it in block column o. These alone have updated only tile
  // column t, before it was factored, and others in this lane.
  void interchange_panels(std::size_t o, std::int64_t t) {
    const std::int64_t begin = layout_.begin(t), origin = w_.columns[o].begin;
    if (begin == origin) return;
    e_.wait(Lane::ahead, ready_[index(t)]);
    e_.interchange_chunks(Lane::ahead, w_.moves + begin, layout_.width(t), origin, panel(o).chunks(), begin - origin);
    interchanged_ = ring_.used(Lane::ahead, o);
  }

  // Interchanges, U12 and the update of A22 in own tile columns `tiles`, by panels `by` of block column o.
  void update(Lane lane, std::size_t o, Range by, Range tiles) {
    tiles = {std::min(tiles.begin, layout_.count()), std::min(tiles.end, layout_.count())};
    const auto spans = layout_.spans(e_.rank(), tiles.begin, tiles.end);
    if (spans.empty()) return;
    for (std::int64_t t = by.begin; t < by.end; ++t) e_.wait(lane, ready_[index(t)]);
    if (by.end - by.begin > 1) e_.wait(lane, interchanged_);
    if (has_parts(lane, o, by)) e_.wait(lane, split_);
    each_updated(tiles, [&](const auto& last) {
      if (last && last->lane != lane) e_.wait(lane, last->done);
    });
    // Until the tile column is factored.
    if (lane == Lane::panel) set_urgent(lane, true);
    for (const Span& own : spans) {
      for (std::int64_t t = by.begin; t < by.end; ++t) {
        const std::int64_t row = layout_.begin(t);
        e_.interchange(lane, Interchanges::made, w_.moves + row, layout_.width(t), row,
                       a_.span(own, row, layout_.order()));
      }
      solve(lane, o, by, own);
      const std::int64_t most = w_.arithmetic == Arithmetic::full ? own.width : product_columns;
      for (std::int64_t done = 0; done < own.width; done += most) {
        multiply(lane, o, by, {own.begin + done, std::min(most, own.width - done)});
      }
    }
    const Event done = ring_.used(lane, o);
    each_updated(tiles, [&](auto& last) { last = Update{lane, done}; });
  }

  // U12 = L11^-1 A12 in own columns.
  void solve(Lane lane, std::size_t o, Range by, const Span& own) {
    const std::int64_t end = layout_.end(by.end - 1);
    const auto solve_with = [&](Range tiles, MatrixView<T> u) {
      e_.trsm(lane, Side::left, Uplo::lower, Op::none, Diag::unit, triangle(o, tiles), u);
    };
    if (w_.arithmetic == Arithmetic::full) {
      solve_with(by, a_.span(own, layout_.begin(by.begin), end));
      return;
    }
    for (std::int64_t t = by.begin; t < by.end; ++t) {
      const std::int64_t row = layout_.begin(t), below = layout_.end(t), origin = w_.columns[o].begin;
      const auto u = a_.span(own, row, below);
      solve_with({t, t + 1}, u);
      if (below == end) break;
      // Rows of the block column lie in the first chunk.
      const auto chunk = panel(o).chunks().piece(below - origin, row - origin, layout_.width(t));
      subtract_product(lane, chunk.block(0, 0, end - below, chunk.columns), u, a_.span(own, below, end));
    }
  }

  // C = C - A B.
  void subtract_product(Lane lane, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    if (w_.arithmetic == Arithmetic::tf32) give_way(lane);
    jaxmg::subtract_product(e_, lane, w_.arithmetic, Op::none, a, b, c);
  }

  // A22 = A22 - L21 U12 in own columns.
  void multiply(Lane lane, std::size_t o, Range by, const Span& own) {
    const std::int64_t n = layout_.order(), origin = w_.columns[o].begin;
    const std::int64_t begin = layout_.begin(by.begin), end = layout_.end(by.end - 1), width = end - begin;
    const auto a12 = a_.span(own, begin, end);
    if constexpr (SplitProductOps<E, T>) {
      if (has_parts(lane, o, by)) {
        constexpr std::int64_t reals = reals_of<T>;
        const auto u = w_.solved_parts.block(0, own.begin, 3 * reals * width, own.width);
        e_.split_right(lane, Op::none, a12, u);
        w_.parts[ring_.slot(o)].pieces(reals * (end - origin), reals * (n - origin), 0, 2 * reals * width,
                                       [&](std::int64_t row, MatrixView<Half> l) {
                                         const auto a22 =
                                             a_.span(own, origin + row / reals, origin + (row + l.rows) / reals);
                                         give_way(lane);
                                         e_.split_product(lane, Op::none, Real<T>(-1), l, u, a22);
                                       });
        return;
      }
    }
    const auto u = w_.solved.block(0, own.begin, width, own.width);
    e_.copy(lane, a12, u);  // GEMMs read a matrix of short columns faster than one of long ones
    panel(o).pieces(end - origin, n - origin, begin - origin, width, [&](std::int64_t row, MatrixView<T> l) {
      subtract_product(lane, l, u, a_.span(own, origin + row, origin + row + l.rows));
    });
  }

  bool gives_way() const { return w_.arithmetic != Arithmetic::full && e_.size() > 1; }
  void set_urgent(Lane lane, bool urgent) {
    if constexpr (PrecedenceOps<E>) {
      if (gives_way()) e_.set_urgent(lane, urgent, w_.urgent);
    }
  }
  void give_way(Lane lane) {
    if constexpr (PrecedenceOps<E>) {
      if (gives_way() && lane == Lane::bulk) e_.give_way(lane, w_.urgent);
    }
  }

  // Whether an update reads the parts of block column o: by all of its panels, and not of the next tile column, which
  // does not wait for parts.
  bool has_parts(Lane lane, std::size_t o, Range by) const {
    const BlockColumn& column = w_.columns[o];
    return w_.arithmetic == Arithmetic::fp16x2 && lane != Lane::panel && by.begin == column.first_tile &&
           by.end == column.last_tile;
  }

  // Forms the parts of L21 of block column o, whose panels have been interchanged.
  void split_panels(std::size_t o) {
    if constexpr (SplitProductOps<E, T>) {
      if (w_.arithmetic != Arithmetic::fp16x2) return;
      const BlockColumn& column = w_.columns[o];
      for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) e_.wait(Lane::ahead, ready_[index(t)]);
      split_rows(e_, Lane::ahead, panel(o), column.width(), layout_.order() - column.begin, column.width(),
                 w_.parts[ring_.slot(o)]);
      split_ = ring_.used(Lane::ahead, o);
    }
  }

  void factor_and_update(std::size_t o) {
    const std::int64_t first = w_.columns[o].first_tile, last = w_.columns[o].last_tile;
    for (std::int64_t t = first; t < last; ++t) {
      factor(o, t);
      interchange_panels(o, t);
      update(Lane::panel, o, {t, t + 1}, {t + 1, t + 2});
      update(Lane::ahead, o, {t, t + 1}, {t + 2, last + 1});
    }
    if (o + 1 == w_.columns.size()) return;
    split_panels(o);
    update(Lane::ahead, o, {first, last}, {last + 1, last + 2});
    // The tile columns that lanes `panel` and `ahead` update by the next block column come first.
    const std::int64_t front = w_.columns[o + 1].last_tile + 2;
    for (std::int64_t t = last + 2; t < front; ++t) update(Lane::bulk, o, {first, last}, {t, t + 1});
    update(Lane::bulk, o, {first, last}, {front, layout_.count()});
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
        e_.invert(lane, w_.places, end, n - end, w_.origins);
        e_.gather_rows(lane, before, w_.origins, end, l);
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
  std::vector<Event> ready_;                    // of panels: L and its planned interchanges
  std::vector<std::optional<Update>> updated_;  // of tile columns
  Event interchanged_{};                        // the last panels that were
  Event split_{};                               // into parts, the last block column that was
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && LuOps<E, T>
void Getrf<T, E>::run() {
  [[maybe_unused]] const typename E::Range range("getrf");
  const std::int64_t n = layout_.order();
  if (w_.columns.empty()) {
    const auto a = a_.columns.block(0, 0, n, n);
    e_.getrf(Lane::panel, a, 0, pivots_, w_.scratch);
    e_.check_pivots(Lane::panel, a, 0, info_);
  } else {
    ready_.resize(index(layout_.count()));
    updated_.resize(index(layout_.count()));
    set_urgent(Lane::bulk, false);
    for (std::size_t o = 0; o < w_.columns.size(); ++o) factor_and_update(o);
    e_.join();
    permute_left();
  }
  e_.join();
}

}  // namespace jaxmg
