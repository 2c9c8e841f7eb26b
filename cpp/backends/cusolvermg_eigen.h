// Eigenvalues and eigenvectors by cuSOLVERMg.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/eigen/syevd.h"
#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/mirror.h"
#include "algorithms/moves/move_columns.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/moves/share_entries.h"
#include "backends/cusolvermg_call.h"
#include "backends/cusolvermg_workspace.h"
#include "backends/eigen.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T, class E, class Session>
class CusolverMgEigen final : public EigenBackend<T, E> {
 public:
  void syevd(E& engine, const HermitianEigen<T>& p, Arena workspace) override {
    constexpr Lane lane = Lane::panel;
    CusolverMgSyevdStages<T> w(workspace, p.layout, p.z.columns);
    std::int32_t* const infos = w.memory.info;
    const std::int64_t n = p.layout.order();
    engine.set_info(lane, infos + engine.rank(), no_failure);
    redistribute(engine, p.layout, p.a, w.memory.shared(), false);
    mirror(engine, p.layout, w.mirror_depth, p.a, w.mirror);
    scale_matrix(engine, lane, p.layout, p.a, w.norms, w.scale, infos + engine.rank());
    engine.join();
    CusolverMgCall<T, E, Session> call(engine, p.layout, p.a, w.copy, w.memory.shared());
    call.fetch();
    const bool vectors = !p.z.empty();
    const std::int32_t failed =
        call.run([&](Session& session, auto& matrix, auto& memory) { session.syevd(matrix, vectors, memory); });
    const MatrixView<Real<T>> eigenvalues{p.w, n, 1, n};
    engine.store(lane, reinterpret_cast<const Real<T>*>(call.session().eigenvalues()), n, p.w);
    engine.divide(lane, w.scale, eigenvalues);
    if (vectors) {
      const auto* const values = reinterpret_cast<const Real<T>*>(call.session().eigenvalues());
      place(engine, call, p, chosen(engine, lane, p.wanted, std::vector<Real<T>>(values, values + n), w.scale));
    }
    if (failed > 0) engine.set_info(lane, infos + engine.rank(), failed);
    share_entries(engine, lane, infos);
    engine.conclude(lane, infos, eigenvalues, p.status);
    if (vectors) engine.conclude(lane, infos, p.z, p.status);
    engine.join();
    if (vectors && p.form == EigenvectorForm::adjoint_rows) adjoint_in_place(engine, lane, p.z, w.turned.adjoint);
  }

 private:
  // The wanted eigenvectors, in blocks, and zeros behind them.
  static void place(E& engine, const CusolverMgCall<T, E, Session>& call, const HermitianEigen<T>& p,
                    EigenvectorRange wanted) {
    const std::int64_t count = wanted.count, share = p.z.columns;
    const TileColumns blocks(count, share, share, p.layout.ranks());
    move_columns(engine, call.layout(), call.matrix(), blocks, p.z, wanted.first);
    const std::int64_t own = std::clamp<std::int64_t>(count - engine.rank() * share, 0, share);
    engine.zero(Lane::panel, p.z.block(0, own, p.z.rows, share - own));
  }
};

}  // namespace jaxmg
