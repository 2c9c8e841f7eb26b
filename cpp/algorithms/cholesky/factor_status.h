// Status of Cholesky routines: the first leading minor that is not positive definite, the same on every rank.
#pragma once

#include <cstdint>

#include "algorithms/moves/share_entries.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/staged_arena.h"
#include "engine/cholesky_ops.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// Memory of the status.
struct StatusWorkspace {
  std::int32_t* info;    // an entry for each rank
  std::int32_t* failed;  // one more word

  StatusWorkspace(Arena& arena, std::int64_t ranks)
      : info(arena.take<std::int32_t>(ranks)), failed(arena.take<std::int32_t>(1)) {}
};

// The status of a routine, and the memory of its stages.
struct StagedWorkspace : StatusWorkspace, StagedArena {
  StagedWorkspace(Arena arena, const TileColumns& layout)
      : StatusWorkspace(arena, layout.ranks()), StagedArena(arena) {}
};

// Sets info to `known`; by default there is no failure.
template <class E>
void begin_status(E& engine, const StatusWorkspace& w, std::int32_t known = no_failure) {
  engine.set_info(Lane::panel, w.info + engine.rank(), known);
  engine.set_info(Lane::panel, w.failed, 0);
  engine.join();
}

// Detects failure on the diagonal of a dealt factor. The factor of an indefinite matrix is NaN throughout, and results
// computed from it become NaN, too.
template <class T, class E>
  requires CholeskyOps<E, T>
void check_diagonal(E& engine, const TileColumns& layout, MatrixView<T> factor, const StatusWorkspace& w,
                    std::int32_t known = no_failure) {
  begin_status(engine, w, known);
  engine.check_diagonal(Lane::panel, layout, engine.rank(), factor, w.info + engine.rank());
  engine.join();
}

// Reduces info to the least failing minor over all ranks; if there is one, x becomes NaN.
template <class T, class E>
void conclude(E& engine, MatrixView<T> x, std::int32_t* info, const StatusWorkspace& w) {
  share_entries(engine, Lane::panel, w.info);
  engine.conclude(Lane::panel, w.info, x, info);
}

}  // namespace jaxmg
