// Cholesky factorisations by cuSOLVERMg. A factor is what our own backend makes of a matrix, but for rounding: each can
// use the other's, and what the library has no routine for is ours.
#pragma once

#include <cstdint>

#include "algorithms/moves/mirror.h"
#include "algorithms/moves/redistribute.h"
#include "backends/cholesky.h"
#include "backends/cusolvermg_call.h"
#include "backends/cusolvermg_workspace.h"
#include "backends/tiled_cholesky.h"
#include "core/error.h"
#include "engine/dealt_columns.h"

namespace jaxmg {

template <class T, class E, class Session>
class CusolverMgCholesky final : public TiledCholesky<T, E> {
  using Tiled = TiledCholesky<T, E>;
  using Call = CusolverMgCall<T, E, Session>;

 public:
  void posv(E& engine, const DealtMatrix<T>& a, const RightHandSides<T>& b, std::int32_t* info,
            Arena workspace) override {
    CusolverMgStages<T> w(workspace, a.layout, a.depth, a.slots, false);
    factor(engine, a, w, [&](const Call& call, Session& session, auto& matrix, auto& memory) {
      if (session.info() == 0) solve(call, engine, b, session, matrix, memory);
    });
    share(engine, b);
    Tiled::conclude(engine, b.x, info, w.memory);
  }

  void potrf(E& engine, const DealtMatrix<T>& a, std::int32_t* info, Arena workspace) override {
    CusolverMgStages<T> w(workspace, a.layout, a.depth, a.slots, false);
    factor(engine, a, w, [](const auto&...) {});
    Tiled::conclude(engine, a.shard, info, w.memory);
  }

  void potrs(E& engine, const DealtMatrix<T>& factor, const RightHandSides<T>& b, Sweeps sweeps,
             Arena workspace) override {
    if (sweeps != Sweeps::both) throw Error(ErrorCode::invalid_argument, "cuSOLVERMg has no triangular solve");
    CusolverMgStages<T> w(workspace, factor.layout, factor.depth, factor.slots, false);
    Tiled::check(engine, factor, w.memory);
    Call call(engine, factor.layout, factor.shard, w.copy, w.memory.shared());
    call.fetch();
    call.run([&](Session& session, auto& matrix, auto& memory) { solve(call, engine, b, session, matrix, memory); });
    share(engine, b);
    Tiled::conclude(engine, b.x, w.memory.failed, w.memory);
  }

  void potri(E& engine, const DealtMatrix<T>& factor, Arena workspace) override {
    CusolverMgStages<T> w(workspace, factor.layout, factor.depth, factor.slots, true);
    // The factor is overwritten, so what is wrong with it is found out before.
    Tiled::check(engine, factor, w.memory);
    Call call(engine, factor.layout, factor.shard, w.copy, w.memory.shared());
    call.fetch();
    call.run([](Session& session, auto& matrix, auto& memory) { session.potri(matrix, memory); });
    call.put_back();
    mirror(engine, factor.layout, factor.depth, factor.shard, *w.mirror);
    redistribute(engine, factor.layout, factor.shard, w.memory.shared(), true);
    Tiled::conclude(engine, factor.shard, w.memory.failed, w.memory);
  }

 private:
  // A = L L^H, and then, with it, what else is to be done in the same call.
  template <class Then>
  static void factor(E& engine, const DealtMatrix<T>& a, CusolverMgStages<T>& w, Then&& then) {
    redistribute(engine, a.layout, a.shard, w.memory.shared(), false);
    Call call(engine, a.layout, a.shard, w.copy, w.memory.shared());
    call.fetch();
    const std::int32_t failed = call.run([&](Session& session, auto& matrix, auto& memory) {
      session.potrf(matrix, memory);
      then(call, session, matrix, memory);
    });
    call.put_back();
    // NaN may pass for a pivot there.
    Tiled::check(engine, a, w.memory, failed > 0 ? failed : no_failure);
  }

  // All right-hand sides are on rank 0, or as many on each rank.
  static void solve(const Call& call, E& engine, const RightHandSides<T>& b, Session& session, DealtColumns& matrix,
                    DealtWorkspace& memory) {
    const std::int64_t share = b.x.columns;
    DealtColumns x = call.dealt(b.x, b.distributed ? engine.size() * share : share, share);
    session.potrs(matrix, x, memory);
  }

  static void share(E& engine, const RightHandSides<T>& b) {
    if (b.distributed || engine.size() == 1) return;
    engine.exchange(Lane::panel, {make_block(0, all_ranks, b.x, b.x)});
    engine.join();
  }
};

}  // namespace jaxmg
