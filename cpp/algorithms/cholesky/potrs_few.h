// Solves L L^H X = B with the factor that Potrf leaves in tile columns, for few right-hand sides.
//
// Every rank holds all of B, and the factor stays where it is. The critical path has one step a tile: its owner solves
// with the diagonal tile, and each rank forms the sums that later tiles need from its own part of the factor. In the
// forward sweep (L Y = B, by columns) partial sums are gathered on the owner of the next tile; in the backward sweep
// (L^H X = Y, by dot products with columns) the solved piece of X is broadcast.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct PotrsFewWorkspace {
  MatrixView<T> sums;      // forward: updates by own columns, for each row; backward: updates of own columns
  MatrixView<T> received;  // a tile's rows of each rank's sums, side by side

  PotrsFewWorkspace(Arena& arena, const TileColumns& layout, std::int64_t nrhs) {
    if (layout.ranks() == 1) return;
    const std::int64_t tile = std::min(layout.tile(), layout.order());
    sums = arena.matrix<T>(std::max(layout.order(), layout.shard()), nrhs);
    received = arena.matrix<T>(tile, nrhs * layout.ranks());
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class PotrsFew {
 public:
  // `x` holds B (n x nrhs) on every rank, and X on return.
  PotrsFew(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<T> x, PotrsFewWorkspace<T>& workspace)
      : e_(engine), layout_(layout), a_{layout, a, engine.rank()}, x_(x), w_(workspace) {}

  void run();

  // L Y = B. On return X holds Y in the rows of own tiles; other rows still hold B.
  void forward() {
    if (e_.size() == 1) {
      e_.trsm(Lane::panel, Side::left, Uplo::lower, Op::none, Diag::non_unit, whole_factor(), x_);
    } else {
      forward_chain();
    }
    e_.join();
  }

  // Broadcasts the rows of all tiles from their owners.
  void share() {
    std::vector<Block> broadcast;
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      broadcast.push_back(make_block(layout_.owner(t), all_ranks, rows_of(x_, t), rows_of(x_, t)));
    }
    if (e_.size() > 1) e_.exchange(Lane::panel, broadcast);
    e_.join();
  }

  // L^H X = Y, where every rank has all of Y or the rows of its own tiles.
  void backward() {
    if (e_.size() == 1) {
      e_.trsm(Lane::panel, Side::left, Uplo::lower, Op::conj_transpose, Diag::non_unit, whole_factor(), x_);
    } else {
      backward_chain();
    }
    e_.join();
  }

 private:
  using Event = typename E::Event;

  MatrixView<T> whole_factor() const { return a_.columns.block(0, 0, layout_.order(), layout_.order()); }
  MatrixView<T> rows_of(MatrixView<T> m, std::int64_t t) const {
    return m.block(layout_.begin(t), 0, layout_.width(t), m.columns);
  }
  // The end of the tiles updated on the critical path: the next P tiles, one for each owner.
  std::int64_t near_end(std::int64_t t) const { return std::min(layout_.count(), t + 1 + e_.size()); }

  // Y_t = L_tt^-1 (B_t - sum over s < t of L_ts Y_s); the owner of s holds L_ts and accumulates its updates of t.
  void forward_chain() {
    const std::int64_t nrhs = x_.columns;
    const auto sums = w_.sums.block(0, 0, layout_.order(), nrhs);
    e_.zero(Lane::panel, sums);
    Event far_done{};          // of the last own tile
    bool far_pending = false;  // whether lane `panel` has yet to wait for it
    std::int64_t last_own = -1;
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      // Far updates by the last own tile reach rows of tiles from near_end on.
      if (far_pending && t >= near_end(last_own)) {
        e_.wait(Lane::panel, far_done);
        far_pending = false;
      }
      const int owner = layout_.owner(t);
      std::vector<Block> gather;
      const auto received = [&](int r) { return w_.received.block(0, r * nrhs, layout_.width(t), nrhs); };
      for (int r = 0; r < e_.size() && t > 0; ++r) {
        if (r != owner) gather.push_back(make_block(r, owner, rows_of(sums, t), received(r)));
      }
      e_.exchange(Lane::panel, gather);
      if (e_.rank() != owner) continue;
      std::vector<MatrixView<T>> terms;
      for (int r = 0; r < e_.size(); ++r) terms.push_back(r == owner ? rows_of(sums, t) : received(r));
      if (t > 0) e_.subtract(Lane::panel, terms, rows_of(x_, t));
      e_.trsm(Lane::panel, Side::left, Uplo::lower, Op::none, Diag::non_unit, a_.diagonal(t), rows_of(x_, t));
      if (far_pending) e_.wait(Lane::panel, far_done);
      const auto accumulate_updates = [&](Lane lane, std::int64_t begin, std::int64_t end) {
        e_.gemm(lane, Op::none, Op::none, T(1), a_.tile(t, begin, end), rows_of(x_, t),
                sums.block(begin, 0, end - begin, nrhs));
      };
      const std::int64_t near = layout_.end(near_end(t) - 1);
      const Event solved = e_.record(Lane::panel);
      accumulate_updates(Lane::panel, layout_.end(t), near);
      e_.wait(Lane::bulk, solved);
      if (near < layout_.order()) accumulate_updates(Lane::bulk, near, layout_.order());
      far_done = e_.record(Lane::bulk);
      far_pending = true;
      last_own = t;
    }
  }

  // X_t = L_tt^-H (Y_t - sum over s > t of L_st^H X_s); the owner of t holds all L_st and receives each X_s.
  void backward_chain() {
    const std::int64_t nrhs = x_.columns;
    const auto sums = w_.sums.block(0, 0, layout_.shard(), nrhs);  // a row for each column of the shard
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
        e_.trsm(Lane::panel, Side::left, Uplo::lower, Op::conj_transpose, Diag::non_unit, a_.diagonal(t),
                rows_of(x_, t));
      }
      e_.exchange(Lane::panel, {make_block(owner, all_ranks, rows_of(x_, t), rows_of(x_, t))});
      const Event solved = e_.record(Lane::panel);
      // Own tiles near before t are updated on the critical path, all others in lane `bulk`. An own tile that has just
      // become near was far until now: those updates must be done before its next one.
      const std::int64_t near = std::max<std::int64_t>(0, t - e_.size());
      if (t < last && a_.owns(near)) e_.wait(Lane::panel, far_done);
      accumulate_dot_products(Lane::panel, t, near, t);
      e_.wait(Lane::bulk, solved);
      accumulate_dot_products(Lane::bulk, t, 0, near);
      far_done = e_.record(Lane::bulk);
    }
  }

  // sums_s += L_ts^H X_t for own tiles s in [first, last), one product for neighbouring tiles.
  void accumulate_dot_products(Lane lane, std::int64_t t, std::int64_t first, std::int64_t last) {
    for (const Span& own : layout_.spans(e_.rank(), first, last)) {
      e_.gemm(lane, Op::conj_transpose, Op::none, T(1), a_.span(own, layout_.begin(t), layout_.end(t)), rows_of(x_, t),
              w_.sums.block(own.begin, 0, own.width, x_.columns));
    }
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  MatrixView<T> x_;
  PotrsFewWorkspace<T>& w_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void PotrsFew<T, E>::run() {
  forward();
  backward();
}

}  // namespace jaxmg
