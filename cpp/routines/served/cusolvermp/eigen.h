// Eigenvalue problems served by a solver of block-cyclic matrices.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/block_cyclic.h"
#include "algorithms/moves/share_entries.h"
#include "comm/block.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/scaling_ops.h"
#include "routines/served/cusolvermp/solver.h"
#include "routines/syevd.h"

namespace jaxmg {

template <>
struct Served<CusolverMp, routines::Syevd> : CusolverMpRoutine<routines::Syevd, routines::SyevdProblem, GridPlan> {
  static constexpr bool data_decides = true;  // which eigenvectors are wanted
  using Buffers = Signature<InOut<GridShard>, In<routines::Bounds>, Out<routines::Eigenvalues>,
                            Out<routines::Eigenvectors>, Out<routines::Found>, Out<Info>>;

  template <class T>
  struct Workspace {
    SolverWorkspace common;
    routines::ScalingWorkspace<T> scaling;
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
          a(BlockCyclic(q.n, q.n, plan.block, plan.block, q.grid()), arena),
          z(a.layout, q.vectors > 0 ? arena.take<T>(a.layout.most_elements()) : a.data),
          rest(arena),
          turned(shared.stage<routines::AdjointWorkspace<T>>(q, plan)) {}
    std::int64_t bytes() const { return std::max(rest.used(), shared.bytes()); }
  };

  static Planned<Plan> plan(const Problem& q) {
    auto made = CusolverMpRoutine::plan(q);
    made.plan.tile = made.plan.block;
    made.rhs_bytes = q.vector_bytes();
    return made;
  }
  static double seconds(const GridCost& cost, const Problem& q) { return cost.syevd(q.n, q.vectors); }
  template <class T>
  static std::int32_t call(auto&& solver, const Problem& q, const Workspace<T>& w, VendorWorkspace& memory) {
    return solver.syevd(w.a, w.values, w.z, q.vectors > 0, memory);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> matrix,
                  MatrixView<Real<T>> bounds, MatrixView<Real<T>> eigenvalues, MatrixView<T> vectors,
                  MatrixView<std::int32_t> found_between, MatrixView<std::int32_t> info) {
    using R = Real<T>;
    const std::int64_t n = q.n;
    const int ranks = engine.size(), rank = engine.rank();
    const MatrixView<T> z = q.vectors_in(vectors);
    move(engine, {q.shards(), matrix.data}, w.a);
    scale(engine, w);
    w.values = eigenvalues.data;
    const std::int32_t found = call_solver<T>(engine, q, w);
    if (found > 0) engine.set_info(lane, w.common.info + rank, found);
    // Ranks must choose by bitwise equal eigenvalues.
    engine.exchange(lane, {make_block(0, all_ranks, eigenvalues, eigenvalues)});
    if (!z.empty()) {
      // Gathers the requested eigenvectors as columns; zero-fills each rank's remainder.
      std::vector<R> values(static_cast<std::size_t>(q.by_value ? n : 0));
      engine.fetch(lane, eigenvalues.data, static_cast<std::int64_t>(values.size()), values.data());
      const EigenvectorRange wanted = chosen(engine, lane, q.choice(bounds, found_between), values, w.scaling.scale);
      const BlockCyclicMatrix<T> columns(BlockCyclic(n, wanted.count, n, z.columns, {1, ranks}), z.data);
      move(engine, w.z, columns, wanted.first);
      const std::int64_t own = columns.layout.local_columns(rank);
      engine.zero(lane, z.block(0, own, n, z.columns - own));
    }
    engine.divide(lane, w.scaling.scale, eigenvalues);
    share_entries(engine, lane, w.common.info);
    engine.conclude(lane, w.common.info, eigenvalues, info.data);
    if (!z.empty()) engine.conclude(lane, w.common.info, z, info.data);
    if (!z.empty() && q.as_columns) adjoint_in_place(engine, lane, z, w.turned.adjoint);
    engine.join();
  }

 private:
  static constexpr Lane lane = Lane::panel;

  // A = scale A, out of the reach of over- and underflow. Only the lower triangle counts: the upper one becomes zero,
  // and so does a matrix with NaN or infinities, for which the solver's behaviour is undefined.
  template <class T, class E>
  static void scale(E& engine, const Workspace<T>& w) {
    const BlockCyclic& layout = w.a.layout;
    const int rank = engine.rank();
    const MatrixView<T> a = w.a.part(rank);
    const std::int64_t n = layout.rows.n, tile = layout.rows.block;
    for (std::int64_t begin = 0; begin < n; begin += tile) {
      if (layout.columns.owner(begin) != layout.grid().column(rank)) continue;
      const std::int64_t width = std::min(tile, n - begin), column = layout.columns.local(begin);
      const std::int64_t above = CyclicBlocks{begin, tile, layout.rows.processes}.count(layout.grid().row(rank));
      engine.zero(lane, a.block(0, column, above, width));
      if (layout.rows.owner(begin) == layout.grid().row(rank)) {
        engine.mirror(lane, a.block(above, column, width, width));
      }
    }
    std::int32_t* const info = w.common.info + rank;
    engine.set_info(lane, info, no_failure);
    scale_matrix<T>(engine, lane, {a}, w.scaling.norms, w.scaling.scale, info);
  }
};

}  // namespace jaxmg
