// Eigenvalues and eigenvectors by cuSOLVERMg.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/mirror.h"
#include "algorithms/moves/share_entries.h"
#include "routines/served/cusolvermg/solver.h"
#include "routines/syevd.h"

namespace jaxmg {

template <>
struct Served<CusolverMg, routines::Syevd> {
  static constexpr bool data_decides = true;  // which eigenvectors are wanted
  using Problem = routines::SyevdProblem;
  using Plan = jaxmg::Plan;
  using Buffers = routines::Syevd::Buffers;

  template <class T>
  struct Workspace : ScalingWorkspace<T>,
                     CusolverMgWorkspace<T, routines::MirrorByTiles<T>, routines::AdjointWorkspace<T>, Dealing<T>> {
    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : ScalingWorkspace<T>(arena, q.ranks), Workspace::CusolverMgWorkspace(arena, q, plan) {}
  };

  static Planned<Plan> plan(const Problem& q) {
    check_cusolvermg(q);
    q.check();
    SquareProblem matrix = q;
    matrix.tile = std::min(q.tile, widest);
    Planned<Plan> made;
    made.plan.tile = choose_tile(matrix);
    made.shard_bytes = q.shard_bytes();
    made.rhs_bytes = q.vector_bytes();
    made.workspace_bytes = workspace_bytes<Served>(q, made.plan);
    made.seconds = cost_of<CusolverMgCost>(q).syevd(q.n);
    return made;
  }

  static std::int64_t library_bytes(auto& session, const Problem& q, const Plan& plan,
                                    const std::vector<void*>& parts) {
    VendorWorkspace measure;
    DealtColumns a{q.type, q.n, q.n, plan.tile, parts};
    session.syevd(a, q.vectors > 0, measure);
    return measure.bytes;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<Real<T>> bounds, MatrixView<Real<T>> eigenvalues, MatrixView<T> vectors,
                  MatrixView<std::int32_t> found, MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    const MatrixView<T> z = q.vectors_in(vectors);
    std::int32_t* const infos = w.info;
    engine.set_info(lane, infos + engine.rank(), no_failure);
    redistribute(engine, layout, a, w.shared(), false);
    mirror(engine, layout, w.depth, a, w);
    scale_matrix(engine, lane, layout, a, w.norms, w.scale, infos + engine.rank());
    engine.join();
    const MatrixView<T> matrix_of_library = w.fetch(engine, a);
    CusolverMgCall<T, E> call(engine, w.layout, matrix_of_library, w.shared());
    const std::int32_t failed =
        call.run([&](auto& session, auto& matrix, auto& memory) { session.syevd(matrix, !z.empty(), memory); });
    const auto* const values = reinterpret_cast<const Real<T>*>(call.session().eigenvalues());
    engine.store(lane, values, q.n, eigenvalues.data);
    engine.divide(lane, w.scale, eigenvalues);
    if (!z.empty()) {
      place(engine, w.layout, matrix_of_library, z,
            chosen(engine, lane, q.choice(bounds, found), std::vector<Real<T>>(values, values + q.n), w.scale));
    }
    if (failed > 0) engine.set_info(lane, infos + engine.rank(), failed);
    share_entries(engine, lane, infos);
    engine.conclude(lane, infos, eigenvalues, info.data);
    if (!z.empty()) engine.conclude(lane, infos, z, info.data);
    engine.join();
    if (!z.empty() && q.as_columns) adjoint_in_place(engine, lane, z, w.adjoint);
  }

 private:
  static constexpr Lane lane = Lane::panel;
  static constexpr std::int64_t widest = 1024;  // the library's eigensolver takes no wider tiles

  // The wanted eigenvectors in blocks, and zeros behind them.
  template <class T, class E>
  static void place(E& engine, const TileColumns& layout, MatrixView<T> all, MatrixView<T> z, EigenvectorRange wanted) {
    const std::int64_t count = wanted.count, share = z.columns;
    move_columns(engine, layout, all, TileColumns(count, share, share, engine.size()), z, wanted.first);
    const std::int64_t own = std::clamp<std::int64_t>(count - engine.rank() * share, 0, share);
    engine.zero(lane, z.block(0, own, z.rows, share - own));
  }
};

}  // namespace jaxmg
