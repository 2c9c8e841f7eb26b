// The backend for eigenvalue problems over a solver that wants a matrix in square tiles, dealt over a grid of ranks
// (see block_cyclic_cholesky.h).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/block_cyclic.h"
#include "algorithms/moves/share_entries.h"
#include "backends/block_cyclic_cholesky.h"
#include "backends/eigen.h"
#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/scaling_ops.h"
#include "layout/block_cyclic.h"

namespace jaxmg {

template <class T>
struct BlockCyclicEigenWorkspace {
  using R = Real<T>;

  SolverWorkspace common;
  R *norms, *scale;           // norms: an entry for each rank
  Arena shared;               // where what follows begins, and in its place, when it is no longer needed, `adjoint`
  BlockCyclicMatrix<T> a, z;  // z is not written where eigenvalues alone are wanted
  MatrixView<T> adjoint;      // of a rank's eigenvectors
  Arena rest;
  std::int64_t bytes;

  // For `share` eigenvectors on every rank, or none.
  BlockCyclicEigenWorkspace(Arena arena, std::int64_t n, std::int64_t share, std::int64_t tile, ProcessGrid grid,
                            std::int64_t solver_bytes = 0)
      : common(arena, grid.size()),
        norms(arena.take<R>(grid.size())),
        scale(arena.take<R>(1)),
        shared(arena),
        a(BlockCyclic(n, n, tile, tile, grid), arena),
        z(BlockCyclic(n, n, tile, tile, grid), share > 0 ? arena.take<T>(a.layout.most_elements()) : a.data),
        rest(arena) {
    arena.take<std::byte>(solver_bytes);
    Arena turn = shared;
    adjoint = turn.matrix<T>(share, n);
    bytes = std::max(arena.used(), turn.used());
  }
};

template <class T, class E, class Solver>
class BlockCyclicEigen final : public EigenBackend<T, E> {
 public:
  using R = Real<T>;

  // Bytes that the solver needs on this rank.
  static std::int64_t solver_bytes(E& engine, std::int64_t n, bool vectors, std::int64_t tile, ProcessGrid grid,
                                   Arena workspace) {
    const SolverWorkspace w(workspace, engine.size());
    const BlockCyclicMatrix<T> a(BlockCyclic(n, n, tile, tile, grid), reinterpret_cast<T*>(w.words));
    return Solver::get(engine, w.words).syevd_bytes(a, reinterpret_cast<R*>(w.words), a, vectors);
  }

  void syevd(E& engine, const HermitianEigen<T>& p, Arena workspace) override {
    const std::int64_t n = p.layout.order();
    const int ranks = engine.size(), rank = engine.rank();
    const bool vectors = !p.z.empty();
    const auto shards = in_shards(n, ranks, p.a);
    BlockCyclicEigenWorkspace<T> w(workspace, n, p.z.columns, p.layout.tile(), solver_grid(shards.layout));
    const MatrixView<R> eigenvalues{p.w, n, 1, n};
    move(engine, shards, w.a);
    scale(engine, w);
    const std::int32_t found =
        Solver::get(engine, w.common.words).syevd(w.a, p.w, w.z, vectors, SolverWorkspace::rest_of(w.rest));
    if (found > 0) engine.set_info(lane, w.common.info + rank, found);
    // What ranks choose by has to be the same to the last bit.
    engine.exchange(lane, {make_block(0, all_ranks, eigenvalues, eigenvalues)});
    if (vectors) {
      // Of all eigenvectors the wanted ones, dealt as whole columns; those of the share that are none are zero.
      std::vector<R> values(static_cast<std::size_t>(p.wanted.bounds != nullptr ? n : 0));
      engine.fetch(lane, p.w, static_cast<std::int64_t>(values.size()), values.data());
      const EigenvectorRange wanted = chosen(engine, lane, p.wanted, values, w.scale);
      const BlockCyclicMatrix<T> z(BlockCyclic(n, wanted.count, n, p.z.columns, {1, ranks}), p.z.data);
      move(engine, w.z, z, wanted.first);
      const std::int64_t own = z.layout.local_columns(rank);
      engine.zero(lane, p.z.block(0, own, n, p.z.columns - own));
    }
    engine.divide(lane, w.scale, eigenvalues);
    share_entries(engine, lane, w.common.info);
    engine.conclude(lane, w.common.info, eigenvalues, p.status);
    if (vectors) engine.conclude(lane, w.common.info, p.z, p.status);
    if (vectors && p.form == EigenvectorForm::adjoint_rows) adjoint_in_place(engine, lane, p.z, w.adjoint);
    engine.join();
  }

 private:
  static constexpr Lane lane = Lane::panel;

  // A = scale A, out of the reach of over- and underflow. Only the lower triangle counts, so what is above it becomes
  // zero; a matrix that is not finite becomes zero altogether, since nobody says what the solver does with it.
  static void scale(E& engine, const BlockCyclicEigenWorkspace<T>& w) {
    const BlockCyclic& layout = w.a.layout;
    const int rank = engine.rank();
    const MatrixView<T> a = w.a.part(rank);
    const std::int64_t n = layout.rows.n, tile = layout.rows.block;
    for (std::int64_t begin = 0; begin < n; begin += tile) {
      if (layout.columns.owner(begin) != layout.grid().column(rank)) continue;
      const std::int64_t width = std::min(tile, n - begin), column = layout.columns.local(begin);
      const std::int64_t above = CyclicBlocks{begin, tile, layout.rows.processes}.count(layout.grid().row(rank));
      engine.zero(lane, a.block(0, column, above, width));
      if (layout.rows.owner(begin) == layout.grid().row(rank)) {
        engine.mirror(lane, a.block(above, column, width, width));
      }
    }
    std::int32_t* const info = w.common.info + rank;
    engine.set_info(lane, info, no_failure);
    scale_matrix<T>(engine, lane, {a}, w.norms, w.scale, info);
  }
};

}  // namespace jaxmg
