// Shared parts of routines served by cuSOLVERMg: one thread drives the GPUs of all ranks, on columns dealt in blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/moves/move_columns.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "layout/column_moves.h"
#include "routines/record.h"
#include "routines/serve.h"
#include "vendor/cusolvermg/call.h"
#include "vendor/cusolvermg/dealt_columns.h"
#include "vendor/workspace.h"

namespace jaxmg {

inline void check_cusolvermg(const Problem& q) {
  require(q.platform == Platform::cuda && q.processes == 1, "cuSOLVERMg works on the GPUs of one process");
}

// A dealt matrix in the library's layout: the same tiles block-cyclic, copied if they are not block-cyclic already.
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

// Memory of our own stages. The library's workspace comes on top of it: only the library can tell its size, see
// library_bytes(). It begins where the stages do, which follow each other and use the same memory.
template <class T, class... Stages>
struct CusolverMgWorkspace : BlockCyclicCopy<T>, Staged<Stages...> {
  CusolverMgWorkspace(Arena arena, const auto& q, const auto& plan)
      : BlockCyclicCopy<T>(arena, q.layout(plan.tile)), Staged<Stages...>(arena, q, plan) {}
};

// A linear system or a factorisation R, in the tiles of our own routine. Its calls of the library, in order, are in
//   call(session, operands, memory)
template <class R, template <class> class... Stages>
struct CusolverMgSystem {
  using Problem = typename R::Problem;
  using Plan = typename R::Plan;
  using Buffers = typename R::Buffers;
  using Self = Served<CusolverMg, R>;
  template <class T>
  using Workspace = CusolverMgWorkspace<T, Stages<T>...>;

  static Planned<Plan> plan(const Problem& q) {
    check_cusolvermg(q);
    Problem unlimited = q;
    unlimited.workspace_limit = 0;
    unlimited.one_rank_up_to = 0;
    auto made = plan_block_columns<R>(unlimited);  // the same shards and tiles
    made.plan.largest_potrf = 0;
    made.workspace_bytes = workspace_bytes<Self>(q, made.plan);
    made.seconds = Self::seconds(cost_of<CusolverMgCost>(q), q);
    return made;
  }

  // `parts` are addresses on each rank.
  static std::int64_t library_bytes(auto& session, const Problem& q, const Plan& plan,
                                    const std::vector<void*>& parts) {
    VendorWorkspace measure;
    DealtOperands operands{{q.type, q.n, q.n, plan.tile, parts}, right_hand_sides(q, plan, parts), {}};
    for (void* const part : parts) operands.pivots.push_back(static_cast<std::int32_t*>(part));
    Self::call(session, operands, measure);
    return measure.bytes;
  }

 protected:
  // The calls of the library on a block-cyclic matrix. Returns LAPACK's info of the last one.
  template <class T, class E>
  static std::int32_t call_library(E& engine, const Problem& q, const Plan& plan, const StagedWorkspace& w,
                                   MatrixView<T> a, MatrixView<T> x, std::int32_t* pivots = nullptr) {
    CusolverMgCall<T, E> library(engine, block_cyclic(q.layout(plan.tile)), a, w.shared());
    return library.run([&](auto& session, auto& matrix, auto& memory) {
      DealtOperands operands{matrix, {}, {}};
      if (!x.empty()) operands.b = right_hand_sides(q, plan, library.template parts<void>(x.data));
      if (pivots != nullptr) operands.pivots = library.parts(pivots);
      Self::call(session, operands, memory);
    });
  }

  // All right-hand sides are on rank 0, or the same number on each rank.
  static DealtColumns right_hand_sides(const Problem& q, const Plan& plan, const std::vector<void*>& parts) {
    if constexpr (requires { plan.distributed_rhs; }) {
      const std::int64_t share = plan.columns_of_rank(q);
      return {q.type, q.n, plan.distributed_rhs ? q.ranks * share : share, share, parts};
    } else {
      return {};
    }
  }
  template <class T, class E>
  static void share_solution(E& engine, const Plan& plan, MatrixView<T> x) {
    if (plan.distributed_rhs || engine.size() == 1) return;
    engine.exchange(Lane::panel, {make_block(0, all_ranks, x, x)});
    engine.join();
  }
};

}  // namespace jaxmg
