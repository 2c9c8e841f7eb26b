// LU routines served by a solver of block-cyclic matrices: gesv only. cuSOLVERMp has no solve with a transpose. It
// therefore factors A, while our own routines factor A^T in place; their factors are not interchangeable.
#pragma once

#include <cstdint>

#include "layout/block_cyclic.h"
#include "routines/gesv.h"
#include "routines/served/cusolvermp/system.h"
#include "routines/served/rows_of_matrix.h"

namespace jaxmg {

template <>
struct Served<CusolverMp, routines::Gesv> : CusolverMpRoutine<routines::Gesv, SystemProblem, GridSystemPlan> {
  using Buffers = Signature<InOut<Shard>, InOut<RightHandSides>, Out<Info>>;  // returns no factors; A is lost
  template <class T>
  struct Workspace : BlockCyclicSystem<T, AdjointOfShard<T>> {
    std::int64_t* pivots;  // of the local rows, plus one block

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : Workspace::BlockCyclicSystem(arena, q, plan),
          pivots(this->rest.template take<std::int64_t>(this->a.layout.rows.most() + plan.block)) {}
  };

  static double seconds(const GridCost& cost, const Problem& q) { return cost.gesv(q.n, q.nrhs); }
  template <class T>
  static std::int32_t call(auto&& solver, const Problem&, const Workspace<T>& w, VendorWorkspace& memory) {
    const std::int32_t found = solver.getrf(w.a, w.pivots, memory);
    solver.getrs(w.a, w.pivots, w.b, memory);
    return found;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> info) {
    Arena scratch = w.shared.shared();
    move(engine, conjugated_rows(engine, q, a, scratch.take<T>(0)), w.a);
    engine.conjugate(Lane::panel, x);
    w.fetch(engine, x, plan.distributed_rhs);
    const std::int32_t found = call_solver<T>(engine, q, w);
    begin_status(engine, w.common, found > 0 ? found : no_failure);
    // cuSOLVERMp 0.9.1 does not report pivots that are zero. With four ranks, elements of U's diagonal above the first
    // such pivot are NaN, too, and the number in info is lower than LAPACK's.
    w.a.each_diagonal(engine.rank(), [&](std::int64_t begin, auto block) {
      engine.check_pivots(Lane::panel, block, begin, w.common.info + engine.rank());
    });
    w.put_back(engine, x, plan.distributed_rhs);
    engine.conjugate(Lane::panel, x);
    conclude(engine, x, info.data, w.common);
    engine.join();
  }
};

}  // namespace jaxmg
