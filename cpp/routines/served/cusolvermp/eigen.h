// Eigenvalue problems served by a solver of block-cyclic matrices.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/block_cyclic.h"
#include "comm/block.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "routines/served/cusolvermp/decomposition.h"
#include "routines/syevd.h"

namespace jaxmg {

template <>
struct Served<CusolverMp, routines::Syevd> : CusolverMpRoutine<routines::Syevd, routines::SyevdProblem, GridPlan> {
  static constexpr bool data_decides = true;  // which eigenvectors are wanted
  static constexpr bool takes_blocks = true;
  using Buffers = Signature<InOut<GridShard>, In<routines::Bounds>, Out<routines::Eigenvalues>,
                            Out<routines::Eigenvectors>, Out<routines::Found>, Out<Info>>;

  template <class T>
  struct Workspace {
    SolverWorkspace common;
    ScalingWorkspace<T> scaling;
    Real<T>* values;            // eigenvalues of the call; a placeholder in workspace queries
    StagedArena shared;         // the matrices and, when they are no longer needed, `turned`
    BlockCyclicMatrix<T> a, z;  // z is not written without eigenvectors
    Arena rest;
    routines::AdjointWorkspace<T> turned;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : common(arena, q.ranks),
          scaling(arena, q.ranks),
          values(scaling.norms),
          shared(arena),
          a(q.tiles(plan.block), arena),
          z(a.layout, q.vectors > 0 ? arena.take<T>(a.layout.most_elements()) : a.data),
          rest(arena),
          turned(shared.stage<routines::AdjointWorkspace<T>>(q, plan)) {}
    std::int64_t bytes() const { return std::max(rest.used(), shared.bytes()); }
  };

  static Planned<Plan> plan(const Problem& q) {
    auto made = CusolverMpRoutine::plan(q);
    made.plan.tile = made.plan.block;
    return made;
  }
  static std::int64_t rhs_bytes(const Problem& q) { return q.vector_bytes(); }
  static double seconds(const GridCost& cost, const Problem& q) { return cost.syevd(q.n, q.vectors); }
  template <class T>
  static std::int32_t call(auto&& solver, const Problem& q, const Workspace<T>& w, VendorWorkspace& memory) {
    return solver.syevd(w.a, w.values, w.z, q.vectors > 0, memory);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> matrix,
                  MatrixView<Real<T>> bounds, MatrixView<Real<T>> eigenvalues, MatrixView<T> vectors,
                  MatrixView<std::int32_t> found, MatrixView<std::int32_t> info) {
    DecompositionSteps<T, E> steps(engine, w.common, w.scaling);
    const MatrixView<T> z = q.vectors_in(vectors);
    move(engine, {q.shards(), matrix.data}, w.a);
    keep_lower(engine, w.a);
    steps.scale(w.a);
    w.values = eigenvalues.data;
    steps.found(call_solver<T>(engine, q, w));
    // Ranks must choose by bitwise equal eigenvalues.
    engine.exchange(lane, {make_block(0, all_ranks, eigenvalues, eigenvalues)});
    if (!z.empty()) {
      std::vector<Real<T>> values(static_cast<std::size_t>(q.by_value ? q.n : 0));
      engine.fetch(lane, eigenvalues.data, static_cast<std::int64_t>(values.size()), values.data());
      const EigenvectorRange wanted = chosen(engine, lane, q.choice(bounds, found), values, w.scaling.scale);
      steps.to_columns(w.z, wanted, z);
    }
    engine.divide(lane, w.scaling.scale, eigenvalues);
    steps.conclude(info.data, eigenvalues, z);
    if (!z.empty() && q.as_columns) adjoint_in_place(engine, lane, z, w.turned.adjoint);
  }

 private:
  static constexpr Lane lane = Lane::panel;

  // Only the lower triangle counts: blocks above the diagonal become zero, and blocks on it Hermitian.
  template <class T, class E>
  static void keep_lower(E& engine, const BlockCyclicMatrix<T>& matrix) {
    const BlockCyclic& layout = matrix.layout;
    const int row = layout.grid().row(engine.rank()), column = layout.grid().column(engine.rank());
    const MatrixView<T> a = matrix.part(engine.rank());
    const std::int64_t n = layout.rows.n, tile = layout.rows.block;
    for (std::int64_t begin = 0; begin < n; begin += tile) {
      if (layout.columns.owner(begin) != column) continue;
      const std::int64_t width = std::min(tile, n - begin), at = layout.columns.local(begin);
      const std::int64_t above = CyclicBlocks{begin, tile, layout.rows.processes}.count(row);
      engine.zero(lane, a.block(0, at, above, width));
      if (layout.rows.owner(begin) == row) engine.mirror(lane, a.block(above, at, width, width));
    }
  }
};

}  // namespace jaxmg
