// Cholesky routines served by a solver of block-cyclic matrices.
#pragma once

#include <algorithm>
#include <cstdint>

#include "routines/posv.h"
#include "routines/potrf.h"
#include "routines/served/cusolvermp/system.h"

namespace jaxmg {

// Finds failures of a factor. `found` is the failing minor that the solver reports, if any; NaN and infinite pivots are
// found on the diagonal.
template <class E>
void check_block_cyclic_factor(E& engine, const auto& w, std::int32_t found) {
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

template <>
struct Served<CusolverMp, routines::Potrf> : CusolverMpRoutine<routines::Potrf, SquareProblem, GridPlan> {
  using Buffers = Signature<InOut<Shard>, Out<Info>>;
  template <class T>
  using Workspace = BlockCyclicSystem<T, Dealing<T>>;

  static Planned<Plan> plan(const Problem& q) {
    require(!q.in_blocks(), "a factor that is kept is made from rows of A");
    return CusolverMpRoutine::plan(q);
  }
  static double seconds(const GridCost& cost, const Problem& q) { return cost.potrf(q.n); }
  template <class T>
  static std::int32_t call(auto&& solver, const Problem&, const Workspace<T>& w, VendorWorkspace& memory) {
    return solver.potrf(w.a, memory);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> info) {
    const BlockCyclicMatrix<T> shards(q.shards(), a.data);
    move(engine, shards, w.a);
    check_block_cyclic_factor(engine, w, call_solver<T>(engine, q, w));
    move(engine, w.a, shards);
    engine.join();
    redistribute(engine, q.layout(plan.tile), a, w.shared.shared(), false);
    w.conclude(engine, a, info.data);
  }
};

template <>
struct Served<CusolverMp, routines::Posv> : CusolverMpRoutine<routines::Posv, SystemProblem, GridSystemPlan> {
  using Buffers = Signature<InOut<GridShard>, InOut<RightHandSides>, Out<Info>>;
  template <class T>
  using Workspace = BlockCyclicSystem<T>;

  static double seconds(const GridCost& cost, const Problem& q) { return cost.potrf(q.n) + cost.potrs(q.n, q.nrhs); }
  template <class T>
  static std::int32_t call(auto&& solver, const Problem&, const Workspace<T>& w, VendorWorkspace& memory) {
    const std::int32_t found = solver.potrf(w.a, memory);
    solver.potrs(w.a, w.b, memory);
    return found;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> info) {
    w.fetch(engine, x, plan.distributed_rhs);
    move(engine, {q.shards(), a.data}, w.a);
    check_block_cyclic_factor(engine, w, call_solver<T>(engine, q, w));
    w.put_back(engine, x, plan.distributed_rhs);
    w.conclude(engine, x, info.data);
  }
};

}  // namespace jaxmg
