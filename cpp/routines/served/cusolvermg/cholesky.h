// Cholesky routines served by cuSOLVERMg. A factor is that of our own routines up to rounding: each can use the
// other's.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/moves/mirror.h"
#include "algorithms/moves/move_columns.h"
#include "algorithms/moves/redistribute.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "layout/column_moves.h"
#include "planner/block_columns.h"
#include "routines/posv.h"
#include "routines/potrf.h"
#include "routines/potri.h"
#include "routines/potrs.h"
#include "routines/serve.h"
#include "vendor/cusolvermg/call.h"
#include "vendor/cusolvermg/dealt_columns.h"

namespace jaxmg {

inline void check_cusolvermg(const Problem& q) {
  require(q.platform == Platform::cuda && q.processes == 1, "cuSOLVERMg works on the GPUs of one process");
}

// A dealt matrix as the library takes it: the same tiles block-cyclic, in a copy where they are not so already.
template <class T>
struct BlockCyclicCopy {
  TileColumns dealt, layout;
  MatrixView<T> copy;

  BlockCyclicCopy(Arena& arena, const TileColumns& dealt_layout)
      : dealt(dealt_layout),
        layout(block_cyclic(dealt_layout)),
        copy(is_block_cyclic(dealt) ? MatrixView<T>{} : arena.matrix<T>(dealt.order(), layout.shard())) {}

  template <class E>
  MatrixView<T> fetch(E& engine, MatrixView<T> a) const {
    if (copy.empty()) return a;
    move_columns(engine, dealt, a, layout, copy);
    return copy;
  }
  template <class E>
  void put_back(E& engine, MatrixView<T> a) const {
    if (!copy.empty()) move_columns(engine, layout, copy, dealt, a);
  }
};

// What the library's routines have in common. Its own workspace comes on top of the plan's: only the library can tell
// its size, see library_bytes(). It begins where the stages do, which follow each other and use the same memory.
template <class R>
struct CusolverMgCholesky {
  using Problem = typename R::Problem;
  using Plan = typename R::Plan;
  using Buffers = typename R::Buffers;
  using Self = Served<CusolverMg, R>;

  template <class T>
  struct Workspace {
    BlockCyclicCopy<T> copy;
    StagedWorkspace memory;
    std::optional<MirrorWorkspace<T>> mirror;  // of an inverse

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : copy(arena, q.layout(plan.tile)), memory(arena, q.layout(plan.tile)) {
      const TileColumns layout = q.layout(plan.tile);
      memory.deal<T>(layout);
      if (std::same_as<R, routines::Potri>) {
        mirror = memory.stage<MirrorWorkspace<T>>(layout, plan.depth, plan.slots);
      }
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  static Planned<Plan> plan(const Problem& q) {
    check_cusolvermg(q);
    Problem unlimited = q;
    unlimited.workspace_limit = 0;
    auto made = plan_block_columns<R>(unlimited);  // the same shards and tiles
    made.plan.largest_potrf = 0;
    made.workspace_bytes = workspace_bytes<Self>(q, made.plan);
    made.seconds = Self::seconds(CusolverMgCost(q.platform, q.type, q.ranks, q.network), q);
    return made;
  }

  // A and B as the library has them, in `parts`.
  static DealtColumns matrix(const SquareProblem& q, const BlockColumnPlan& plan, const std::vector<void*>& parts) {
    return {q.type, q.n, q.n, plan.tile, parts};
  }
  static DealtColumns right_hand_sides(const SystemProblem& q, const SystemPlan& plan,
                                       const std::vector<void*>& parts) {
    const std::int64_t share = columns_of_rank(q, plan.distributed_rhs);
    return {q.type, q.n, plan.distributed_rhs ? q.ranks * share : share, share, parts};
  }

 protected:
  // A = L L^H and then then(call, session, matrix, memory) in the same call of the library.
  template <class T, class E, class Then>
  static void factor(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, Then&& then) {
    const TileColumns layout = q.layout(plan.tile);
    redistribute(engine, layout, a, w.memory.shared(), false);
    CusolverMgCall<T, E> call(engine, w.copy.layout, w.copy.fetch(engine, a), w.memory.shared());
    const std::int32_t failed = call.run([&](auto& session, auto& matrix, auto& memory) {
      session.potrf(matrix, memory);
      then(call, session, matrix, memory);
    });
    w.copy.put_back(engine, a);
    // NaN may pass for a pivot there.
    check_diagonal(engine, layout, a, w.memory, failed > 0 ? failed : no_failure);
  }

  // All right-hand sides are on rank 0, or as many on each rank.
  template <class T, class E, class Session>
  static void solve(const CusolverMgCall<T, E>& call, const Problem& q, const Plan& plan, MatrixView<T> b,
                    Session& session, DealtColumns& matrix, DealtWorkspace& memory) {
    DealtColumns x = call.dealt(b, plan.distributed_rhs ? q.ranks * b.columns : b.columns, b.columns);
    session.potrs(matrix, x, memory);
  }

  template <class T, class E>
  static void share(E& engine, const Plan& plan, MatrixView<T> b) {
    if (plan.distributed_rhs || engine.size() == 1) return;
    engine.exchange(Lane::panel, {make_block(0, all_ranks, b, b)});
    engine.join();
  }
};

template <>
struct Served<CusolverMg, routines::Potrf> : CusolverMgCholesky<routines::Potrf> {
  static double seconds(const CusolverMgCost& cost, const Problem& q) { return cost.potrf(q.n); }

  template <class Session>
  static std::int64_t library_bytes(Session& session, const Problem& q, const Plan& plan,
                                    const std::vector<void*>& parts) {
    DealtColumns a = matrix(q, plan, parts);
    return session.potrf_bytes(a);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> info) {
    factor(engine, q, plan, w, a, [](const auto&...) {});
    conclude(engine, a, info.data, w.memory);
  }
};

template <>
struct Served<CusolverMg, routines::Potrs> : CusolverMgCholesky<routines::Potrs> {
  static Planned<Plan> plan(const Problem& q) {
    require(q.sweeps == Sweeps::both, "cuSOLVERMg has no triangular solve");
    return CusolverMgCholesky::plan(q);
  }
  static double seconds(const CusolverMgCost& cost, const Problem& q) { return cost.potrs(q.n, q.nrhs); }

  template <class Session>
  static std::int64_t library_bytes(Session& session, const SystemProblem& q, const Plan& plan,
                                    const std::vector<void*>& parts) {
    DealtColumns a = matrix(q, plan, parts), b = right_hand_sides(q, plan, parts);
    return session.potrs_bytes(a, b);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> x,
                  MatrixView<T> factor) {
    const TileColumns layout = q.layout(plan.tile);
    check_diagonal(engine, layout, factor, w.memory);
    CusolverMgCall<T, E> call(engine, w.copy.layout, w.copy.fetch(engine, factor), w.memory.shared());
    call.run([&](auto& session, auto& matrix, auto& memory) { solve(call, q, plan, x, session, matrix, memory); });
    share(engine, plan, x);
    conclude(engine, x, w.memory.failed, w.memory);
  }
};

template <>
struct Served<CusolverMg, routines::Posv> : CusolverMgCholesky<routines::Posv> {
  static double seconds(const CusolverMgCost& cost, const Problem& q) {
    return cost.potrf(q.n) + cost.potrs(q.n, q.nrhs);
  }

  template <class Session>
  static std::int64_t library_bytes(Session& session, const Problem& q, const Plan& plan,
                                    const std::vector<void*>& parts) {
    DealtColumns a = matrix(q, plan, parts), b = right_hand_sides(q, plan, parts);
    return std::max(session.potrf_bytes(a), session.potrs_bytes(a, b));
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> info) {
    factor(engine, q, plan, w, a, [&](const auto& call, auto& session, auto& matrix, auto& memory) {
      if (session.info() == 0) solve(call, q, plan, x, session, matrix, memory);
    });
    share(engine, plan, x);
    conclude(engine, x, info.data, w.memory);
  }
};

template <>
struct Served<CusolverMg, routines::Potri> : CusolverMgCholesky<routines::Potri> {
  static double seconds(const CusolverMgCost& cost, const Problem& q) { return cost.potri(q.n); }

  template <class Session>
  static std::int64_t library_bytes(Session& session, const Problem& q, const Plan& plan,
                                    const std::vector<void*>& parts) {
    DealtColumns a = matrix(q, plan, parts);
    return session.potri_bytes(a);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a) {
    const TileColumns layout = q.layout(plan.tile);
    // The factor is overwritten, so its failures are found before.
    check_diagonal(engine, layout, a, w.memory);
    CusolverMgCall<T, E> call(engine, w.copy.layout, w.copy.fetch(engine, a), w.memory.shared());
    call.run([](auto& session, auto& matrix, auto& memory) { session.potri(matrix, memory); });
    w.copy.put_back(engine, a);
    mirror(engine, layout, plan.depth, a, *w.mirror);
    redistribute(engine, layout, a, w.memory.shared(), true);
    conclude(engine, a, w.memory.failed, w.memory);
  }
};

}  // namespace jaxmg
