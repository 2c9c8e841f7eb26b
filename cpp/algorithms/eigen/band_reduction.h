// Reduction of a Hermitian matrix dealt in tile columns to a band, Q^H A Q = B, by blocks of reflectors (Bischof, Lang
// and Sun, A framework for symmetric band reduction, ACM TOMS 26, 2000).
//
// A panel is b columns. The reduction annihilates their elements more than b rows below the diagonal:
//
//   A21 = V R                  a QR factorisation on one rank, H = I - V T V^H
//   Z   = A22 V                every rank computes the rows with the indices of its own columns, and broadcasts them
//   W   = Z T - 1/2 V T^H (V^H Z) T
//   A22 = H^H A22 H = A22 - V W^H - W V^H        every rank updates its own columns
//
// Both triangles are stored. This doubles the arithmetic, but makes all of it plain matrix products: a rank's share of
// A22 V is (its columns)^H V, without a sum over ranks, and the update is one product of depth 2b. (cuBLAS's symm and
// syr2k reach a fraction of gemm's rate at these shapes.)
//
// The update of A22 may wait for `delay` panels and is then a product of depth 2 b delay. Until then pending updates
// are applied on the fly wherever A is read: with A22 = A - L R^H, L = [V W ...], R = [W V ...], a panel subtracts L
// R^H from its columns, and Z is A V - R (L^H V), as A is Hermitian. The columns of the next panel are updated
// first, and that panel is factored while the bulk of the update runs.
//
// A keeps R and V in place, as LAPACK does: column j holds the band in rows j ... j + b and below them a column of V
// with an implicit unit diagonal. The columns of several panels therefore form one unit lower trapezoid whose top lies
// b rows below the diagonal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/qr/geqrf_panel.h"
#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/panel_qr_ops.h"
#include "engine/scratch.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

// The number of panels of a matrix of order n. A panel of one row lies in the band already.
inline std::int64_t band_panels(std::int64_t n, std::int64_t b) { return n - 2 >= b ? (n - 2) / b : 0; }

template <class T>
struct BandReductionWorkspace {
  MatrixView<T> panel;  // gathered, factored, and broadcast, where it does not lie in one tile
  GeqrfPanelWorkspace<T> qr;
  MatrixView<T> own_y;            // own rows of A22 V, in the order of the shard
  MatrixView<T> products;         // L^H V
  T* two_sided;                   // the engine's scratch
  MatrixView<std::byte> scratch;  // lent to products
  // Double-buffered over groups of panels: all rows of L = [V W ...], and own rows of R = [W V ...] in the shard's
  // order.
  std::vector<MatrixView<T>> left, right;

  BandReductionWorkspace(Arena& arena, const TileColumns& layout, std::int64_t b, std::int64_t delay,
                         std::int64_t scratch_bytes = 0)
      : panel(arena.matrix<T>(layout.order(), b)), qr(arena, b, b) {
    const std::int64_t n = layout.order(), depth = 2 * b * delay;
    own_y = arena.matrix<T>(layout.shard(), b);
    products = arena.matrix<T>(depth, b);
    two_sided = arena.take<T>(two_sided_scratch(b));
    if (scratch_bytes > 0) scratch = arena.matrix<std::byte>(scratch_bytes, 1);
    for (int slot = 0; slot < 2; ++slot) {
      left.push_back(arena.matrix<T>(n, depth));
      right.push_back(arena.matrix<T>(layout.shard(), depth));
    }
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && PanelQrOps<E, T>
class BandReduction {
 public:
  // `a` is this rank's n x shard columns of A, and holds R and V on return. `factors` (b by n) receives the T of every
  // panel, side by side. `band` (at least b + 1 by n) receives the band: element (i, j) at (i - j, j), zeros elsewhere.
  // Rounding may leave imaginary parts on its diagonal.
  BandReduction(E& engine, const TileColumns& layout, std::int64_t b, std::int64_t delay, MatrixView<T> a,
                MatrixView<T> factors, MatrixView<T> band, BandReductionWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        b_(b),
        delay_(delay),
        n_(layout.order()),
        a_{layout, a, engine.rank()},
        factors_(factors),
        band_(band),
        w_(workspace) {}

  void run();

 private:
  using Event = typename E::Event;
  struct Panel {
    std::int64_t column, row;  // the first column of the panel, and the first row of V
    std::int64_t rank;         // columns of V
    std::int64_t offset;       // of the panel's columns in L and R
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
  // V and W of a panel within L, or W and V within R.
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

  // Rows from `row` on of columns in tile t, in its owner's shard.
  MatrixView<T> in_place(std::int64_t t, std::int64_t column, std::int64_t width, std::int64_t row) const {
    return a_.span({layout_.local_column(t, column), width}, row, n_);
  }

  // A = A - L R^H in rows from `first_row` (default: `begin`) on of own columns [begin, end), for the panels of the
  // group of p up to p.
  void update(Lane lane, const Panel& p, std::int64_t begin, std::int64_t end, std::int64_t first_row = -1) {
    const std::int64_t row = first_row < 0 ? begin : first_row, depth = p.offset + 2 * p.rank;
    for (const Span& own : layout_.spans_of_columns(e_.rank(), begin, end)) {
      e_.gemm(lane, Op::none, Op::conj_transpose, T(-1), left(p).block(row, 0, n_ - row, depth),
              right(p).block(own.begin, 0, own.width, depth), a_.span(own, row, n_));
    }
  }

  // Applies the pending updates of earlier panels to the columns of this panel.
  void update_panel(const Panel& p) { update(Lane::panel, panel_at(p.column / b_ - 1), p.column, p.row); }

  // Updates all other columns except the next panel, which is updated in the lane that factors it.
  void update_others(const Panel& p) {
    e_.wait(Lane::bulk, e_.record(Lane::panel));
    update(Lane::bulk, p, p.row + b_, n_, p.row);
    bulk_updated_ = e_.record(Lane::bulk);
    bulk_pending_ = true;
  }

  // Factors a panel on its owner, and broadcasts V and T. On return L holds V.
  void factor(const Panel& p) {
    std::vector<MatrixView<T>> pieces;
    int owner = -1;
    layout_.pieces(p.column, p.row, [&](std::int64_t t, std::int64_t column, std::int64_t width) {
      if (pieces.empty()) owner = layout_.owner(t);
      pieces.push_back(in_place(t, column, width, p.row));
    });
    if (pieces.size() == 1) {
      factor_in_place(p, owner, pieces.front());
    } else {
      gather_and_factor(p);
    }
    const auto v = first(left(p), p, p.row, n_);
    e_.unit_lower(Lane::panel, v);
  }

  void factor_on(int owner, const Panel& p, MatrixView<T> panel) {
    if (e_.rank() != owner) return;
    if (panel.rows < panel.columns) {
      e_.geqrt(Lane::panel, panel, factor_of(p), w_.qr.scratch);
    } else {
      GeqrfPanel<T, E>(e_, Lane::panel, panel, factor_of(p), w_.qr).run();
    }
  }

  // A panel that lies in one tile.
  void factor_in_place(const Panel& p, int owner, MatrixView<T> panel) {
    factor_on(owner, p, panel);
    std::vector<Block> blocks{
        make_block(owner, all_ranks, panel.block(0, 0, panel.rows, p.rank), first(left(p), p, p.row, n_))};
    if (e_.size() > 1) blocks.push_back(make_block(owner, all_ranks, factor_of(p), factor_of(p)));
    e_.exchange(Lane::panel, blocks);
  }

  // Gathers the panel on the owner of its first column, which factors it; broadcasts R and V, and copies them back in
  // place.
  void gather_and_factor(const Panel& p) {
    const auto panel = w_.panel.block(p.row, 0, n_ - p.row, b_);
    std::vector<Block> gather, write_back;
    int master = -1;
    layout_.pieces(p.column, p.row, [&](std::int64_t t, std::int64_t column, std::int64_t width) {
      if (master < 0) master = layout_.owner(t);
      const auto there = in_place(t, column, width, p.row);
      const auto here = panel.block(0, column - p.column, panel.rows, width);
      gather.push_back(make_block(layout_.owner(t), master, there, here));
      if (a_.owns(t)) write_back.push_back(make_block(e_.rank(), e_.rank(), here, there));
    });
    e_.exchange(Lane::panel, gather);
    factor_on(master, p, panel);
    if (e_.size() > 1) {
      e_.exchange(Lane::panel, {make_block(master, all_ranks, panel, panel),
                                make_block(master, all_ranks, factor_of(p), factor_of(p))});
    }
    write_back.push_back(
        make_block(e_.rank(), e_.rank(), panel.block(0, 0, panel.rows, p.rank), first(left(p), p, p.row, n_)));
    e_.copy_all(Lane::panel, write_back);
  }

  // Computes W, and stores it in L, and own rows of W and V in R.
  void multiply(const Panel& p) {
    const auto v = first(left(p), p, p.row, n_), w = second(left(p), p, p.row, n_);
    // L^H V of the earlier panels of the group, whose updates are pending.
    const auto pending = w_.products.block(0, 0, p.offset, p.rank);
    if (p.offset > 0) {
      e_.product(Lane::panel, Op::conj_transpose, Op::none, T(1), left(p).block(p.row, 0, n_ - p.row, p.offset), v,
                 pending);
    }
    if (bulk_pending_) {
      e_.wait(Lane::panel, bulk_updated_);
      bulk_pending_ = false;
    }
    for (const Span& own : layout_.spans_of_columns(e_.rank(), p.row, n_)) {
      const auto av = own_rows(p, own.begin, own.width);
      e_.product(Lane::panel, Op::conj_transpose, Op::none, T(1), a_.span(own, p.row, n_), v, av);
      if (p.offset > 0) {
        e_.gemm(Lane::panel, Op::none, Op::none, T(-1), right(p).block(own.begin, 0, own.width, p.offset), pending, av);
      }
    }
    std::vector<Block> broadcast, own;
    layout_.pieces(p.row, n_, [&](std::int64_t t, std::int64_t row, std::int64_t count) {
      const std::int64_t local = layout_.local_column(t, row), end = row + count;
      broadcast.push_back(
          make_block(layout_.owner(t), all_ranks, own_rows(p, local, count), second(left(p), p, row, end)));
      if (!a_.owns(t)) return;
      own.push_back(
          make_block(e_.rank(), e_.rank(), second(left(p), p, row, end), first(right(p), p, local, local + count)));
      own.push_back(
          make_block(e_.rank(), e_.rank(), first(left(p), p, row, end), second(right(p), p, local, local + count)));
    });
    if (e_.size() > 1) e_.exchange(Lane::panel, broadcast);
    e_.two_sided(Lane::panel, v, factor_of(p), w, w_.two_sided);
    e_.copy_all(Lane::panel, own);
  }
  // Own rows of A22 V: in their place in L if one rank has all rows.
  MatrixView<T> own_rows(const Panel& p, std::int64_t begin, std::int64_t count) const {
    if (e_.size() == 1) return second(left(p), p, begin, begin + count);
    return w_.own_y.block(begin, 0, count, p.rank);
  }

  // Gathers the band. Its columns are contiguous in columns of A; with a leading dimension longer by one they form
  // rectangles.
  void collect_band() {
    e_.zero(Lane::panel, band_);
    std::vector<Block> blocks;
    layout_.pieces(0, n_, [&](std::int64_t t, std::int64_t column, std::int64_t width) {
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
    e_.exchange(Lane::panel, blocks);
  }

  E& e_;
  const TileColumns& layout_;
  std::int64_t b_, delay_, n_;
  TiledShard<T> a_;
  MatrixView<T> factors_, band_;
  BandReductionWorkspace<T>& w_;
  Event bulk_updated_{};
  bool bulk_pending_ = false;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && PanelQrOps<E, T>
void BandReduction<T, E>::run() {
  const std::int64_t panels = band_panels(n_, b_);
  e_.lend_scratch(Lane::panel, w_.scratch);
  for (std::int64_t p = 0; p < panels; ++p) {
    const Panel panel = panel_at(p);
    if (p > 0) update_panel(panel);
    factor(panel);
    multiply(panel);
    if (panel.last_of_group && p + 1 < panels) update_others(panel);
  }
  if (panels > 0) update(Lane::panel, panel_at(panels - 1), panel_at(panels - 1).row, n_);
  e_.lend_scratch(Lane::panel, {});
  e_.join();
  collect_band();
  e_.join();
}

}  // namespace jaxmg
