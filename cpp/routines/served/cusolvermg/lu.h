// LU routines served by cuSOLVERMg: gesv only. cuSOLVERMg has no solve with a transpose. It therefore factors A, while
// our own routines factor A^T in place; their factors are not interchangeable.
#pragma once

#include <cstdint>

#include "algorithms/moves/block_cyclic.h"
#include "layout/block_cyclic.h"
#include "routines/gesv.h"
#include "routines/served/cusolvermg/solver.h"
#include "routines/served/rows_of_matrix.h"

namespace jaxmg {

template <>
struct Served<CusolverMg, routines::Gesv> : CusolverMgSystem<routines::Gesv> {
  using Buffers = Signature<InOut<Shard>, InOut<RightHandSides>, Out<Info>>;  // returns no factors; A is lost

  // The columns of A in the library's layout, and their pivots.
  template <class T>
  struct Columns {
    BlockCyclicMatrix<T> columns;
    std::int32_t* pivots;

    Columns(Arena& arena, const Problem& q, const Plan& plan)
        : columns(BlockCyclic(q.n, q.n, q.n, plan.tile, {1, static_cast<int>(q.ranks)}), arena),
          pivots(arena.take<std::int32_t>(columns.layout.columns.most())) {}
  };
  template <class T>
  struct Workspace : Columns<T>, Staged<> {
    Workspace(Arena arena, const Problem& q, const Plan& plan) : Columns<T>(arena, q, plan), Staged<>(arena, q, plan) {}
  };

  static double seconds(const CusolverMgCost& cost, const Problem& q) { return cost.gesv(q.n, q.nrhs); }
  static void call(auto& session, DealtOperands& on, VendorWorkspace& memory) {
    session.getrf(on.a, on.pivots, memory);
    if (session.info() == 0) session.getrs(on.a, on.pivots, on.b, memory);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> info) {
    move(engine, conjugated_rows(engine, q, a, w.columns.data), w.columns);
    engine.conjugate(Lane::panel, x);
    engine.join();
    const std::int32_t failed = call_library<T>(engine, q, plan, w, w.columns.part(engine.rank()), x, w.pivots);
    share_solution(engine, plan, x);
    engine.conjugate(Lane::panel, x);
    begin_status(engine, w, failed > 0 ? failed : no_failure);
    conclude(engine, x, info.data, w);
  }
};

}  // namespace jaxmg
