// Q of a QR factorisation in tile columns, in place of its reflectors: H_0 H_1 ... applied to the first columns of the
// identity, from the last reflector to the first.
//
// Before step t only the columns of tiles after t differ from the identity's, and V_t is still in tile t. The
// step broadcasts V_t, makes columns of the identity of tile t, and applies H_t to all columns from there on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/qr/ormqr.h"
#include "algorithms/qr/reflectors.h"
#include "algorithms/slot_ring.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class Orgqr {
 public:
  // The workspace is for the columns of the shard. Columns of A beyond its rows, which have no reflectors, become zero.
  Orgqr(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<T> factors, OrmqrWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        a_{layout, a, engine.rank()},
        tiles_(engine, layout, a, factors),
        w_(workspace),
        ring_(engine, workspace.reflectors.size()) {}

  void run();

 private:
  void apply(Lane lane, std::int64_t t, const BlockReflector<T>& h) {
    const std::int64_t begin = tiles_.begin(t);
    for (const Span& own : layout_.spans_of_columns(e_.rank(), begin, reflectors(layout_))) {
      tiles_.apply(lane, Op::none, t, h, w_.products.block(own.begin, tiles_.width(t), own.width),
                   a_.span(own, begin, layout_.rows()));
    }
  }

  E& e_;
  const TileColumns& layout_;
  TiledShard<T> a_;
  ReflectorTiles<T, E> tiles_;
  OrmqrWorkspace<T>& w_;
  SlotRing<E> ring_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void Orgqr<T, E>::run() {
  const std::int64_t m = layout_.rows(), tiles = reflector_tiles(layout_);
  for (const Span& own : layout_.spans_of_columns(e_.rank(), reflectors(layout_), layout_.columns())) {
    e_.zero(Lane::panel, a_.span(own, 0, m));
  }
  for (std::int64_t i = 0; i < tiles; ++i) {
    const std::int64_t t = tiles - 1 - i, begin = tiles_.begin(t), width = tiles_.width(t);
    const auto s = static_cast<std::size_t>(i);
    const BlockReflector<T>& h = w_.reflectors[ring_.slot(s)];
    ring_.await(Lane::rows, s);
    tiles_.broadcast(Lane::rows, t, h);
    e_.wait(Lane::panel, e_.record(Lane::rows));
    if (a_.owns(t)) {
      const auto columns = a_.columns.block(0, layout_.local_offset(t), m, width);
      e_.zero(Lane::panel, columns);
      e_.identity(Lane::panel, columns.block(begin, 0, width, width));
    }
    apply(Lane::panel, t, h);
    ring_.used(Lane::panel, s);
  }
  e_.join();
}

}  // namespace jaxmg
