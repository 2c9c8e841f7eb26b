// Cholesky routines served by a solver of block-cyclic matrices.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/moves/block_cyclic.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/moves/share_entries.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "layout/block_cyclic.h"
#include "layout/tile_columns.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/posv.h"
#include "routines/potrf.h"
#include "routines/serve.h"
#include "routines/served/cusolvermp/solver.h"

namespace jaxmg {

// A, B and the rest of the workspace, which is the solver's own: the planner does not know its size.
template <class T>
struct BlockCyclicCholesky {
  SolverWorkspace common;
  Arena shared;  // where the matrices begin: a factor is dealt in their place
  BlockCyclicMatrix<T> a, b;
  Arena rest;

  // For `nrhs` right-hand sides, or none.
  BlockCyclicCholesky(Arena arena, std::int64_t n, std::int64_t nrhs, std::int64_t block, ProcessGrid grid)
      : common(arena, grid.size()),
        shared(arena),
        a(BlockCyclic(n, n, block, block, grid), arena),
        b(BlockCyclic(n, nrhs, block, block, grid), arena),
        rest(arena) {}

  // Deals A and factors it. NaN and infinite pivots show on the diagonal of the factor, if nowhere else.
  template <class E>
  void factor(E& engine, const BlockCyclicMatrix<T>& shards) {
    move(engine, shards, a);
    const std::int32_t found = CusolverMpOn<E>::get(engine, common.words).potrf(a, SolverWorkspace::rest_of(rest));
    const int rank = engine.rank();
    engine.set_info(Lane::panel, common.info + rank, found > 0 ? found : no_failure);
    engine.set_info(Lane::panel, common.failed, 0);
    const BlockCyclic& layout = a.layout;
    const std::int64_t n = layout.rows.n, tile = layout.rows.block;
    for (std::int64_t begin = 0; begin < n; begin += tile) {
      if (layout.grid().rank(layout.rows.owner(begin), layout.columns.owner(begin)) != rank) continue;
      const std::int64_t width = std::min(tile, n - begin);
      engine.check_factor(Lane::panel,
                          a.part(rank).block(layout.rows.local(begin), layout.columns.local(begin), width, width),
                          common.failed, begin, common.info + rank);
    }
  }

  // All ranks agree on the least failing minor; if there is one, x becomes NaN.
  template <class E>
  void conclude(E& engine, MatrixView<T> x, std::int32_t* info) const {
    share_entries(engine, Lane::panel, common.info);
    engine.conclude(Lane::panel, common.info, x, info);
    engine.join();
  }
};

template <>
struct Served<CusolverMp, routines::Potrf> {
  using Problem = GridProblem<SquareProblem>;
  using Plan = GridPlan;
  using Buffers = Signature<InOut<Shard>, Out<Info>>;

  template <class T>
  struct Workspace : BlockCyclicCholesky<T> {
    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : BlockCyclicCholesky<T>(arena, q.n, 0, plan.block, q.grid()) {
      Arena dealing = this->shared;
      if (q.ranks > 1) dealing.take<T>(q.n * plan.tile);
      bytes_ = std::max(this->rest.used(), dealing.used());
    }
    std::int64_t bytes() const { return bytes_; }

   private:
    std::int64_t bytes_;
  };

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    require(!q.in_blocks(), "a factor that is kept is made from rows of A");
    return plan_on_grid<Served>(q, {{choose_tile(q)}});
  }
  static double seconds(const GridCost& cost, const Problem& q) { return cost.potrf(q.n); }

  template <class T, class E>
  static std::int64_t library_bytes(E& engine, const Problem& q, const Plan& plan, const SolverWorkspace& w) {
    const BlockCyclic layout(q.n, q.n, plan.block, plan.block, q.grid());
    return CusolverMpOn<E>::get(engine, w.words).potrf_bytes(anywhere<T>(layout, w));
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> info) {
    const BlockCyclicMatrix<T> shards(q.shards(), a.data);
    w.factor(engine, shards);
    move(engine, w.a, shards);
    engine.join();
    redistribute(engine, q.layout(plan.tile), a, w.shared.rest(), false);
    w.conclude(engine, a, info.data);
  }
};

template <>
struct Served<CusolverMp, routines::Posv> {
  using Problem = GridProblem<SystemProblem>;
  struct Plan : GridPlan {
    bool distributed_rhs = false;

    template <class Visit>
    void fields(Visit&& visit) {
      GridPlan::fields(visit);
      visit("distributed_rhs", distributed_rhs);
    }
  };
  using Buffers = Signature<InOut<GridShard>, InOut<RightHandSides>, Out<Info>>;

  template <class T>
  struct Workspace : BlockCyclicCholesky<T> {
    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : BlockCyclicCholesky<T>(arena, q.n, columns(q, plan), plan.block, q.grid()) {}
    std::int64_t bytes() const { return this->rest.used(); }
  };

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    auto made = plan_on_grid<Served>(q, {{{choose_tile(q)}}, distributes(q)});
    made.rhs_bytes = columns_of_rank(q, made.plan.distributed_rhs) * q.n * size_of(q.type);
    return made;
  }
  static double seconds(const GridCost& cost, const Problem& q) { return cost.potrf(q.n) + cost.potrs(q.n, q.nrhs); }

  template <class T, class E>
  static std::int64_t library_bytes(E& engine, const Problem& q, const Plan& plan, const SolverWorkspace& w) {
    const auto a = anywhere<T>(BlockCyclic(q.n, q.n, plan.block, plan.block, q.grid()), w);
    const auto b = anywhere<T>(BlockCyclic(q.n, columns(q, plan), plan.block, plan.block, q.grid()), w);
    auto&& solver = CusolverMpOn<E>::get(engine, w.words);
    return std::max(solver.potrf_bytes(a), solver.potrs_bytes(a, b));
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> info) {
    const BlockCyclicMatrix<T> columns_of_x(BlockCyclic::in_pieces(q.n, columns(q, plan), {1, engine.size()}), x.data);
    if (plan.distributed_rhs) {
      move(engine, columns_of_x, w.b);
    } else {
      deal_copies(engine, x, w.b);
    }
    w.factor(engine, {q.shards(), a.data});
    CusolverMpOn<E>::get(engine, w.common.words).potrs(w.a, w.b, SolverWorkspace::rest_of(w.rest));
    if (plan.distributed_rhs) {
      move(engine, w.b, columns_of_x);
    } else {
      gather_copies(engine, w.b, x);
    }
    w.conclude(engine, x, info.data);
  }

 private:
  // Right-hand sides of all ranks, padded where each has a share.
  static std::int64_t columns(const Problem& q, const Plan& plan) {
    return plan.distributed_rhs ? q.ranks * q.share(q.nrhs) : q.nrhs;
  }
};

}  // namespace jaxmg
