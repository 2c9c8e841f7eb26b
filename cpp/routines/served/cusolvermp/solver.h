// What routines served by a solver of block-cyclic matrices have in common: vendors' distributed libraries take a
// matrix in square tiles, dealt over a grid of ranks.
//
// Such a solver serves linear systems, factorisations and eigenvalue problems. A factor that is kept goes back to tile
// columns, for our own routines.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/arena.h"
#include "core/ceil_div.h"
#include "core/fields.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_cyclic.h"
#include "planner/cost_model.h"
#include "planner/plan.h"
#include "planner/problem.h"
#include "routines/signature.h"

namespace jaxmg {

// The solver as ranks with engine E have it: CusolverMpOn<E>::get(engine, words) is this rank's part, where `words` are
// word_count numbers through which the ranks may meet. It works in the lane `panel`, and has
//
//   potrf(a, workspace)                  A = L L^H in the lower triangle; returns LAPACK's info, as far as known here
//   potrs(a, b, workspace)               L L^H X = B in place of B
//   syevd(a, w, z, vectors, workspace)   A = Z diag(w) Z^H, w on every rank; no Z unless vectors are wanted
//   potrf_bytes(a), potrs_bytes(a, b), syevd_bytes(a, w, z, vectors)    of workspace, here
//
// for BlockCyclicMatrix a, b, z in square tiles on one grid, and a MemoryRegion. Only the solver can tell how much
// workspace it needs, and only on its ranks: a call of its own asks for library_bytes() before a call is made.
template <class E>
struct CusolverMpOn;

// P, and how the ranks stand: the matrix is in blocks of rows and columns over a grid of `grid_rows` rows, or in rows.
template <class P>
struct GridProblem : P {
  std::int64_t grid_rows = 0;

  void fields(auto&& visit) {
    P::fields(visit);
    visit("grid_rows", grid_rows);
  }

  void check() const {
    P::check();
    require(this->platform == Platform::cuda, "grids of ranks are known on GPUs only");
    require(grid_rows >= 0 && (grid_rows == 0 || this->ranks % grid_rows == 0),
            "the number of rows of the grid, " + std::to_string(grid_rows) + ", must divide the number of devices, " +
                std::to_string(this->ranks));
  }
  bool in_blocks() const { return grid_rows > 1; }
  // The solver's grid: that of the blocks, or the squarest.
  ProcessGrid grid() const {
    const int ranks = static_cast<int>(this->ranks), rows = static_cast<int>(grid_rows);
    return in_blocks() ? ProcessGrid{rows, ranks / rows} : squarest_grid(ranks);
  }
  // How the columns of A^T lie in the shards that JAX has of A: in blocks of rows and columns, or of whole columns.
  BlockCyclic shards() const {
    const int ranks = static_cast<int>(this->ranks);
    return BlockCyclic::in_pieces(this->n, this->n, in_blocks() ? grid() : ProcessGrid{1, ranks});
  }
};

struct GridPlan : Plan {
  std::int64_t block = 1;  // order of the solver's square tiles

  void fields(auto&& visit) {
    Plan::fields(visit);
    visit("block", block);
  }
};

// This rank's part of A, as JAX has it.
struct GridShard {
  static constexpr auto name = "a";
  template <class T>
  using Element = T;
  static Shape shape(const auto& q, const auto&) {
    const BlockCyclic shards = q.shards();
    return {shards.columns.block, shards.rows.block};
  }
};

// Order of the tiles. Wide tiles make good products, narrow ones keep all ranks busy to the end. (cuSOLVERMp 0.9.1, f64
// on 2 x 2 H200: at n = 32768 and 65536 tiles of 1024 are the fastest.) Of more than 256 x 256 tiles the exchanges
// would be long lists.
template <class P>
std::int64_t choose_block(const GridProblem<P>& q) {
  const std::int64_t least = ceil_div(q.n, 256);
  if (q.tile > 0) return std::clamp(q.tile, least, q.n);
  const ProcessGrid grid = q.grid();
  const std::int64_t share = ceil_div(q.n, std::max(grid.rows, grid.columns));
  return std::max(least, std::min<std::int64_t>(share, q.n >= 32768 ? 1024 : q.n >= 8192 ? 512 : 256));
}

// The plan of a routine S that the solver serves, but for what is special.
template <class S>
Planned<typename S::Plan> plan_on_grid(const typename S::Problem& q, typename S::Plan plan) {
  plan.block = choose_block(q);
  Planned<typename S::Plan> made{plan};
  made.shard_bytes = q.shard_bytes();
  made.workspace_bytes = workspace_bytes<S>(q, plan);
  made.seconds = S::seconds(GridCost(q.platform, q.type, q.ranks, q.network), q);
  return made;
}

// Memory of every routine of the solver, and of calls that ask how much workspace it needs.
struct SolverWorkspace {
  std::int32_t* info;    // an entry for each rank
  std::int32_t* failed;  // one more word
  std::uint32_t* words;  // to meet

  static constexpr std::int64_t word_count = 64;

  SolverWorkspace(Arena& arena, std::int64_t ranks)
      : info(arena.take<std::int32_t>(ranks)),
        failed(arena.take<std::int32_t>(1)),
        words(arena.take<std::uint32_t>(word_count)) {}

  static MemoryRegion rest_of(Arena& arena) { return {arena.take<std::byte>(0), arena.left()}; }
};

// For a question about matrices, whose addresses the solver does not follow.
template <class T>
BlockCyclicMatrix<T> anywhere(const BlockCyclic& layout, const SolverWorkspace& w) {
  return {layout, reinterpret_cast<T*>(w.words)};
}

}  // namespace jaxmg
