// The adjoint of a lower triangle in tile columns, in place: an upper triangle, with zeros below its diagonal.
#pragma once

#include <cstdint>

#include "algorithms/moves/mirror.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void adjoint_of_lower(E& e, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MirrorWorkspace<T>& w) {
  mirror(e, layout, depth, a, w);
  for (const std::int64_t t : layout.tiles_of(e.rank())) {
    const std::int64_t width = layout.width(t), at = layout.local_offset(t);
    e.zero_below(Lane::bulk, a.block(layout.begin(t), at, width, width));
    e.zero(Lane::bulk, a.block(layout.end(t), at, layout.order() - layout.end(t), width));
  }
  e.join();
}

}  // namespace jaxmg
