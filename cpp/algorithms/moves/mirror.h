// Mirrors a Hermitian matrix dealt in tile columns: the upper triangle becomes the adjoint of the lower triangle.
//
// The tile at rows t and columns c < t is sent from the owner of column c to the owner of column t, and transposed
// there. This proceeds by block columns. A single rank transposes in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/slot_ring.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct MirrorWorkspace {
  std::vector<MatrixView<T>> own_rows;  // this rank's rows of a block column, at the columns of the shard

  MirrorWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots) {
    if (layout.ranks() == 1) return;
    for (std::int64_t i = 0; i < slots; ++i) own_rows.push_back(arena.matrix<T>(layout.shard(), depth));
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void mirror(E& e, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MirrorWorkspace<T>& w) {
  const TiledShard<T> shard{layout, a, e.rank()};
  SlotRing<E> ring(e, w.own_rows.size());
  const std::vector<BlockColumn> columns = block_columns(layout, depth);
  for (std::size_t o = 0; o < columns.size(); ++o) {
    const BlockColumn& column = columns[o];
    MatrixView<T> own_rows = a.block(0, column.begin, a.rows, column.width());
    std::vector<Block> gather;
    if (e.size() > 1) {
      own_rows = w.own_rows[ring.slot(o)];
      ring.await(Lane::rows, o);
      for (std::int64_t c = column.first_tile; c < column.last_tile; ++c) {
        for (std::int64_t t = c + 1; t < layout.count(); ++t) {
          gather.push_back(make_block(layout.owner(c), layout.owner(t), shard.tile(c, layout.begin(t), layout.end(t)),
                                      own_rows.block(layout.local_offset(t), layout.begin(c) - column.begin,
                                                     layout.width(t), layout.width(c))));
        }
      }
    }
    e.exchange(Lane::rows, gather);
    e.wait(Lane::bulk, e.record(Lane::rows));
    const auto transpose = [&](const Span& own, std::int64_t rows) {
      e.conj_transpose(Lane::bulk, own_rows.block(own.begin, 0, own.width, rows),
                       shard.span(own, column.begin, column.begin + rows));
    };
    shard.each_own(column.first_tile, column.last_tile, [&](std::int64_t t) {
      transpose({layout.local_offset(t), layout.width(t)}, layout.begin(t) - column.begin);
      e.mirror(Lane::bulk, shard.diagonal(t));
    });
    for (const Span& own : layout.spans(e.rank(), column.last_tile, layout.count())) transpose(own, column.width());
    ring.used(Lane::bulk, o);
  }
  e.join();
}

}  // namespace jaxmg
