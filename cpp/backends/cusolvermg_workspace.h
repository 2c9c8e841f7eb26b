// What calls of cuSOLVERMg carve, for the backend and for the planner. The library's own workspace comes on top; it is
// asked for when a call is traced, and begins where `shared` does: stages follow each other and use the same memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "algorithms/moves/mirror.h"
#include "backends/tiled_cholesky.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "layout/column_moves.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// The matrix as the library takes it, where it is not dealt so already.
template <class T>
MatrixView<T> block_cyclic_copy(Arena& arena, const TileColumns& layout) {
  if (is_block_cyclic(layout)) return {};
  return arena.matrix<T>(layout.order(), block_cyclic(layout).shard());
}

template <class T>
struct CusolverMgStages {
  MatrixView<T> copy;
  StagedWorkspace memory;
  std::optional<MirrorWorkspace<T>> mirror;

  // For an inverse, which is mirrored at the end, or not.
  CusolverMgStages(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots, bool inverse)
      : copy(block_cyclic_copy<T>(arena, layout)), memory(arena, layout) {
    memory.deal<T>(layout);
    if (inverse) mirror = memory.stage<MirrorWorkspace<T>>(layout, depth, slots);
  }
};

template <class T>
struct AdjointWorkspace {
  MatrixView<T> adjoint;

  AdjointWorkspace(Arena& arena, std::int64_t n, std::int64_t share) : adjoint(arena.matrix<T>(share, n)) {}
};

template <class T>
struct CusolverMgSyevdStages {
  MatrixView<T> copy;
  Real<T>* norms;  // an entry for each rank
  Real<T>* scale;
  std::int64_t mirror_depth;
  StagedWorkspace memory;
  MirrorWorkspace<T> mirror;
  AdjointWorkspace<T> turned;  // of a rank's eigenvectors

  // For `share` eigenvectors on every rank.
  CusolverMgSyevdStages(Arena arena, const TileColumns& layout, std::int64_t share)
      : copy(block_cyclic_copy<T>(arena, layout)),
        norms(arena.take<Real<T>>(layout.ranks())),
        scale(arena.take<Real<T>>(1)),
        mirror_depth(layout.ranks() > 1 ? std::min(layout.tile(), layout.shard()) : 1),
        memory(arena, layout),
        mirror(memory.stage<MirrorWorkspace<T>>(layout, mirror_depth, 2)),
        turned(memory.stage<AdjointWorkspace<T>>(layout.order(), share)) {
    memory.deal<T>(layout);
  }
};

}  // namespace jaxmg
