// QR factorisation A = Q R of a matrix dealt in tile columns, right-looking, by block reflectors (Schreiber and Van
// Loan, "A storage-efficient WY representation for products of Householder transformations", SIAM J. Sci. Stat.
// Comput. 10, 1989).
//
//   A_t = (I - V T V^H) [R11; 0]       the owner of tile column t factors it on its own
//   A   = A - V T^H (V^H A)            every rank updates its own later columns
//
// All rows of a tile column lie on one rank, so a panel needs no communication. V and T are broadcast once. The next
// tile column is updated and factored while the others are being updated: panels are the critical path. Updates come in
// the order in which it needs them: the next tile column (lane `panel`), the one after it (`ahead`), all others
// (`bulk`), beginning with the one after those two.
//
// On return tile columns hold R down to their diagonal and V below it, as LAPACK leaves them, and `factors` the T of
// each tile column at its place in the shard (see reflectors.h). A matrix with more columns than rows has as many
// reflectors as rows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/qr/geqrf_panel.h"
#include "algorithms/qr/reflectors.h"
#include "algorithms/slot_ring.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/lu_ops.h"
#include "engine/panel_qr_ops.h"
#include "engine/scaling_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct GeqrfWorkspace {
  GeqrfPanelWorkspace<T> panel;
  std::vector<BlockReflector<T>> reflectors;
  ReflectedProducts<T> products;  // of own columns

  GeqrfWorkspace(Arena& arena, const TileColumns& layout, std::int64_t leaf, std::int64_t slots)
      : panel(arena, widest(layout), leaf), products(arena, widest(layout), layout.shard()) {
    for (std::int64_t i = 0; i < slots; ++i) reflectors.emplace_back(arena, layout.rows(), widest(layout));
  }

 private:
  static std::int64_t widest(const TileColumns& layout) {
    return std::max<std::int64_t>(1, std::min({layout.tile(), layout.shard(), layout.rows()}));
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && PanelQrOps<E, T>
class Geqrf {
 public:
  // `a` is this rank's columns, `factors` as many columns of at least as many rows as a tile has columns.
  Geqrf(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<T> factors, GeqrfWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        a_{layout, a, engine.rank()},
        tiles_(engine, layout, a, factors),
        w_(workspace),
        ring_(engine, workspace.reflectors.size()) {}

  void run();

 private:
  using Event = typename E::Event;
  // Events of one step, named by what is ready on this rank.
  struct Step {
    Event reflector_ready;
    // After this step's update: the next tile column; the one after it; the one after that.
    Event next_updated, ahead_updated, bulk_front_updated;
  };

  Step& step(std::int64_t t) { return steps_[static_cast<std::size_t>(t)]; }
  const BlockReflector<T>& reflector(std::int64_t t) const {
    return w_.reflectors[ring_.slot(static_cast<std::size_t>(t))];
  }

  // Factors tile column t on its owner, and broadcasts V and T.
  void factor(std::int64_t t) {
    if (t > 0) e_.wait(Lane::diagonal, step(t - 1).next_updated);
    if (a_.owns(t)) {
      GeqrfPanel<T, E>(e_, Lane::diagonal, tiles_.vectors(t), tiles_.factor(t), w_.panel).run();
    }
    ring_.await(Lane::diagonal, static_cast<std::size_t>(t));
    tiles_.broadcast(Lane::diagonal, t, reflector(t));
    step(t).reflector_ready = e_.record(Lane::diagonal);
  }

  // Updates own columns from number `begin` of the matrix on, up to the end of tile `last` - 1.
  void update(Lane lane, std::int64_t t, std::int64_t begin, std::int64_t last) {
    const std::int64_t row = tiles_.begin(t), end = last < layout_.count() ? layout_.begin(last) : layout_.columns();
    for (const Span& own : layout_.spans_of_columns(e_.rank(), begin, end)) {
      tiles_.apply(lane, Op::conj_transpose, t, reflector(t), w_.products.block(own.begin, tiles_.width(t), own.width),
                   a_.span(own, row, layout_.rows()));
    }
  }
  // The first column of tile t, or the end of the matrix.
  std::int64_t front(std::int64_t t) const { return t < layout_.count() ? layout_.begin(t) : layout_.columns(); }

  // Also the columns of tile t beyond its reflectors, if the rows end there.
  void update_next(std::int64_t t) {
    e_.wait(Lane::panel, step(t).reflector_ready);
    if (t > 0) e_.wait(Lane::panel, step(t - 1).ahead_updated);
    update(Lane::panel, t, tiles_.begin(t) + tiles_.width(t), t + 2);
    step(t).next_updated = e_.record(Lane::panel);
    ring_.used(Lane::panel, static_cast<std::size_t>(t));
  }

  void update_others(std::int64_t t) {
    e_.wait(Lane::ahead, step(t).reflector_ready);
    if (t > 0) e_.wait(Lane::ahead, step(t - 1).bulk_front_updated);
    update(Lane::ahead, t, front(t + 2), t + 3);
    step(t).ahead_updated = e_.record(Lane::ahead);
    ring_.used(Lane::ahead, static_cast<std::size_t>(t));

    e_.wait(Lane::bulk, step(t).reflector_ready);
    update(Lane::bulk, t, front(t + 3), t + 4);
    step(t).bulk_front_updated = e_.record(Lane::bulk);
    update(Lane::bulk, t, front(t + 4), layout_.count());
    ring_.used(Lane::bulk, static_cast<std::size_t>(t));
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  ReflectorTiles<T, E> tiles_;
  GeqrfWorkspace<T>& w_;
  SlotRing<E> ring_;
  std::vector<Step> steps_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && PanelQrOps<E, T>
void Geqrf<T, E>::run() {
  [[maybe_unused]] const typename E::Range range("geqrf");
  const std::int64_t tiles = reflector_tiles(layout_);
  steps_.resize(static_cast<std::size_t>(tiles));
  for (std::int64_t t = 0; t < tiles; ++t) {
    factor(t);
    update_next(t);
    update_others(t);
  }
  e_.join();
}

// R = R / *scale in own columns.
template <class T, class E>
  requires ScalingOps<E, T>
void unscale_r(E& e, const TileColumns& layout, MatrixView<T> a, const Real<T>* scale) {
  for (const std::int64_t t : layout.tiles_of(e.rank())) {
    const std::int64_t begin = layout.begin(t), rows = std::min(layout.end(t), layout.rows());
    e.divide_upper(Lane::panel, scale, begin, a.block(0, layout.local_offset(t), rows, layout.width(t)));
  }
}

// Lowers `info` to the number of the first zero on the diagonal of R in own columns.
template <class T, class E>
  requires LuOps<E, T>
void check_diagonal_of_r(E& e, const TileColumns& layout, MatrixView<T> a, std::int32_t* info) {
  for (const std::int64_t t : layout.tiles_of(e.rank())) {
    const std::int64_t begin = layout.begin(t), rows = std::min(layout.width(t), layout.rows() - begin);
    if (rows <= 0) continue;
    e.check_pivots(Lane::panel, a.block(begin, layout.local_offset(t), rows, rows), begin, info);
  }
}

}  // namespace jaxmg
