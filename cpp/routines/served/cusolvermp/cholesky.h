// Cholesky routines served by a solver of block-cyclic matrices.
#pragma once

#include <cstdint>

#include "routines/posv.h"
#include "routines/potrf.h"
#include "routines/served/cusolvermp/system.h"

namespace jaxmg {

// Finds failures of a factor. `found` is the failing minor that the solver reports, if any; NaN and infinite pivots are
// found on the diagonal.
template <class E>
void check_block_cyclic_factor(E& engine, const auto& w, std::int32_t found) {
  begin_status(engine, w.common, found > 0 ? found : no_failure);
  w.a.each_diagonal(engine.rank(), [&](std::int64_t begin, auto block) {
    engine.check_factor(Lane::panel, block, w.common.failed, begin, w.common.info + engine.rank());
  });
}

template <>
struct Served<CusolverMp, routines::Potrf> : CusolverMpRoutine<routines::Potrf, SquareProblem, GridPlan> {
  using Buffers = Signature<InOut<Shard>, Out<Info>>;
  template <class T>
  using Workspace = BlockCyclicSystem<T, Dealing<T>>;

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
    conclude(engine, a, info.data, w.common);
    engine.join();
  }
};

template <>
struct Served<CusolverMp, routines::Posv> : CusolverMpRoutine<routines::Posv, SystemProblem, GridSystemPlan> {
  static constexpr bool takes_blocks = true;
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
    conclude(engine, x, info.data, w.common);
    engine.join();
  }
};

}  // namespace jaxmg
