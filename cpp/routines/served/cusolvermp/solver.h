// Shared parts of routines served by a solver of block-cyclic matrices: vendors' distributed libraries require square
// tiles, dealt over a grid of ranks.
//
// Such a solver serves linear systems, factorisations, eigenvalue problems and singular value decompositions. A
// returned factor is redistributed to tile columns, for our own routines.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "core/arena.h"
#include "core/ceil_div.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_cyclic.h"
#include "routines/record.h"
#include "routines/serve.h"
#include "vendor/workspace.h"

namespace jaxmg {

// The solver of engine E: CusolverMpOn<E>::get(engine, words) is this rank's part. `words` are word_count numbers for
// the rendezvous of the ranks. It works in the lane `panel`, and has
//
//   potrf(a, workspace)                  A = L L^H in the lower triangle; returns LAPACK's info, as far as known here
//   potrs(a, b, workspace)               L L^H X = B in place of B
//   getrf(a, pivots, workspace)          P A = L U; pivots: 64-bit, of the local rows plus one block
//   getrs(a, pivots, b, workspace)       A X = B in place of B
//   syevd(a, w, z, vectors, workspace)   A = Z diag(w) Z^H, w on every rank; no Z unless vectors are wanted
//   geqrf(a, tau, workspace)             A = Q R as LAPACK's; tau: of the local columns
//   gesvd(a, s, u, vh, vectors, workspace)   A = U diag(s) V^H, s on every rank; no U and V^H unless wanted; A is lost
//   polar(a, h, workspace)               A = U H, U in place of A
//
// for BlockCyclicMatrix a, b, z, u, vh, h in square tiles on one grid, and a VendorWorkspace. Only the solver can
// compute its workspace, and only on its ranks: a separate call queries library_bytes() first.
template <class E>
struct CusolverMpOn;

// P, with the grid of the ranks: the matrix is in blocks over a grid of `grid_rows` rows, or sharded over rows.
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
  // Layout of the columns of A^T in the shards of A: blocks of rows and columns, or block columns.
  BlockCyclic shards() const {
    const int ranks = static_cast<int>(this->ranks);
    return BlockCyclic::in_pieces(this->n, this->n, in_blocks() ? grid() : ProcessGrid{1, ranks});
  }
  // Layout of the solver's matrices, in square tiles.
  BlockCyclic tiles(std::int64_t block) const { return {this->rows(), this->n, block, block, grid()}; }
};

struct GridPlan : Plan {
  std::int64_t block = 1;  // order of the solver's square tiles

  void fields(auto&& visit) {
    Plan::fields(visit);
    visit("block", block);
  }
};

using GridSystemPlan = WithDistribution<GridPlan>;

// This rank's shard of A.
struct GridShard : OfScalars {
  static constexpr auto name = "a";
  static Shape shape(const auto& q, const auto&) {
    const BlockCyclic shards = q.shards();
    return {shards.columns.block, shards.rows.block};
  }
};

// Order of the tiles. Wide tiles make good products, narrow ones keep all ranks busy to the end. (cuSOLVERMp 0.9.1, f64
// on 2 x 2 H200: at n = 32768 and 65536 tiles of 1024 are the fastest.) More than 256 x 256 tiles would make
// the lists of exchanges long.
template <class P>
std::int64_t choose_block(const GridProblem<P>& q) {
  const std::int64_t least = ceil_div(q.n, 256);
  if (q.tile > 0) return std::clamp(q.tile, least, q.n);
  const ProcessGrid grid = q.grid();
  const std::int64_t share = ceil_div(q.n, std::max(grid.rows, grid.columns));
  return std::max(least, std::min<std::int64_t>(share, q.n >= 32768 ? 1024 : q.n >= 8192 ? 512 : 256));
}

// Memory of every routine of the solver, and of workspace queries.
struct SolverWorkspace : StatusWorkspace {
  std::uint32_t* words;  // for the rendezvous

  static constexpr std::int64_t word_count = 64;

  SolverWorkspace(Arena& arena, std::int64_t ranks)
      : StatusWorkspace(arena, ranks), words(arena.take<std::uint32_t>(word_count)) {}

  static VendorWorkspace rest_of(Arena& arena) { return {{arena.take<std::byte>(0)}, arena.left()}; }
};

// A routine R with the arguments P that the solver serves. Its calls of the solver, in order, are in
//   call<T>(solver, q, workspace, memory)
// It may have
//   static constexpr bool takes_blocks = true;     A may be in blocks over the grid
//   static std::int64_t rhs_bytes(q)               of results besides A
template <class R, class P, class MadePlan>
struct CusolverMpRoutine {
  using Problem = GridProblem<P>;
  using Plan = MadePlan;
  using Self = Served<CusolverMp, R>;

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    require(
        !q.in_blocks() || requires { Self::takes_blocks; },
        std::string("cuSOLVERMp's ") + R::name + " takes a matrix in rows, not in blocks of rows and columns");
    Planned<Plan> made;
    made.plan.tile = choose_tile(q);
    made.plan.block = choose_block(q);
    made.shard_bytes = q.shard_bytes();
    place_right_hand_sides(q, made);
    if constexpr (requires { Self::rhs_bytes(q); }) made.rhs_bytes = Self::rhs_bytes(q);
    made.workspace_bytes = workspace_bytes<Self>(q, made.plan);
    made.seconds = Self::seconds(cost_of<GridCost>(q), q);
    return made;
  }

  // Workspace queries use matrices without memory: the solver does not dereference their addresses.
  template <class T, class E>
  static std::int64_t library_bytes(E& engine, const Problem& q, const Plan& plan, const SolverWorkspace& w) {
    using Workspace = typename Self::template Workspace<T>;
    const Workspace nowhere(Arena(w.words, std::numeric_limits<std::int64_t>::max()), q, plan);
    VendorWorkspace measure;
    Self::template call<T>(CusolverMpOn<E>::get(engine, w.words), q, nowhere, measure);
    return measure.bytes;
  }

 protected:
  // Returns LAPACK's info, as far as known here.
  template <class T, class E>
  static std::int32_t call_solver(E& engine, const Problem& q, auto& w) {
    VendorWorkspace memory = SolverWorkspace::rest_of(w.rest);
    return Self::template call<T>(CusolverMpOn<E>::get(engine, w.common.words), q, w, memory);
  }
};

}  // namespace jaxmg
