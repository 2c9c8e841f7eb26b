// Adjoint of a square matrix in tile columns, out of place: B = A^H, in the same layout.
//
// Row block t of each block column is sent to the owner of tile column t, which transposes it. One pass over the matrix
// turns columns into rows for algorithms that treat rows independently.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/moves/mirror.h"
#include "algorithms/slot_ring.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

// The workspace is that of mirror().
template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void adjoint_columns(E& e, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MatrixView<T> b,
                     MirrorWorkspace<T>& w) {
  const std::int64_t n = layout.order();
  const TiledShard<T> from{layout, a, e.rank()}, to{layout, b, e.rank()};
  if (e.size() == 1) {
    e.conj_transpose(Lane::bulk, a.block(0, 0, n, n), b.block(0, 0, n, n));
    e.join();
    return;
  }
  SlotRing<E> ring(e, w.own_rows.size());
  const std::vector<BlockColumn> columns = block_columns(layout, depth);
  const std::vector<Span> own = layout.spans(e.rank(), 0, layout.count());
  for (std::size_t o = 0; o < columns.size(); ++o) {
    const BlockColumn& column = columns[o];
    const MatrixView<T> own_rows = w.own_rows[ring.slot(o)];
    ring.await(Lane::rows, o);
    std::vector<Block> gather;
    for (std::int64_t c = column.first_tile; c < column.last_tile; ++c) {
      for (std::int64_t t = 0; t < layout.count(); ++t) {
        gather.push_back(make_block(
            layout.owner(c), layout.owner(t), from.tile(c, layout.begin(t), layout.end(t)),
            own_rows.block(layout.local_offset(t), layout.begin(c) - column.begin, layout.width(t), layout.width(c))));
      }
    }
    e.exchange(Lane::rows, gather);
    e.wait(Lane::bulk, e.record(Lane::rows));
    for (const Span& span : own) {
      e.conj_transpose(Lane::bulk, own_rows.block(span.begin, 0, span.width, column.width()),
                       to.span(span, column.begin, column.end));
    }
    ring.used(Lane::bulk, o);
  }
  e.join();
}

}  // namespace jaxmg
