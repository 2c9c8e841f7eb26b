// The Cholesky backend over a solver that wants a matrix in square tiles, dealt over a grid of ranks: what vendors'
// distributed libraries are.
//
// Such a solver serves linear systems and factorisations. A factor that is kept goes back to tile columns, so that all
// else that is done with it is done by our own backend, and does not depend on who made it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "algorithms/moves/block_cyclic.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/moves/share_entries.h"
#include "backends/cholesky.h"
#include "backends/tiled_cholesky.h"
#include "comm/block.h"
#include "core/arena.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_cyclic.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// A solver S of an engine E: S::get(e, words) is this rank's part in it, where `words` are word_count numbers that the
// ranks may use to meet. It works in the lane `panel`, and has
//
//   potrf(a, workspace)                  A = L L^H in the lower triangle; returns LAPACK's info, as far as known here
//   potrs(a, b, workspace)               L L^H X = B in place of B
//   syevd(a, w, z, vectors, workspace)   A = Z diag(w) Z^H, w on every rank; no Z unless vectors are wanted
//   potrf_bytes(a), potrs_bytes(a, b), syevd_bytes(a, w, z, vectors)    of workspace, here
//
// for BlockCyclicMatrix a, b, z in square tiles on one grid, and a MemoryRegion. Only the solver can say how much
// workspace it needs, and only on its ranks, so that is asked in a call of its own before others are planned.

// How the columns of A^T lie in the shards that JAX has of A: in blocks of whole columns, or of rows and columns.
template <class T>
BlockCyclicMatrix<T> in_shards(std::int64_t n, int ranks, MatrixView<T> shard) {
  const int rows = shard.rows < n ? static_cast<int>(n / shard.rows) : 1;
  const BlockCyclic layout = BlockCyclic::in_pieces(n, n, {rows, ranks / rows});
  if (shard.rows != layout.rows.block || shard.columns != layout.columns.block || layout.grid().size() != ranks) {
    throw Error(ErrorCode::internal, "shards of " + std::to_string(shard.columns) + " x " + std::to_string(shard.rows) +
                                         " do not make a matrix of order " + std::to_string(n) + " on " +
                                         std::to_string(ranks) + " ranks");
  }
  return {layout, shard.data};
}

// The grid that a solver works on: that of the shards, or if these are whole columns the squarest.
inline ProcessGrid solver_grid(const BlockCyclic& shards) {
  const ProcessGrid grid = shards.grid();
  return grid.rows > 1 ? grid : squarest_grid(grid.size());
}

// What the routines of such a solver have in common.
struct SolverWorkspace {
  std::int32_t* info;    // an entry for each rank
  std::int32_t* failed;  // one more word
  std::uint32_t* words;  // to meet

  static constexpr std::int64_t word_count = 64;

  SolverWorkspace(Arena& arena, int ranks)
      : info(arena.take<std::int32_t>(ranks)),
        failed(arena.take<std::int32_t>(1)),
        words(arena.take<std::uint32_t>(word_count)) {}

  // What is left.
  static MemoryRegion rest_of(Arena& arena) { return {arena.take<std::byte>(0), arena.left()}; }
  // Bytes of a call that asks how much workspace others need.
  static std::int64_t bytes(int ranks) {
    Arena measure;
    SolverWorkspace(measure, ranks);
    return measure.used();
  }
};

template <class T>
struct BlockCyclicCholeskyWorkspace {
  SolverWorkspace common;
  Arena shared;  // where what follows begins: a factor is dealt in its place
  BlockCyclicMatrix<T> a, b;
  Arena rest;
  std::int64_t bytes;

  // For tiles of order `tile` and `nrhs` right-hand sides, or none. The planner says how much the solver itself needs;
  // when a call runs it gets the rest.
  BlockCyclicCholeskyWorkspace(Arena arena, std::int64_t n, std::int64_t nrhs, std::int64_t tile, ProcessGrid grid,
                               std::int64_t solver_bytes = 0)
      : common(arena, grid.size()),
        shared(arena),
        a(BlockCyclic(n, n, tile, tile, grid), arena),
        b(BlockCyclic(n, nrhs, tile, tile, grid), arena),
        rest(arena) {
    arena.take<std::byte>(solver_bytes);
    bytes = arena.used();
  }

  // A factor that is kept is dealt in tile columns with the memory of its square tiles.
  void deal(const TileColumns& layout) {
    Arena arena = shared;
    if (layout.ranks() > 1) arena.take<T>(layout.order() * layout.tile());
    bytes = std::max(bytes, arena.used());
  }
};

template <class T, class E, class Solver>
class BlockCyclicCholesky final : public CholeskyBackend<T, E> {
 public:
  // Bytes that the solver needs on this rank for posv, or without right-hand sides for potrf.
  static std::int64_t solver_bytes(E& engine, std::int64_t n, std::int64_t nrhs, std::int64_t tile, ProcessGrid grid,
                                   Arena workspace) {
    const SolverWorkspace w(workspace, engine.size());
    auto&& solver = Solver::get(engine, w.words);
    const BlockCyclicMatrix<T> a(BlockCyclic(n, n, tile, tile, grid), reinterpret_cast<T*>(w.words));
    const BlockCyclicMatrix<T> b(BlockCyclic(n, nrhs, tile, tile, grid), reinterpret_cast<T*>(w.words));
    const std::int64_t factor = solver.potrf_bytes(a);
    return nrhs > 0 ? std::max(factor, solver.potrs_bytes(a, b)) : factor;
  }

  void posv(E& engine, const DealtMatrix<T>& a, const RightHandSides<T>& b, std::int32_t* info,
            Arena workspace) override {
    const std::int64_t n = a.layout.order();
    const int ranks = engine.size();
    const auto shards = in_shards(n, ranks, a.shard);
    const std::int64_t nrhs = b.distributed ? b.x.columns * ranks : b.x.columns;
    BlockCyclicCholeskyWorkspace<T> w(workspace, n, nrhs, a.depth, solver_grid(shards.layout));
    const BlockCyclicMatrix<T> x(BlockCyclic::in_pieces(n, nrhs, {1, ranks}), b.x.data);
    if (b.distributed) {
      move(engine, x, w.b);
    } else {
      deal_copies(engine, b.x, w.b);
    }
    factor(engine, shards, w);
    Solver::get(engine, w.common.words).potrs(w.a, w.b, SolverWorkspace::rest_of(w.rest));
    if (b.distributed) {
      move(engine, w.b, x);
    } else {
      gather_copies(engine, w.b, b.x);
    }
    conclude(engine, b.x, info, w.common);
  }

  void potrf(E& engine, const DealtMatrix<T>& a, std::int32_t* info, Arena workspace) override {
    const std::int64_t n = a.layout.order();
    const auto shards = in_shards(n, engine.size(), a.shard);
    if (shards.layout.grid().rows > 1) throw Error(ErrorCode::internal, "a factor that is kept is made from columns");
    BlockCyclicCholeskyWorkspace<T> w(workspace, n, 0, a.depth, solver_grid(shards.layout));
    factor(engine, shards, w);
    move(engine, w.a, shards);
    engine.join();
    redistribute(engine, a.layout, a.shard, w.shared.rest(), false);
    conclude(engine, a.shard, info, w.common);
  }

  void potrs(E& engine, const DealtMatrix<T>& factor, const RightHandSides<T>& b, Sweeps sweeps,
             Arena workspace) override {
    tiled_.potrs(engine, factor, b, sweeps, workspace);
  }
  void potri(E& engine, const DealtMatrix<T>& factor, Arena workspace) override {
    tiled_.potri(engine, factor, workspace);
  }
  void lower(E& engine, const DealtMatrix<T>& factor, Arena workspace) override {
    tiled_.lower(engine, factor, workspace);
  }
  void diagonal(E& engine, const DealtMatrix<T>& factor, MatrixView<T> diagonal) override {
    tiled_.diagonal(engine, factor, diagonal);
  }

 private:
  // Deals A and factors it. NaN and infinite pivots show on the diagonal of the factor, if nowhere else.
  static void factor(E& engine, const BlockCyclicMatrix<T>& shards, BlockCyclicCholeskyWorkspace<T>& w) {
    move(engine, shards, w.a);
    const std::int32_t found = Solver::get(engine, w.common.words).potrf(w.a, SolverWorkspace::rest_of(w.rest));
    const int rank = engine.rank();
    engine.set_info(Lane::panel, w.common.info + rank, found > 0 ? found : no_failure);
    engine.set_info(Lane::panel, w.common.failed, 0);
    const BlockCyclic& layout = w.a.layout;
    const std::int64_t n = layout.rows.n, tile = layout.rows.block;
    for (std::int64_t begin = 0; begin < n; begin += tile) {
      if (layout.grid().rank(layout.rows.owner(begin), layout.columns.owner(begin)) != rank) continue;
      const std::int64_t width = std::min(tile, n - begin);
      engine.check_factor(Lane::panel,
                          w.a.part(rank).block(layout.rows.local(begin), layout.columns.local(begin), width, width),
                          w.common.failed, begin, w.common.info + rank);
    }
  }

  // All ranks agree on the least failing minor; if there is one, x becomes NaN.
  static void conclude(E& engine, MatrixView<T> x, std::int32_t* info, const SolverWorkspace& w) {
    share_entries(engine, Lane::panel, w.info);
    engine.conclude(Lane::panel, w.info, x, info);
    engine.join();
  }

  TiledCholesky<T, E> tiled_;
};

}  // namespace jaxmg
