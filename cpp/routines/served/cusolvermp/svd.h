// Singular value and polar decompositions served by a solver of block-cyclic matrices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/block_cyclic.h"
#include "comm/block.h"
#include "routines/gesvd.h"
#include "routines/polar.h"
#include "routines/served/cusolvermp/decomposition.h"
#include "routines/served/rows_of_matrix.h"

namespace jaxmg {

template <>
struct Served<CusolverMp, routines::Gesvd> : CusolverMpRoutine<routines::Gesvd, routines::Gesvd::Problem, GridPlan> {
  static constexpr bool data_decides = true;  // steps of the iteration
  using Buffers = routines::Gesvd::Buffers;

  template <class T>
  struct Workspace {
    SolverWorkspace common;
    ScalingWorkspace<T> scaling;
    Real<T>* values;             // singular values of the call; a placeholder in workspace queries
    BlockCyclicMatrix<T> u, vh;  // not written without vectors
    StagedArena shared;          // A and, when it is no longer needed, `rows`
    BlockCyclicMatrix<T> a;
    Arena rest;
    AdjointOfShard<T> rows;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : common(arena, q.ranks),
          scaling(arena, q.ranks),
          values(scaling.norms),
          u(q.tiles(plan.block), arena.take<T>(vector_elements(q, plan))),
          vh(q.tiles(plan.block), arena.take<T>(vector_elements(q, plan))),
          shared(arena),
          a(q.tiles(plan.block), arena),
          rest(arena),
          rows(shared.stage<AdjointOfShard<T>>(q, plan)) {}
    std::int64_t bytes() const { return std::max(rest.used(), shared.bytes()); }

   private:
    static std::int64_t vector_elements(const Problem& q, const Plan& plan) {
      return q.vectors > 0 ? q.tiles(plan.block).most_elements() : 0;
    }
  };

  static std::int64_t rhs_bytes(const Problem& q) { return q.vectors > 0 ? 2 * q.shard_bytes() : 0; }
  static double seconds(const GridCost& cost, const Problem& q) { return cost.polar(q.n) + cost.syevd(q.n, q.vectors); }
  template <class T>
  static std::int32_t call(auto&& solver, const Problem& q, const Workspace<T>& w, VendorWorkspace& memory) {
    return solver.gesvd(w.a, w.values, w.u, w.vh, q.vectors > 0, memory);
  }

  // Of A^T in the shards, see routines/gesvd.h: its left singular vectors are the rows of V^H, its right ones the rows
  // of U^H.
  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<Real<T>> s,
                  MatrixView<T> u, MatrixView<T> vh, MatrixView<std::int32_t> info) {
    DecompositionSteps<T, E> steps(engine, w.common, w.scaling);
    const MatrixView<T> right = q.right_vectors_in(u);
    move(engine, {q.shards(), a.data}, w.a);
    steps.scale(w.a);
    w.values = s.data;
    steps.found(call_solver<T>(engine, q, w));
    // Values must be bitwise equal on all ranks.
    engine.exchange(Lane::panel, {make_block(0, all_ranks, s, s)});
    if (q.vectors > 0) {
      steps.to_columns(w.u, vh);
      steps.to_columns_of_adjoint(w.vh, w.rows.adjoint.data, right);
    }
    engine.divide(Lane::panel, w.scaling.scale, s);
    steps.conclude(info.data, s, vh, right);
    if (q.vectors > 0 && q.as_columns) adjoint_in_place(engine, Lane::panel, right, w.rows.adjoint);
  }
};

template <>
struct Served<CusolverMp, routines::Polar> : CusolverMpRoutine<routines::Polar, routines::Polar::Problem, GridPlan> {
  static constexpr bool data_decides = true;  // steps of the iteration
  using Buffers = routines::Polar::Buffers;

  template <class T>
  struct Workspace {
    SolverWorkspace common;
    ScalingWorkspace<T> scaling;
    AdjointOfShard<T> rows;
    BlockCyclicMatrix<T> a, h;
    Arena rest;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : common(arena, q.ranks),
          scaling(arena, q.ranks),
          rows(arena, q, plan),
          a(q.tiles(plan.block), arena),
          h(a.layout, arena),
          rest(arena) {}
    std::int64_t bytes() const { return rest.used(); }
  };

  static std::int64_t rhs_bytes(const Problem& q) { return q.factor_h ? q.shard_bytes() : 0; }
  static double seconds(const GridCost& cost, const Problem& q) { return cost.polar(q.n); }
  template <class T>
  static std::int32_t call(auto&& solver, const Problem&, const Workspace<T>& w, VendorWorkspace& memory) {
    return solver.polar(w.a, w.h, memory);
  }

  // The shards are columns of M = A^T, see routines/polar.h. From M = U H come the rows of the left factor of A, from
  // M^H = U H those of the right one, and the unitary factor of M is the adjoint of this U.
  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<T> h,
                  MatrixView<std::int32_t> info) {
    DecompositionSteps<T, E> steps(engine, w.common, w.scaling);
    T* const scratch = w.rows.adjoint.data;
    if (q.left) {
      move(engine, {q.shards(), a.data}, w.a);
    } else {
      move(engine, conjugated_rows(engine, q, a, scratch), w.a);
    }
    steps.scale(w.a);
    steps.found(call_solver<T>(engine, q, w));
    if (q.left) {
      steps.to_columns(w.a, a);
    } else {
      steps.to_columns_of_adjoint(w.a, scratch, a);
    }
    if (q.factor_h) {
      steps.to_columns(w.h, h);
      engine.divide(Lane::panel, w.scaling.scale, h);
    }
    steps.conclude(info.data, a, h);
  }
};

}  // namespace jaxmg
