// Solves op(F) X = B with a triangle of a factor in tile columns, for few right-hand sides.
//
// Every rank holds all of B, and the factor is not moved. An engine may solve the whole system in one operation
// (engine/sweep_ops.h). Otherwise, the critical path has one step per tile: its owner solves with the diagonal tile,
// and each rank adds the updates of later tiles by its own part of the factor. Without a transpose (by columns) partial
// sums are gathered on the owner of the next tile. With a transpose (by dot products with columns) the solved tile of X
// is broadcast.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/slot_ring.h"
#include "algorithms/triangular/triangle.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/sweep_ops.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct TrsmFewWorkspace {
  MatrixView<T> sums;      // by columns: updates by own columns, all rows; by dot products: of own columns
  MatrixView<T> received;  // a tile's rows of each rank's sums, side by side
  SweepWorkspace<T> sweep;

  // Both ways use the same memory: which one a call takes is known when its ranks have met.
  TrsmFewWorkspace(Arena& arena, const TileColumns& layout, std::int64_t nrhs)
      : TrsmFewWorkspace(arena, arena, layout, nrhs) {}

 private:
  TrsmFewWorkspace(Arena& arena, Arena same, const TileColumns& layout, std::int64_t nrhs) : sweep(same, layout, nrhs) {
    if (layout.ranks() > 1) {
      const std::int64_t tile = std::min(layout.tile(), layout.order());
      sums = arena.matrix<T>(std::max(layout.order(), layout.shard()), nrhs);
      received = arena.matrix<T>(tile, nrhs * layout.ranks());
    }
    arena.take<std::byte>(std::max<std::int64_t>(0, same.used() - arena.used()));
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class TrsmFew {
 public:
  TrsmFew(E& engine, const TileColumns& layout, MatrixView<T> factor, MatrixView<T> x, TrsmFewWorkspace<T>& workspace)
      : e_(engine), layout_(layout), a_{layout, factor, engine.rank()}, x_(x), w_(workspace) {}

  // Requires all rows of B on every rank, or at least the rows of its own tiles. Returns X in the rows of own tiles;
  // with a transpose in all rows.
  void solve(const TriangularSystem& system);

  // Broadcasts the rows of all tiles from their owners.
  void share() {
    std::vector<Block> broadcast;
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      broadcast.push_back(make_block(layout_.owner(t), all_ranks, rows_of(x_, t), rows_of(x_, t)));
    }
    if (e_.size() > 1) e_.exchange(Lane::panel, broadcast);
    e_.join();
  }

 private:
  using Event = typename E::Event;

  MatrixView<T> rows_of(MatrixView<T> m, std::int64_t t) const {
    return m.block(layout_.begin(t), 0, layout_.width(t), m.columns);
  }
  // Step i solves for tile i from the front, or from the back.
  std::int64_t tile(const TriangularSystem& system, std::int64_t i) const {
    return system.ascending() ? i : layout_.count() - 1 - i;
  }
  // The tiles of steps [first, last), a non-empty range.
  Range tiles(const TriangularSystem& system, std::int64_t first, std::int64_t last) const {
    const std::int64_t one = tile(system, first), other = tile(system, last - 1);
    return {std::min(one, other), std::max(one, other) + 1};
  }
  // End of the steps whose tiles are updated on the critical path: the next P tiles, one per owner.
  std::int64_t near_end(std::int64_t i) const { return std::min(layout_.count(), i + 1 + e_.size()); }

  // X_t = F_tt^-1 (B_t - sum over earlier s of F_ts X_s); the owner of s holds F_ts and accumulates its updates of t.
  void solve_by_columns(const TriangularSystem& system) {
    const std::int64_t nrhs = x_.columns;
    const auto sums = w_.sums.block(0, 0, layout_.order(), nrhs);
    e_.zero(Lane::panel, sums);
    Event far_done{};          // of the last own tile
    bool far_pending = false;  // whether lane `panel` must still wait for it
    std::int64_t last_own = -1;
    for (std::int64_t i = 0; i < layout_.count(); ++i) {
      const std::int64_t t = tile(system, i);
      // Far updates by the last own tile reach rows of tiles from near_end on.
      if (far_pending && i >= near_end(last_own)) {
        e_.wait(Lane::panel, far_done);
        far_pending = false;
      }
      const int owner = layout_.owner(t);
      std::vector<Block> gather;
      const auto received = [&](int r) { return w_.received.block(0, r * nrhs, layout_.width(t), nrhs); };
      for (int r = 0; r < e_.size() && i > 0; ++r) {
        if (r != owner) gather.push_back(make_block(r, owner, rows_of(sums, t), received(r)));
      }
      e_.exchange(Lane::panel, gather);
      if (e_.rank() != owner) continue;
      std::vector<MatrixView<T>> terms;
      for (int r = 0; r < e_.size(); ++r) terms.push_back(r == owner ? rows_of(sums, t) : received(r));
      if (i > 0) e_.subtract(Lane::panel, terms, rows_of(x_, t));
      e_.trsm(Lane::panel, Side::left, system.uplo, Op::none, system.diag, a_.diagonal(t), rows_of(x_, t));
      if (far_pending) e_.wait(Lane::panel, far_done);
      const auto accumulate_updates = [&](Lane lane, std::int64_t first, std::int64_t last) {
        if (first == last) return;
        const Range rows = tiles(system, first, last);
        const std::int64_t begin = layout_.begin(rows.begin), end = layout_.end(rows.end - 1);
        e_.gemm(lane, Op::none, Op::none, T(1), a_.tile(t, begin, end), rows_of(x_, t),
                sums.block(begin, 0, end - begin, nrhs));
      };
      const Event solved = e_.record(Lane::panel);
      accumulate_updates(Lane::panel, i + 1, near_end(i));
      e_.wait(Lane::bulk, solved);
      accumulate_updates(Lane::bulk, near_end(i), layout_.count());
      far_done = e_.record(Lane::bulk);
      far_pending = true;
      last_own = i;
    }
  }

  // X_t = op(F_tt)^-1 (B_t - sum over earlier s of op(F_st) X_s); the owner of t holds all F_st and receives each X_s.
  void solve_by_dot_products(const TriangularSystem& system) {
    const std::int64_t nrhs = x_.columns;
    const auto sums = w_.sums.block(0, 0, layout_.shard(), nrhs);  // a row for each column of the shard
    e_.zero(Lane::panel, sums);
    Event far_done{};
    const Event zeroed = e_.record(Lane::panel);
    e_.wait(Lane::bulk, zeroed);
    for (std::int64_t i = 0; i < layout_.count(); ++i) {
      const std::int64_t t = tile(system, i), near = near_end(i);
      const int owner = layout_.owner(t);
      if (e_.rank() == owner) {
        const auto own_sums = sums.block(layout_.local_offset(t), 0, layout_.width(t), nrhs);
        e_.subtract(Lane::panel, std::vector{own_sums}, rows_of(x_, t));
        e_.trsm(Lane::panel, Side::left, system.uplo, system.op, system.diag, a_.diagonal(t), rows_of(x_, t));
      }
      e_.exchange(Lane::panel, {make_block(owner, all_ranks, rows_of(x_, t), rows_of(x_, t))});
      const Event solved = e_.record(Lane::panel);
      // sums_s += op(F_ts) X_t for own tiles s of steps [first, last), one product for neighbouring tiles.
      const auto accumulate_dot_products = [&](Lane lane, std::int64_t first, std::int64_t last) {
        if (first == last) return;
        const Range later = tiles(system, first, last);
        for (const Span& own : layout_.spans(e_.rank(), later.begin, later.end)) {
          e_.gemm(lane, system.op, Op::none, T(1), a_.span(own, layout_.begin(t), layout_.end(t)), rows_of(x_, t),
                  sums.block(own.begin, 0, own.width, nrhs));
        }
      };
      // Own tiles of the next steps are updated on the critical path, all others in lane `bulk`. An own tile that
      // becomes near must wait for its updates in lane `bulk`.
      if (i > 0 && a_.owns(tile(system, near - 1))) e_.wait(Lane::panel, far_done);
      accumulate_dot_products(Lane::panel, i + 1, near);
      e_.wait(Lane::bulk, solved);
      accumulate_dot_products(Lane::bulk, near, layout_.count());
      far_done = e_.record(Lane::bulk);
    }
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  MatrixView<T> x_;
  TrsmFewWorkspace<T>& w_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void TrsmFew<T, E>::solve(const TriangularSystem& system) {
  if constexpr (SweepOps<E, T>) {
    if (e_.size() > 1 && x_.columns <= most_sweep_columns<T> && e_.can_sweep()) {
      e_.sweep(Lane::panel, layout_, {system.uplo, system.op, system.diag, a_.columns, x_}, w_.sweep);
      e_.join();
      return;
    }
  }
  if (e_.size() == 1) {
    const auto factor = a_.columns.block(0, 0, layout_.order(), layout_.order());
    e_.trsm(Lane::panel, Side::left, system.uplo, system.op, system.diag, factor, x_);
  } else if (system.op == Op::none) {
    solve_by_columns(system);
  } else {
    solve_by_dot_products(system);
  }
  e_.join();
}

}  // namespace jaxmg
