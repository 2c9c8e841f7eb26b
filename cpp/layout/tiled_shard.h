// A rank's shard of a matrix dealt in tile columns, addressed by tile.
#pragma once

#include <cstdint>
#include <utility>

#include "core/matrix_view.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct TiledShard {
  const TileColumns& layout;
  MatrixView<T> columns;
  int rank;

  bool owns(std::int64_t t) const { return layout.owner(t) == rank; }

  // Rows [begin, end) of tile column t. On ranks that do not own the tile this is the address of the owner's data, as
  // blocks of an exchange need it (comm/block.h).
  MatrixView<T> tile(std::int64_t t, std::int64_t begin, std::int64_t end) const {
    return columns.block(begin, layout.local_offset(t), end - begin, layout.width(t));
  }
  MatrixView<T> diagonal(std::int64_t t) const { return tile(t, layout.begin(t), layout.end(t)); }
  // Rows [begin, end) of neighbouring columns of the shard.
  MatrixView<T> span(const Span& own, std::int64_t begin, std::int64_t end) const {
    return columns.block(begin, own.begin, end - begin, own.width);
  }

  // Calls visit(t) for this rank's tiles in [first, last), in the order of the matrix.
  template <class Visit>
  void each_own(std::int64_t first, std::int64_t last, Visit&& visit) const {
    for (std::int64_t t = first; t < last; ++t) {
      if (owns(t)) visit(t);
    }
  }
};

}  // namespace jaxmg
