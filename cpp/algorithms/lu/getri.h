// Inverse of M from its LU factors P M = L U in tile columns (see Getrf), in place: M^-1 = U^-1 L^-1 P.
//
//   L Y = I       top down, into the strictly lower triangle; the diagonal tiles of Y are stored separately
//   U Z = I       bottom up, into the upper triangle
//   W = Z Y       summed over the tile columns of Z; step t reads tile column t of Z and tile row t of Y, which later
//                 steps overwrite
//   M^-1 = W P    an all-to-all gives each rank all columns of some rows; columns are interchanged there, and a second
//                 all-to-all returns them. Both have a fixed shape, because the pivots stay on the device.
//
// All steps are GEMMs on every rank's own columns, with 4/3 n^3 multiply-adds as in LAPACK's getri. LAPACK solves
// X L = Z, and its residual is bounded by |Z L|; this residual is bounded by |Z| |Y| |L| |U| (Du Croz and Higham,
// "Stability of methods for matrix inversion", IMA J. Numer. Anal. 12, 1992, methods B and D). Partial pivoting keeps L
// well conditioned in practice. In tile columns, LAPACK's method would require sums over ranks or a second matrix.
//
// A matrix of one tile column is solved for instead, in two calls: L U M^-1 = P.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/panel.h"
#include "algorithms/slot_ring.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/staged_arena.h"
#include "engine/engine.h"
#include "engine/lu_ops.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct GetriWorkspace {
  // Products.
  MatrixView<T> lower_tiles;             // own diagonal tiles of Y, at the columns of the shard
  std::vector<MatrixView<T>> diagonals;  // of L or U
  std::vector<Panel<T>> panels;          // the other rows of a tile column
  std::vector<MatrixView<T>> tile_rows;  // a tile row of Y or Z in own columns
  // Interchanges, in the same memory.
  RowMoves* moves;
  std::int32_t* places;
  MatrixView<T> before, after;  // all columns of some rows

  GetriWorkspace(Arena& arena, const TileColumns& layout, std::int64_t slots) {
    const std::int64_t n = layout.order(), tile = std::min(layout.tile(), layout.shard());
    Arena interchanges = arena;  // both stages use the same memory
    lower_tiles = arena.matrix<T>(tile, layout.shard());
    for (std::int64_t i = 0; i < slots; ++i) {
      diagonals.push_back(arena.matrix<T>(tile, tile));
      panels.emplace_back(arena, n, tile);
      tile_rows.push_back(arena.matrix<T>(tile, layout.shard()));
    }
    moves = interchanges.take<RowMoves>(n);
    places = interchanges.take<std::int32_t>(n);
    before = interchanges.matrix<T>(tile, n);
    after = interchanges.matrix<T>(tile, n);
    if (interchanges.used() > arena.used()) arena = interchanges;
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && LuOps<E, T>
class Getri {
 public:
  Getri(E& engine, const TileColumns& layout, MatrixView<T> a, const std::int32_t* pivots, GetriWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        a_{layout, a, engine.rank()},
        pivots_(pivots),
        w_(workspace),
        ring_(engine, workspace.panels.size()) {}

  void run();

 private:
  std::vector<Span> own(std::int64_t first, std::int64_t last) const { return layout_.spans(e_.rank(), first, last); }
  Span own(std::int64_t t) const { return {layout_.local_offset(t), layout_.width(t)}; }

  // A tile row in own columns.
  MatrixView<T> tile_row(std::size_t slot, std::int64_t t, const Span& span) const {
    return w_.tile_rows[slot].block(0, span.begin, layout_.width(t), span.width);
  }
  MatrixView<T> lower_tile(std::int64_t t) const {
    return w_.lower_tiles.block(0, layout_.local_offset(t), layout_.width(t), layout_.width(t));
  }

  void send_panel(std::size_t slot, std::int64_t t, Range rows, std::vector<Block>& blocks) const {
    w_.panels[slot].pieces(rows.begin, rows.end, 0, layout_.width(t), [&](std::int64_t row, MatrixView<T> to) {
      blocks.push_back(make_block(layout_.owner(t), all_ranks, a_.tile(t, row, row + to.rows), to));
    });
  }

  // F Y = I for a triangle F, in place: Y_t = F_tt^-1 Y_t; then Y_s = Y_s - F_st Y_t for all later s. Tile column t is
  // read only in step t, and then overwritten by Y.
  void invert(Uplo uplo, Diag diag) {
    const bool lower = uplo == Uplo::lower;
    const std::int64_t n = layout_.order(), count = layout_.count();
    ring_.restart();
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t t = lower ? i : count - 1 - i, begin = layout_.begin(t), end = layout_.end(t);
      const auto step = static_cast<std::size_t>(i), slot = ring_.slot(step);
      const auto diagonal = w_.diagonals[slot].block(0, 0, end - begin, end - begin);
      const Range rest = lower ? Range{end, n} : Range{0, begin};
      ring_.await(Lane::rows, step);
      std::vector<Block> broadcast{make_block(layout_.owner(t), all_ranks, a_.diagonal(t), diagonal)};
      send_panel(slot, t, rest, broadcast);
      e_.exchange(Lane::rows, broadcast);
      if (a_.owns(t)) e_.zero(Lane::rows, a_.tile(t, rest.begin, rest.end));

      e_.wait(Lane::panel, e_.record(Lane::rows));
      const auto others = lower ? own(0, t) : own(t + 1, count), all = lower ? own(0, t + 1) : own(t, count);
      for (const Span& span : others) e_.copy(Lane::panel, a_.span(span, begin, end), tile_row(slot, t, span));
      if (a_.owns(t)) e_.identity(Lane::panel, tile_row(slot, t, own(t)));
      for (const Span& span : all) {
        e_.trsm(Lane::panel, Side::left, uplo, Op::none, diag, diagonal, tile_row(slot, t, span));
      }
      for (const Span& span : others) e_.copy(Lane::panel, tile_row(slot, t, span), a_.span(span, begin, end));
      if (a_.owns(t)) e_.copy(Lane::panel, tile_row(slot, t, own(t)), lower ? lower_tile(t) : a_.diagonal(t));
      e_.wait(Lane::bulk, e_.record(Lane::panel));

      const bool last = i + 1 == count;
      const std::int64_t bound = last ? (lower ? n : 0) : lower ? layout_.end(t + 1) : layout_.begin(t - 1);
      const Range near = lower ? Range{end, bound} : Range{bound, begin};
      const Range far = lower ? Range{bound, n} : Range{0, bound};
      ring_.update(step, near, far, [&](Lane lane, std::int64_t first, std::int64_t past) {
        w_.panels[slot].pieces(first, past, 0, end - begin, [&](std::int64_t row, MatrixView<T> f) {
          for (const Span& span : all) {
            e_.gemm(lane, Op::none, Op::none, T(-1), f, tile_row(slot, t, span), a_.span(span, row, row + f.rows));
          }
        });
      });
    }
    e_.join();
  }

  // W = sum over t of Z_:,t Y_t,:
  void multiply() {
    ring_.restart();
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      const std::int64_t begin = layout_.begin(t), end = layout_.end(t);
      const auto step = static_cast<std::size_t>(t), slot = ring_.slot(step);
      ring_.await(Lane::rows, step);
      std::vector<Block> broadcast;
      send_panel(slot, t, {0, end}, broadcast);
      e_.exchange(Lane::rows, broadcast);
      for (const Span& span : own(0, t)) {
        e_.copy(Lane::rows, a_.span(span, begin, end), tile_row(slot, t, span));
        e_.zero(Lane::rows, a_.span(span, begin, end));
      }
      if (a_.owns(t)) {
        e_.copy(Lane::rows, lower_tile(t), tile_row(slot, t, own(t)));
        e_.zero(Lane::rows, a_.tile(t, 0, end));
      }
      e_.wait(Lane::bulk, e_.record(Lane::rows));
      w_.panels[slot].pieces(0, end, 0, end - begin, [&](std::int64_t row, MatrixView<T> z) {
        for (const Span& span : own(0, t + 1)) {
          e_.gemm(Lane::bulk, Op::none, Op::none, T(1), z, tile_row(slot, t, span), a_.span(span, row, row + z.rows));
        }
      });
      ring_.used(Lane::bulk, step);
    }
    e_.join();
  }

  // L U M^-1 = P, by the rank that has the tile column. P is the identity with the columns of W P.
  void solve() {
    constexpr Lane lane = Lane::rows;
    const std::int64_t n = layout_.order();
    if (a_.owns(0)) {
      const auto a = a_.diagonal(0), x = w_.after.block(0, 0, n, n), identity = w_.before.block(0, 0, n, n);
      find_places(lane);
      e_.identity(lane, identity);
      e_.gather_columns(lane, identity, w_.places, x);
      e_.trsm(lane, Side::left, Uplo::lower, Op::none, Diag::unit, a, x);
      e_.trsm(lane, Side::left, Uplo::upper, Op::none, Diag::non_unit, a, x);
      e_.copy(lane, x, a);
    }
    e_.join();
  }

  // P moved row j of M to row places[j].
  void find_places(Lane lane) {
    const std::int64_t n = layout_.order();
    e_.plan_interchanges(lane, pivots_, 0, n, n, w_.moves);
    e_.number(lane, n, w_.places);
    e_.place(lane, w_.moves, n, w_.places);
  }

  // W P: column j is column places[j] of W.
  void interchange_columns() {
    constexpr Lane lane = Lane::rows;
    const std::int64_t n = layout_.order(), height = w_.before.rows;
    find_places(lane);
    for (std::int64_t first = 0; first < n; first += height * e_.size()) {
      const auto row = [&](int rank) { return std::min(n, first + rank * height); };
      std::vector<Block> there, back;
      for (int r = 0; r < e_.size(); ++r) {
        const std::int64_t rows = row(r + 1) - row(r);
        for (std::int64_t t = 0; t < layout_.count() && rows > 0; ++t) {
          const auto piece = a_.tile(t, row(r), row(r) + rows);
          const auto in = [&](MatrixView<T> m) { return m.block(0, layout_.begin(t), rows, layout_.width(t)); };
          there.push_back(make_block(layout_.owner(t), r, piece, in(w_.before)));
          back.push_back(make_block(r, layout_.owner(t), in(w_.after), piece));
        }
      }
      e_.exchange(lane, there);
      const std::int64_t rows = row(e_.rank() + 1) - row(e_.rank());
      e_.gather_columns(lane, w_.before.block(0, 0, rows, n), w_.places, w_.after.block(0, 0, rows, n));
      e_.exchange(lane, back);
    }
    e_.join();
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  const std::int32_t* pivots_;
  GetriWorkspace<T>& w_;
  SlotRing<E> ring_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && LuOps<E, T>
void Getri<T, E>::run() {
  if (layout_.count() == 1) return solve();
  invert(Uplo::lower, Diag::unit);
  invert(Uplo::upper, Diag::non_unit);
  multiply();
  interchange_columns();
}

}  // namespace jaxmg
