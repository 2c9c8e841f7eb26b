// Makes a matrix dealt in tile columns Hermitian: its upper triangle becomes the lower one, conjugated and transposed.
//
// The tile at rows t and columns c < t goes from the owner of column c to the owner of column t, a pivot's columns at
// a time, and is transposed there. One rank transposes where the tiles are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_columns.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct MirrorWorkspace {
  std::vector<MatrixView<T>> own_rows;  // this rank's rows of a pivot's columns, where its columns lie

  MirrorWorkspace(Arena& arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots) {
    if (layout.ranks() == 1) return;
    for (std::int64_t i = 0; i < slots; ++i) own_rows.push_back(arena.matrix<T>(layout.shard(), depth));
  }
};

template <class T, class E>
  requires Engine<E, T>
void mirror(E& e, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MirrorWorkspace<T>& w) {
  std::vector<typename E::Event> transposed;
  const auto in_place = [&](std::int64_t t, std::int64_t row, std::int64_t rows) {
    return a.block(row, layout.local_offset(t), rows, layout.width(t));
  };
  for (const BlockColumn& block : block_columns(layout, depth)) {
    MatrixView<T> own_rows = a.block(0, block.begin, a.rows, block.width());
    std::vector<Block> collect;
    if (e.size() > 1) {
      const std::size_t step = transposed.size(), slots = w.own_rows.size();
      own_rows = w.own_rows[step % slots];
      if (step >= slots) e.wait(Lane::rows, transposed[step - slots]);
      for (std::int64_t c = block.first_tile; c < block.last_tile; ++c) {
        for (std::int64_t t = c + 1; t < layout.count(); ++t) {
          collect.push_back(make_block(
              layout.owner(c), layout.owner(t), in_place(c, layout.begin(t), layout.width(t)),
              own_rows.block(layout.local_offset(t), layout.begin(c) - block.begin, layout.width(t), layout.width(c))));
        }
      }
    }
    e.exchange(Lane::rows, collect);
    e.wait(Lane::bulk, e.record(Lane::rows));
    const auto transpose = [&](const Span& own, std::int64_t rows) {
      e.conj_transpose(Lane::bulk, own_rows.block(own.begin, 0, own.width, rows),
                       a.block(block.begin, own.begin, rows, own.width));
    };
    for (std::int64_t t = block.first_tile; t < block.last_tile; ++t) {
      if (layout.owner(t) != e.rank()) continue;
      transpose({layout.local_offset(t), layout.width(t)}, layout.begin(t) - block.begin);
      e.mirror(Lane::bulk, in_place(t, layout.begin(t), layout.width(t)));
    }
    for (const Span& own : layout.spans(e.rank(), block.last_tile, layout.count())) transpose(own, block.width());
    transposed.push_back(e.record(Lane::bulk));
  }
  e.join();
}

}  // namespace jaxmg
