// Cholesky factorisation A = L L^H of a matrix dealt in tile columns, right-looking, by block columns of width K.
//
//   A11 = L11 L11^H            factor the K x K diagonal block on one rank (round-robin)
//   L21 = A21 L11^-H           every rank solves its share of the rows
//   A22 = A22 - L21 L21^H      every rank updates its own tile columns
//
// A rank solves the rows with the same indices as its own columns. They are the right operands of its updates, and
// therefore only the left operand, the whole panel L21, is broadcast. The width K is the depth of the updates, and
// decides their speed.
//
// The diagonal blocks are the critical path, which determines the order of all work. The rows of a panel fall into
// three parts:
//   near   rows of the next block column: the next diagonal block waits for them
//   mid    rows of the block column after it: the near rows of the next panel wait for them
//   far    all others, with a whole step to spare
// Updates follow the same order: the next block column, part by part; the block column after it (lane `ahead`); all
// others (lane `bulk`).
//
// In float32 and complex64, the products of these updates may use tensor cores (engine/low_precision_ops.h), and in
// TF32 the products in the solves for far rows, too. With two FP16 numbers for each element, L21 = H + M / 2^11, the
// updates are two GEMMs on parts that are formed once for each panel,
//
//   L21 L21^H = H H^H + [H M] [M H]^H / 2^11
//
// The next block column is updated before its panel is complete, in float32 itself.
//
// Right-hand sides may be solved along: with Y1 = L11^-1 B1 and B2 = B2 - L21 Y1 the factorisation leaves Y = L^-1 B.
//
// Only the lower triangle is read. On return tile columns hold L from their diagonal downwards; elements above the
// diagonal are undefined. The panel is solved with L11 itself, never with an inverse of it: the explicit inverse costs
// two digits on ill-conditioned matrices (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section
// 8.2).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algorithms/panel.h"
#include "core/arena.h"
#include "core/arithmetic.h"
#include "core/matrix_view.h"
#include "engine/cholesky_ops.h"
#include "engine/engine.h"
#include "engine/low_precision_ops.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

// Block columns use `slots` sets of buffers in rotation; `nrhs` right-hand sides are solved along.
template <class T>
struct PotrfWorkspace {
  std::int32_t* failed;                  // potrf's info
  std::vector<MatrixView<T>> diagonals;  // L11, lower triangle
  std::vector<MatrixView<T>> own_rows;   // this rank's rows of L21, packed
  std::vector<Panel<T>> panels;          // all rows of L21
  MatrixView<T> own_rhs;                 // this rank's rows of the right-hand sides, packed
  Arithmetic arithmetic;
  std::vector<MatrixView<Half>> own_parts;  // of own_rows, as right operands
  std::vector<Panel<Half>> parts;           // of the panels, as left operands

  PotrfWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots, std::int64_t nrhs = 0,
                 Arithmetic products = Arithmetic::full)
      : arithmetic(products) {
    failed = arena.take<std::int32_t>(slots);
    if (layout.ranks() == 1 && arithmetic == Arithmetic::full) return;
    if (nrhs > 0) own_rhs = arena.matrix<T>(layout.shard(), nrhs);
    for (std::int64_t i = 0; i < slots; ++i) {
      diagonals.push_back(arena.matrix<T>(depth, depth));
      own_rows.push_back(arena.matrix<T>(layout.shard(), depth));
      panels.emplace_back(arena, layout.order(), depth);
      if (arithmetic != Arithmetic::fp16x2) continue;
      own_parts.push_back(arena.matrix<Half>(layout.shard(), 3 * reals_of<T> * depth));
      parts.emplace_back(arena, reals_of<T> * layout.order(), 2 * reals_of<T> * depth);
    }
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && CholeskyOps<E, T>
class Potrf {
 public:
  // `rhs` may be empty; otherwise every rank passes all of B (n rows) and receives Y.
  Potrf(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MatrixView<T> rhs,
        PotrfWorkspace<T>& workspace, std::int32_t* info)
      : e_(engine),
        layout_(layout),
        a_{layout, a, engine.rank()},
        rhs_(rhs),
        w_(workspace),
        info_(info),
        columns_(block_columns(layout, depth)) {}

  void run();

 private:
  using Event = typename E::Event;
  // Events of one step, named by what is ready on this rank.
  struct Step {
    // Of L11 and L21, on every rank.
    Event diagonal_ready, near_rows_ready, mid_rows_ready, all_rows_ready;
    // Of the next block column, after this step's update: the diagonal block; the near and mid rows; the rows from
    // which the mid rows of the next panel are solved; all rows.
    Event next_diagonal_updated, next_mid_rows_updated, next_far_front_updated, next_column_updated;
    // The block column after it; the block column that `ahead` updates in the next step; all others.
    Event ahead_updated, bulk_front_updated, bulk_updated;
    Event written_back, rhs_updated;
  };

  std::size_t slot(std::size_t o) const { return o % w_.panels.size(); }
  // The first tile and row of block column o, or the end of the matrix if there is no such block column.
  std::int64_t first_tile(std::size_t o) const {
    return o < columns_.size() ? columns_[o].first_tile : layout_.count();
  }
  std::int64_t first_row(std::size_t o) const { return o < columns_.size() ? columns_[o].begin : layout_.order(); }

  MatrixView<T> diagonal(std::size_t o) const {
    return w_.diagonals[slot(o)].block(0, 0, columns_[o].width(), columns_[o].width());
  }

  // Calls visit(t) for this rank's tile columns in block column o.
  template <class Visit>
  void each_own(std::size_t o, Visit&& visit) {
    a_.each_own(first_tile(o), first_tile(o + 1), visit);
  }

  // Before a lane overwrites the buffers of a slot, all lanes must have finished the step that last used it.
  void await_slot(Lane lane, std::size_t o) {
    if (o < w_.panels.size()) return;
    const Step& last = steps_[o - w_.panels.size()];
    for (const Event& use : {last.next_mid_rows_updated, last.next_column_updated, last.ahead_updated,
                             last.bulk_updated, last.written_back, last.rhs_updated}) {
      e_.wait(lane, use);
    }
  }

  // Gathers A11 on the rank that factors it, and broadcasts L11.
  void factor_diagonal(std::size_t o) {
    const BlockColumn& column = columns_[o];
    const int master = static_cast<int>(o) % e_.size();
    if (o > 0) e_.wait(Lane::diagonal, steps_[o - 1].next_diagonal_updated);
    await_slot(Lane::diagonal, o);
    std::vector<Block> gather;
    for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) {
      const std::int64_t at = layout_.begin(t) - column.begin;
      gather.push_back(make_block(layout_.owner(t), master, a_.tile(t, layout_.begin(t), column.end),
                                  diagonal(o).block(at, at, column.width() - at, layout_.width(t))));
    }
    e_.exchange(Lane::diagonal, gather);
    std::int32_t* const failed = w_.failed + slot(o);
    if (e_.rank() == master) e_.potrf(Lane::diagonal, diagonal(o), failed);
    // The whole square, one contiguous run of bytes, travels faster than its lower triangle.
    e_.exchange(Lane::diagonal, {make_block(master, all_ranks, diagonal(o), diagonal(o))});
    steps_[o].diagonal_ready = e_.record(Lane::diagonal);
    if (e_.rank() == master) {
      e_.wait(Lane::rhs, steps_[o].diagonal_ready);
      e_.check_factor(Lane::rhs, diagonal(o), failed, column.begin, info_);
    }
  }

  // L21 = A21 L11^-H in the rows of tiles [first, last): every rank gathers its own rows from the owners of the block
  // column, solves, and broadcasts them.
  void solve_tiles(Lane lane, std::size_t o, std::int64_t first, std::int64_t last) {
    const BlockColumn& column = columns_[o];
    const MatrixView<T> own_rows = w_.own_rows[slot(o)];
    std::vector<Block> gather, broadcast;
    for (std::int64_t t = first; t < last; ++t) {
      for (std::int64_t c = column.first_tile; c < column.last_tile; ++c) {
        const auto to = own_rows.block(layout_.packed_offset(t), layout_.begin(c) - column.begin, layout_.width(t),
                                       layout_.width(c));
        gather.push_back(
            make_block(layout_.owner(c), layout_.owner(t), a_.tile(c, layout_.begin(t), layout_.end(t)), to));
      }
      w_.panels[slot(o)].pieces(
          layout_.begin(t), layout_.end(t), 0, column.width(), [&](std::int64_t row, MatrixView<T> to) {
            const std::int64_t from = layout_.packed_offset(t) + row - layout_.begin(t);
            broadcast.push_back(
                make_block(layout_.owner(t), all_ranks, own_rows.block(from, 0, to.rows, to.columns), to));
          });
    }
    e_.exchange(lane, gather);
    e_.wait(lane, steps_[o].diagonal_ready);
    const std::int64_t begin = layout_.packed_before(e_.rank(), first);
    const std::int64_t end = layout_.packed_before(e_.rank(), last);
    solve_rows(lane, diagonal(o), own_rows.block(begin, 0, end - begin, column.width()));
    e_.exchange(lane, broadcast);
  }

  // X = X L^-H. In TF32, far rows are solved by columns that then update those to their right.
  void solve_rows(Lane lane, MatrixView<T> l, MatrixView<T> x) {
    const auto solve = [&](MatrixView<T> triangle, MatrixView<T> columns) {
      e_.trsm(lane, Side::right, Uplo::lower, Op::conj_transpose, Diag::non_unit, triangle, columns);
    };
    if (w_.arithmetic != Arithmetic::tf32 || lane != Lane::rows) {
      solve(l, x);
      return;
    }
    for (std::int64_t j = 0; j < x.columns; j += solved_columns) {
      const std::int64_t width = std::min(solved_columns, x.columns - j), next = j + width, left = x.columns - next;
      const auto solved = x.block(0, j, x.rows, width);
      solve(l.block(j, j, width, width), solved);
      if (left == 0) break;
      subtract_product(e_, lane, w_.arithmetic, Op::conj_transpose, solved, l.block(next, j, left, width),
                       x.block(0, next, x.rows, left));
    }
  }

  // Adjacent columns of this rank: where they begin in its shard and in its packed rows, and their number.
  struct OwnColumns {
    std::int64_t local, packed, width;
  };

  // A22 = A22 - L21 L21^H in rows [begin, end) of own tiles of block column `target`, from the diagonal down.
  void update(Lane lane, std::size_t o, std::size_t target, std::int64_t begin, std::int64_t end) {
    const bool by_parts = target > o + 1;
    each_own(target, [&](std::int64_t t) {
      multiply(lane, o, by_parts, {layout_.local_offset(t), layout_.packed_offset(t), layout_.width(t)},
               std::max(begin, layout_.begin(t)), end);
    });
  }

  // The same for all own tiles of block columns from `target` on, of which adjacent ones are updated together in the
  // rows that they share. These include rows above the diagonal, if they are few: products of few rows are slow.
  void update_together(Lane lane, std::size_t o, std::size_t target) {
    OwnColumns joined{};
    std::int64_t begin = 0;  // of the rows that the joined tiles share
    a_.each_own(first_tile(target), layout_.count(), [&](std::int64_t t) {
      const OwnColumns own{layout_.local_offset(t), layout_.packed_offset(t), layout_.width(t)};
      const bool adjacent = own.local == joined.local + joined.width && own.packed == joined.packed + joined.width;
      const std::int64_t diagonal = layout_.begin(t);
      if (adjacent && joined.width + own.width <= product_columns) {
        joined.width += own.width;
        if (diagonal - begin <= product_columns) return;
        multiply(lane, o, true, {joined.local, joined.packed, joined.width - own.width}, begin, diagonal);
      } else {
        multiply(lane, o, true, joined, begin, layout_.order());
        joined = own;
      }
      begin = diagonal;
    });
    multiply(lane, o, true, joined, begin, layout_.order());
  }

  // A22 = A22 - L21 L21^H in rows [begin, end) of own columns.
  void multiply(Lane lane, std::size_t o, bool by_parts, const OwnColumns& own, std::int64_t begin, std::int64_t end) {
    if (own.width == 0) return;
    const std::int64_t depth = columns_[o].width();
    const auto columns = [&](std::int64_t row, std::int64_t rows) {
      return a_.columns.block(row, own.local, rows, own.width);
    };
    if constexpr (SplitProductOps<E, T>) {
      if (w_.arithmetic == Arithmetic::fp16x2 && by_parts) {
        constexpr std::int64_t reals = reals_of<T>;
        const auto right = w_.own_parts[slot(o)].block(own.packed, 0, own.width, 3 * reals * depth);
        w_.parts[slot(o)].pieces(reals * begin, reals * end, 0, 2 * reals * depth,
                                 [&](std::int64_t row, MatrixView<Half> left) {
                                   e_.split_product(lane, Op::conj_transpose, Real<T>(-1), left, right,
                                                    columns(row / reals, left.rows / reals));
                                 });
        return;
      }
    }
    const auto right = w_.own_rows[slot(o)].block(own.packed, 0, own.width, depth);
    w_.panels[slot(o)].pieces(begin, end, 0, depth, [&](std::int64_t row, MatrixView<T> left) {
      subtract_product(e_, lane, w_.arithmetic, Op::conj_transpose, left, right, columns(row, left.rows));
    });
  }

  // Forms the parts of L21 in the rows from the block column after the next on, if the arithmetic has parts.
  bool split_panel(Lane lane, std::size_t o) {
    if constexpr (SplitProductOps<E, T>) {
      if (w_.arithmetic != Arithmetic::fp16x2) return false;
      const std::int64_t depth = columns_[o].width();
      split_rows(e_, lane, w_.panels[slot(o)], first_row(o + 2), layout_.order(), depth, w_.parts[slot(o)]);
      const std::int64_t done = layout_.packed_before(e_.rank(), first_tile(o + 2));
      const std::int64_t left = layout_.packed_total(e_.rank()) - done;
      e_.split_right(lane, Op::conj_transpose, w_.own_rows[slot(o)].block(done, 0, left, depth),
                     w_.own_parts[slot(o)].block(done, 0, left, 3 * reals_of<T> * depth));
      return true;
    }
    return false;
  }

  void solve_near(std::size_t o) {
    await_slot(Lane::panel, o);
    solve_tiles(Lane::panel, o, first_tile(o + 1), first_tile(o + 2));
    steps_[o].near_rows_ready = e_.record(Lane::panel);
    if (o > 0) e_.wait(Lane::panel, steps_[o - 1].ahead_updated);
    update(Lane::panel, o, o + 1, first_row(o + 1), first_row(o + 2));
    steps_[o].next_diagonal_updated = e_.record(Lane::panel);
  }

  void solve_mid(std::size_t o) {
    if (o > 0) e_.wait(Lane::panel, steps_[o - 1].next_far_front_updated);
    solve_tiles(Lane::panel, o, first_tile(o + 2), first_tile(o + 3));
    steps_[o].mid_rows_ready = e_.record(Lane::panel);
    update(Lane::panel, o, o + 1, first_row(o + 2), first_row(o + 3));
    steps_[o].next_mid_rows_updated = e_.record(Lane::panel);
  }

  void solve_far(std::size_t o) {
    await_slot(Lane::rows, o);
    solve_tiles(Lane::rows, o, first_tile(o + 3), layout_.count());
    e_.wait(Lane::rows, steps_[o].mid_rows_ready);
    steps_[o].all_rows_ready = e_.record(Lane::rows);
    if (o > 0) e_.wait(Lane::rows, steps_[o - 1].ahead_updated);
    update(Lane::rows, o, o + 1, first_row(o + 3), first_row(o + 4));
    steps_[o].next_far_front_updated = e_.record(Lane::rows);
    update(Lane::rows, o, o + 1, first_row(o + 4), layout_.order());
    steps_[o].next_column_updated = e_.record(Lane::rows);
  }

  // Copies L11 and L21 back to the block column, whose contents no lane needs any more.
  void write_back(std::size_t o) {
    const BlockColumn& column = columns_[o];
    each_own(o, [&](std::int64_t t) {
      const std::int64_t at = layout_.begin(t) - column.begin;
      e_.copy(Lane::rows, w_.diagonals[slot(o)].block(at, at, column.width() - at, layout_.width(t)),
              a_.tile(t, layout_.begin(t), column.end));
      w_.panels[slot(o)].pieces(
          column.end, layout_.order(), at, layout_.width(t),
          [&](std::int64_t row, MatrixView<T> from) { e_.copy(Lane::rows, from, a_.tile(t, row, row + from.rows)); });
    });
    steps_[o].written_back = e_.record(Lane::rows);
  }

  void update_others(std::size_t o) {
    e_.wait(Lane::ahead, steps_[o].all_rows_ready);
    const bool split = split_panel(Lane::ahead, o);
    const Event split_ready = split ? e_.record(Lane::ahead) : steps_[o].all_rows_ready;
    if (o > 0) e_.wait(Lane::ahead, steps_[o - 1].bulk_front_updated);
    update(Lane::ahead, o, o + 2, first_row(o + 2), layout_.order());
    steps_[o].ahead_updated = e_.record(Lane::ahead);

    e_.wait(Lane::bulk, split_ready);
    update(Lane::bulk, o, o + 3, first_row(o + 3), layout_.order());
    steps_[o].bulk_front_updated = e_.record(Lane::bulk);
    if (w_.arithmetic == Arithmetic::full) {
      for (std::size_t target = o + 4; target < columns_.size(); ++target) {
        update(Lane::bulk, o, target, first_row(target), layout_.order());
      }
    } else {
      update_together(Lane::bulk, o, o + 4);
    }
    steps_[o].bulk_updated = e_.record(Lane::bulk);
  }

  // Y1 = L11^-1 B1 on every rank; B2 = B2 - L21 Y1 in own rows, which are broadcast when their block column comes.
  void solve_rhs(std::size_t o) {
    const BlockColumn& column = columns_[o];
    if (!rhs_.empty()) {
      const std::int64_t nrhs = rhs_.columns;
      const auto in_own = [&](std::int64_t t) {
        return w_.own_rhs.block(layout_.packed_offset(t), 0, layout_.width(t), nrhs);
      };
      const auto in_all = [&](std::int64_t t) { return rhs_.block(layout_.begin(t), 0, layout_.width(t), nrhs); };
      if (o == 0) {
        for (const std::int64_t t : layout_.tiles_of(e_.rank())) e_.copy(Lane::rhs, in_all(t), in_own(t));
      }
      std::vector<Block> broadcast;
      for (std::int64_t t = column.first_tile; t < column.last_tile; ++t) {
        broadcast.push_back(make_block(layout_.owner(t), all_ranks, in_own(t), in_all(t)));
      }
      e_.exchange(Lane::rhs, broadcast);
      const auto y = rhs_.block(column.begin, 0, column.width(), nrhs);
      e_.wait(Lane::rhs, steps_[o].diagonal_ready);
      e_.trsm(Lane::rhs, Side::left, Uplo::lower, Op::none, Diag::non_unit, diagonal(o), y);
      e_.wait(Lane::rhs, steps_[o].all_rows_ready);
      const std::int64_t done = layout_.packed_before(e_.rank(), column.last_tile);
      const std::int64_t left = layout_.packed_total(e_.rank()) - done;
      e_.gemm(Lane::rhs, Op::none, Op::none, T(-1), w_.own_rows[slot(o)].block(done, 0, left, column.width()), y,
              w_.own_rhs.block(done, 0, left, nrhs));
    }
    steps_[o].rhs_updated = e_.record(Lane::rhs);
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  MatrixView<T> rhs_;
  PotrfWorkspace<T>& w_;
  std::int32_t* info_;  // this rank's entry
  std::vector<BlockColumn> columns_;
  std::vector<Step> steps_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && CholeskyOps<E, T>
void Potrf<T, E>::run() {
  [[maybe_unused]] const typename E::Range range("potrf");
  if (e_.size() == 1 && w_.panels.empty()) {
    const auto a = a_.columns.block(0, 0, layout_.order(), layout_.order());
    e_.potrf(Lane::panel, a, w_.failed);
    e_.check_factor(Lane::panel, a, w_.failed, 0, info_);
    e_.trsm(Lane::panel, Side::left, Uplo::lower, Op::none, Diag::non_unit, a, rhs_);
  } else {
    steps_.resize(columns_.size());
    for (std::size_t o = 0; o < columns_.size(); ++o) {
      factor_diagonal(o);
      solve_near(o);
      solve_mid(o);
      solve_far(o);
      write_back(o);
      update_others(o);
      solve_rhs(o);
    }
  }
  e_.join();
}

}  // namespace jaxmg
