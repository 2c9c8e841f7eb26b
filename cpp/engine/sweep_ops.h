// Engine operation that solves a whole triangular system with a factor in tile columns, for few right-hand sides.
//
// An engine need not have it: algorithms then solve tile by tile (algorithms/triangular/trsm_few.h).
#pragma once

#include <concepts>
#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// op(F) X = B with a triangle of the factor.
template <class T>
struct SweepSystem {
  Uplo uplo;
  Op op;
  Diag diag;
  MatrixView<T> factor;  // own columns
  MatrixView<T> x;       // B in the rows of own tiles. Becomes X there, with a transpose in all rows.

  bool ascending() const { return (uplo == Uplo::lower) == (op == Op::none); }
};

// Right-hand sides that a sweep solves for at once; others follow one batch after another.
template <class T>
inline constexpr std::int64_t sweep_batch = sizeof(T) == 4 ? 8 : 1;
// Largest number of right-hand sides that are known to take less time than tile by tile. On four H100, N = 32768, two
// sweeps with 1 and 4 right-hand sides take 2.5 and 9.7 ms in float64, and two solves tile by tile 9.3 and 27.2 ms. In
// float32, 8 right-hand sides take 7.4 and 16.9 ms. Complex numbers: an estimate.
template <class T>
inline constexpr std::int64_t most_sweep_columns = sizeof(T) == 4 ? 8 : 4;

// Workspace of a sweep of several ranks, at the same address on all ranks: numbers that ranks and thread blocks send
// each other.
template <class T>
struct SweepWorkspace {
  MatrixView<T> solved;   // X as it becomes known
  MatrixView<T> sums;     // updates of own unknowns by each rank, side by side
  MatrixView<T> present;  // one number of each rank

  SweepWorkspace(Arena& arena, const TileColumns& layout, std::int64_t nrhs) {
    if (layout.ranks() == 1 || nrhs > most_sweep_columns<T>) return;
    const std::int64_t batch = nrhs == 1 ? 1 : sweep_batch<T>;
    const MatrixView<T> all = arena.matrix<T>(layout.order() + layout.shard() * layout.ranks(), batch);
    solved = {all.data, layout.order(), batch, layout.order()};
    sums = {all.data + layout.order() * batch, layout.shard(), batch * layout.ranks(), layout.shard()};
    present = arena.matrix<T>(layout.ranks(), 1);
  }
};

template <class E, class T>
concept SweepOps = LaneOps<E> && requires(E& e, const E& c, Lane lane, const TileColumns& layout,
                                          const SweepSystem<T>& system, const SweepWorkspace<T>& workspace) {
  // Whether this call's ranks, several, can sweep. The same on all of them.
  { c.can_sweep() } -> std::same_as<bool>;
  // For at most `most_sweep_columns` right-hand sides, and several ranks. Every rank makes the same sweeps in the same
  // order, as with exchanges.
  e.sweep(lane, layout, system, workspace);
};

}  // namespace jaxmg
