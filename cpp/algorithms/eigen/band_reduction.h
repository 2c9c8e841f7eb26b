// Reduction of a Hermitian matrix dealt in tile columns to a band, Q^H A Q = B, by blocks of reflectors (Bischof,
// Lang and Sun, A framework for symmetric band reduction, ACM TOMS 26, 2000), and the way back, Z = Q Z.
//
// A panel is b columns, what lies below their diagonal block and the b - 1 diagonals under it is annihilated:
//
//   A21 = V R                  a QR factorisation on one rank, H = I - V T V^H
//   Y   = A22 V T              every rank makes the rows with the numbers of its own columns, and sends them to all
//   W   = Y - 1/2 V (V T)^H Y
//   A22 = H^H A22 H = A22 - V W^H - W V^H        every rank updates its own columns
//
// Both triangles are stored. That doubles the arithmetic, and makes all of it plain matrix products: a rank's share
// of A22 V is (its columns)^H V, without a sum over ranks, and the update is one product of depth 2b. (cuBLAS's
// symm and syr2k reach a fraction of gemm's rate at these shapes.)
//
// The update of A22 may wait for `delay` panels and is then a product of depth 2 b delay. Meanwhile what is owed is
// taken from what the matrix is read for: with A22 = A - L R^H, L = [V W ...], R = [W V ...], a panel subtracts
// L R^H from its columns, and Y is (A V - R (L^H V)) T, A being Hermitian. While the bulk of an update runs, the
// next panel is factored already: its columns are updated first.
//
// A keeps R and V where they came from, as LAPACK does: column j holds the band in rows j ... j + b and below them
// a column of V, whose one is not stored. Seen so, the columns of several panels are one unit lower trapezoid whose
// top lies b rows below the diagonal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/eigen_engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// The panels that a matrix of order n is reduced in. One row is in the band already.
inline std::int64_t band_panels(std::int64_t n, std::int64_t b) { return n - 2 >= b ? (n - 2) / b : 0; }

// Moves blocks between ranks; where there is one rank, all of them at once within its memory.
template <class E>
void exchange_or_copy(E& engine, const std::vector<Block>& blocks) {
  if (engine.size() > 1) {
    engine.exchange(Lane::panel, blocks);
  } else {
    engine.copy_all(Lane::panel, blocks);
  }
}

template <class T>
struct BandReductionWorkspace {
  MatrixView<T> panel;     // as one rank factors it and all receive it
  T* scratch;              // of geqrt
  MatrixView<T> own_y;     // own rows of A22 V, in the order of the shard
  MatrixView<T> products;  // L^H V, or V^H Y
  MatrixView<T> small;     // T^H V^H Y
  // Of every second group of panels: L = [V W ...], all rows, and own rows of R = [W V ...], in the shard's order.
  std::vector<MatrixView<T>> left, right;

  BandReductionWorkspace(Arena& arena, const TileColumns& layout, std::int64_t b, std::int64_t delay) {
    const std::int64_t n = layout.order(), depth = 2 * b * delay;
    panel = arena.matrix<T>(n, b);
    scratch = arena.take<T>(geqrt_scratch(b));
    own_y = arena.matrix<T>(layout.shard(), b);
    products = arena.matrix<T>(depth, b);
    small = arena.matrix<T>(b, b);
    for (int slot = 0; slot < 2; ++slot) {
      left.push_back(arena.matrix<T>(n, depth));
      right.push_back(arena.matrix<T>(layout.shard(), depth));
    }
  }
};

template <class T, class E>
  requires BandReductionEngine<E, T>
class BandReduction {
 public:
  // `a` is this rank's n rows by shard of A; R and V on return. `factors` (b by n) receives the T of every panel,
  // side by side, `band` (at least b + 1 by n) the band: element (i, j) at (i - j, j), zeros in all other places.
  // Rounding may leave imaginary parts on its diagonal.
  BandReduction(E& engine, const TileColumns& layout, std::int64_t b, std::int64_t delay, MatrixView<T> a,
                MatrixView<T> factors, MatrixView<T> band, BandReductionWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        b_(b),
        delay_(delay),
        n_(layout.order()),
        a_(a),
        factors_(factors),
        band_(band),
        w_(workspace) {}

  void run() {
    const std::int64_t panels = band_panels(n_, b_);
    for (std::int64_t p = 0; p < panels; ++p) {
      const Panel panel = panel_at(p);
      if (p > 0) update_panel(panel);
      factor(panel);
      multiply(panel);
      if (panel.last_of_group && p + 1 < panels) update_others(panel);
    }
    if (panels > 0) update(Lane::panel, panel_at(panels - 1), panel_at(panels - 1).row, n_);
    e_.join();
    collect_band();
    e_.join();
  }

 private:
  using Event = typename E::Event;
  struct Panel {
    std::int64_t column, row;  // its first column, and the first row of V
    std::int64_t rank;         // columns of V
    std::int64_t offset;       // of its columns in L and R
    std::size_t slot;          // of L and R
    bool last_of_group;
  };

  Panel panel_at(std::int64_t p) const {
    const std::int64_t column = p * b_, row = column + b_;
    return {column,
            row,
            std::min(b_, n_ - row),
            2 * b_ * (p % delay_),
            static_cast<std::size_t>(p / delay_ % 2),
            p % delay_ == delay_ - 1};
  }
  // A panel's V and W within L or R (where they are in the other order).
  static MatrixView<T> first(MatrixView<T> m, const Panel& p, std::int64_t row, std::int64_t end) {
    return m.block(row, p.offset, end - row, p.rank);
  }
  static MatrixView<T> second(MatrixView<T> m, const Panel& p, std::int64_t row, std::int64_t end) {
    return m.block(row, p.offset + p.rank, end - row, p.rank);
  }
  MatrixView<T> left(const Panel& p) const { return w_.left[p.slot]; }
  MatrixView<T> right(const Panel& p) const { return w_.right[p.slot]; }
  // H = I - V T V^H of a panel.
  MatrixView<T> factor_of(const Panel& p) const { return factors_.block(0, p.column, p.rank, p.rank); }

  // Calls visit(t, column, width) for the pieces of columns [begin, end) that each lie in one tile.
  template <class Visit>
  void pieces(std::int64_t begin, std::int64_t end, Visit&& visit) const {
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      const std::int64_t from = std::max(begin, layout_.begin(t)), to = std::min(end, layout_.end(t));
      if (from < to) visit(t, from, to - from);
    }
  }
  // Rows [row, end) of columns in tile t, where they lie in its owner's shard.
  MatrixView<T> in_place(std::int64_t t, std::int64_t column, std::int64_t width, std::int64_t row) const {
    return a_.block(row, layout_.local_offset(t) + column - layout_.begin(t), n_ - row, width);
  }

  // A = A - L R^H in rows from `begin` of own columns [begin, end), for all that the group of p holds up to p.
  void update(Lane lane, const Panel& p, std::int64_t begin, std::int64_t end, std::int64_t first_row = -1) {
    const std::int64_t row = first_row < 0 ? begin : first_row, depth = p.offset + 2 * p.rank;
    for (const Span& own : layout_.spans_of_columns(e_.rank(), begin, end)) {
      e_.gemm(lane, Op::none, Op::conj_transpose, T(-1), left(p).block(row, 0, n_ - row, depth),
              right(p).block(own.begin, 0, own.width, depth), a_.block(row, own.begin, n_ - row, own.width));
    }
  }

  // What the panels before owe to the columns of this one.
  void update_panel(const Panel& p) { update(Lane::panel, panel_at(p.column / b_ - 1), p.column, p.row); }

  // All others. The next panel's columns are left to the lane that factors it.
  void update_others(const Panel& p) {
    e_.wait(Lane::bulk, e_.record(Lane::panel));
    update(Lane::bulk, p, p.row + b_, n_, p.row);
    bulk_updated_ = e_.record(Lane::bulk);
    bulk_pending_ = true;
  }

  // The panel comes together on the owner of its first column, who factors it; R and V go to all, and back to where
  // they came from.
  void factor(const Panel& p) {
    const auto panel = w_.panel.block(p.row, 0, n_ - p.row, b_);
    std::vector<Block> collect, give_back;
    int master = -1;
    pieces(p.column, p.row, [&](std::int64_t t, std::int64_t column, std::int64_t width) {
      if (master < 0) master = layout_.owner(t);
      const auto there = in_place(t, column, width, p.row);
      const auto here = panel.block(0, column - p.column, panel.rows, width);
      collect.push_back(make_block(layout_.owner(t), master, there, here));
      if (layout_.owner(t) == e_.rank()) give_back.push_back(make_block(e_.rank(), e_.rank(), here, there));
    });
    exchange_or_copy(e_, collect);
    if (e_.rank() == master) e_.geqrt(Lane::panel, panel, factor_of(p), w_.scratch);
    if (e_.size() > 1) {
      e_.exchange(Lane::panel, {make_block(master, all_ranks, panel, panel),
                                make_block(master, all_ranks, factor_of(p), factor_of(p))});
    }
    const auto v = first(left(p), p, p.row, n_);
    give_back.push_back(make_block(e_.rank(), e_.rank(), panel.block(0, 0, panel.rows, p.rank), v));
    e_.copy_all(Lane::panel, give_back);
    e_.unit_lower(Lane::panel, v);
    std::vector<Block> own_rows;
    pieces(p.row, n_, [&](std::int64_t t, std::int64_t column, std::int64_t width) {
      if (layout_.owner(t) != e_.rank()) return;
      const std::int64_t local = layout_.local_offset(t) + column - layout_.begin(t);
      own_rows.push_back(make_block(e_.rank(), e_.rank(), first(left(p), p, column, column + width),
                                    second(right(p), p, local, local + width)));
    });
    e_.copy_all(Lane::panel, own_rows);
  }

  // W into L and R.
  void multiply(const Panel& p) {
    const auto v = first(left(p), p, p.row, n_), w = second(left(p), p, p.row, n_);
    const auto factor = factor_of(p);
    // What the group owes: L^H V of the panels before.
    const auto owed = w_.products.block(0, 0, p.offset, p.rank);
    if (p.offset > 0) {
      e_.zero(Lane::panel, owed);
      e_.gemm(Lane::panel, Op::conj_transpose, Op::none, T(1), left(p).block(p.row, 0, n_ - p.row, p.offset), v, owed);
    }
    if (bulk_pending_) {
      e_.wait(Lane::panel, bulk_updated_);
      bulk_pending_ = false;
    }
    for (const Span& own : layout_.spans_of_columns(e_.rank(), p.row, n_)) {
      const auto av = w_.own_y.block(own.begin, 0, own.width, p.rank);
      const auto y = first(right(p), p, own.begin, own.begin + own.width);
      e_.zero(Lane::panel, av);
      e_.gemm(Lane::panel, Op::conj_transpose, Op::none, T(1), a_.block(p.row, own.begin, n_ - p.row, own.width), v,
              av);
      if (p.offset > 0) {
        e_.gemm(Lane::panel, Op::none, Op::none, T(-1), right(p).block(own.begin, 0, own.width, p.offset), owed, av);
      }
      e_.zero(Lane::panel, y);
      e_.gemm(Lane::panel, Op::none, Op::none, T(1), av, factor, y);
    }
    // W is Y first, on all ranks.
    std::vector<Block> spread;
    pieces(p.row, n_, [&](std::int64_t t, std::int64_t row, std::int64_t count) {
      const std::int64_t local = layout_.local_offset(t) + row - layout_.begin(t);
      spread.push_back(make_block(layout_.owner(t), all_ranks, first(right(p), p, local, local + count),
                                  second(left(p), p, row, row + count)));
    });
    exchange_or_copy(e_, spread);
    // W = Y - 1/2 V S,  S = T^H (V^H Y).
    const auto vy = w_.products.block(0, 0, p.rank, p.rank), s = w_.small.block(0, 0, p.rank, p.rank);
    e_.zero(Lane::panel, vy);
    e_.gemm(Lane::panel, Op::conj_transpose, Op::none, T(1), v, w, vy);
    e_.zero(Lane::panel, s);
    e_.gemm(Lane::panel, Op::conj_transpose, Op::none, T(1), factor, vy, s);
    e_.gemm(Lane::panel, Op::none, Op::none, T(-0.5), v, s, w);
    for (const Span& own : layout_.spans_of_columns(e_.rank(), p.row, n_)) {
      const std::int64_t end = own.begin + own.width;
      e_.gemm(Lane::panel, Op::none, Op::none, T(-0.5), second(right(p), p, own.begin, end), s,
              first(right(p), p, own.begin, end));
    }
  }

  // Columns of the band are pieces of columns of A. Read with a leading dimension longer by one they are rectangles.
  void collect_band() {
    e_.zero(Lane::panel, band_);
    std::vector<Block> blocks;
    pieces(0, n_, [&](std::int64_t t, std::int64_t column, std::int64_t width) {
      const auto from = in_place(t, column, width, column);
      const auto add = [&](std::int64_t at, std::int64_t columns, std::int64_t rows) {
        blocks.push_back(make_block(layout_.owner(t), all_ranks,
                                    MatrixView<T>{from.at(at, at), rows, columns, from.ld + 1},
                                    band_.block(0, column + at, rows, columns)));
      };
      const std::int64_t whole = std::clamp<std::int64_t>(n_ - b_ - column, 0, width);
      if (whole > 0) add(0, whole, b_ + 1);
      for (std::int64_t j = whole; j < width; ++j) add(j, 1, n_ - column - j);
    });
    exchange_or_copy(e_, blocks);
  }

  E& e_;
  const TileColumns& layout_;
  std::int64_t b_, delay_, n_;
  MatrixView<T> a_, factors_, band_;
  BandReductionWorkspace<T>& w_;
  Event bulk_updated_{};
  bool bulk_pending_ = false;
};

// Z = Q Z for own columns of Z, with Q = H_0 H_1 ... of the reduction, blocks of panels from the last to the first:
// the reflectors of a block are I - V T V^H, too, with
//
//   [V1 V2]:  T = [ T1  -T1 (V1^H V2) T2 ]       (Schreiber and Van Loan, SIAM J. Sci. Stat. Comput. 10, 1989)
//                 [           T2         ]
//
// While one block is applied the next one is sent and put together.
template <class T>
struct BandBackTransformationWorkspace {
  std::vector<MatrixView<T>> v, t;  // of every second block
  MatrixView<T> products;           // V^H V
  MatrixView<T> column;             // (V1^H V2) T2
  MatrixView<T> vz, tvz;            // V^H Z and T V^H Z

  BandBackTransformationWorkspace(Arena& arena, const TileColumns& layout, std::int64_t b, std::int64_t depth,
                                  std::int64_t vectors) {
    for (int slot = 0; slot < 2; ++slot) {
      v.push_back(arena.matrix<T>(layout.order(), depth));
      t.push_back(arena.matrix<T>(depth, depth));
    }
    products = arena.matrix<T>(depth, depth);
    column = arena.matrix<T>(depth, b);
    vz = arena.matrix<T>(depth, vectors);
    tvz = arena.matrix<T>(depth, vectors);
  }
};

template <class T, class E>
  requires BandReductionEngine<E, T>
class BandBackTransformation {
 public:
  // `a` and `factors` as BandReduction left them; `z` has n rows and any number of columns. `depth` columns of V are
  // applied at once, a multiple of b.
  BandBackTransformation(E& engine, const TileColumns& layout, std::int64_t b, std::int64_t depth, MatrixView<T> a,
                         MatrixView<T> factors, MatrixView<T> z, BandBackTransformationWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        b_(b),
        panels_of_block_(depth / b),
        n_(layout.order()),
        a_(a),
        factors_(factors),
        z_(z),
        w_(workspace) {}

  void run() {
    const std::int64_t panels = band_panels(n_, b_);
    const std::int64_t blocks = (panels + panels_of_block_ - 1) / panels_of_block_;
    applied_.assign(static_cast<std::size_t>(blocks), {});
    for (std::int64_t i = 0; i < blocks; ++i) {
      const std::int64_t first = (blocks - 1 - i) * panels_of_block_;
      const std::int64_t last = std::min(first + panels_of_block_, panels);
      assemble(static_cast<std::size_t>(i), first, last);
      apply(static_cast<std::size_t>(i), first, last);
    }
    e_.join();
  }

 private:
  using Event = typename E::Event;

  std::int64_t row_of(std::int64_t panel) const { return (panel + 1) * b_; }
  // Columns of V in panels [first, last).
  std::int64_t columns(std::int64_t first, std::int64_t last) const {
    return std::min(last * b_, n_ - b_) - first * b_;
  }
  MatrixView<T> v(std::size_t i, std::int64_t first, std::int64_t last) const {
    return w_.v[i % 2].block(row_of(first), 0, n_ - row_of(first), columns(first, last));
  }
  MatrixView<T> t(std::size_t i, std::int64_t first, std::int64_t last) const {
    return w_.t[i % 2].block(0, 0, columns(first, last), columns(first, last));
  }

  // V and T of panels [first, last) on every rank.
  void assemble(std::size_t i, std::int64_t first, std::int64_t last) {
    if (i >= 2) e_.wait(Lane::panel, applied_[i - 2]);
    const std::int64_t row = row_of(first), begin = first * b_, end = begin + columns(first, last);
    std::vector<Block> blocks;
    for (std::int64_t tile = 0; tile < layout_.count(); ++tile) {
      const std::int64_t from = std::max(begin, layout_.begin(tile)), to = std::min(end, layout_.end(tile));
      if (from >= to) continue;
      blocks.push_back(
          make_block(layout_.owner(tile), all_ranks,
                     a_.block(row, layout_.local_offset(tile) + from - layout_.begin(tile), n_ - row, to - from),
                     v(i, first, last).block(0, from - begin, n_ - row, to - from)));
    }
    exchange_or_copy(e_, blocks);
    const auto all = v(i, first, last), merged = t(i, first, last);
    e_.unit_lower(Lane::panel, all);
    e_.zero(Lane::panel, merged);
    const auto products = w_.products.block(0, 0, all.columns, all.columns);
    if (last - first > 1) {
      e_.zero(Lane::panel, products);
      e_.gemm(Lane::panel, Op::conj_transpose, Op::none, T(1), all, all, products);
    }
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t before = (p - first) * b_, own = columns(p, p + 1);
      const auto t2 = merged.block(before, before, own, own);
      e_.copy(Lane::panel, factors_.block(0, p * b_, own, own), t2);
      if (p == first) continue;
      const auto column = w_.column.block(0, 0, before, own);
      e_.zero(Lane::panel, column);
      e_.gemm(Lane::panel, Op::none, Op::none, T(1), products.block(0, before, before, own), t2, column);
      e_.gemm(Lane::panel, Op::none, Op::none, T(-1), merged.block(0, 0, before, before), column,
              merged.block(0, before, before, own));
    }
  }

  // Z = Z - V T V^H Z.
  void apply(std::size_t i, std::int64_t first, std::int64_t last) {
    e_.wait(Lane::bulk, e_.record(Lane::panel));
    const auto all = v(i, first, last);
    const auto z = z_.block(row_of(first), 0, all.rows, z_.columns);
    const auto vz = w_.vz.block(0, 0, all.columns, z.columns), tvz = w_.tvz.block(0, 0, all.columns, z.columns);
    e_.zero(Lane::bulk, vz);
    e_.gemm(Lane::bulk, Op::conj_transpose, Op::none, T(1), all, z, vz);
    e_.zero(Lane::bulk, tvz);
    e_.gemm(Lane::bulk, Op::none, Op::none, T(1), t(i, first, last), vz, tvz);
    e_.gemm(Lane::bulk, Op::none, Op::none, T(-1), all, tvz, z);
    applied_[i] = e_.record(Lane::bulk);
  }

  E& e_;
  const TileColumns& layout_;
  std::int64_t b_, panels_of_block_, n_;
  MatrixView<T> a_, factors_, z_;
  BandBackTransformationWorkspace<T>& w_;
  std::vector<Event> applied_;
};

}  // namespace jaxmg
