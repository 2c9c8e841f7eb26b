// lower: L by rows from a dealt factor. Column j of the shards, in block order, is row j of L, conjugated, with zeros
// behind it.
#pragma once

#include <cstdint>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/moves/mirror.h"
#include "algorithms/moves/redistribute.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/signature.h"

namespace jaxmg::routines {

struct Lower {
  static constexpr auto name = "lower";
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>>;

  template <class T>
  struct Workspace {
    StagedWorkspace memory;
    MirrorWorkspace<T> mirror;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena, q.layout(plan.tile)),
          mirror(memory.stage<MirrorWorkspace<T>>(q.layout(plan.tile), plan.depth, plan.slots)) {
      memory.deal<T>(q.layout(plan.tile));
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Lower>(q); }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan&) {
    const auto bytes = static_cast<double>(q.shard_bytes());
    return 2 * cost.deal(bytes) + 2 * cost.pass(bytes);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a) {
    const TileColumns layout = q.layout(plan.tile);
    check_diagonal(engine, layout, a, w.memory);
    mirror(engine, layout, plan.depth, a, w.mirror);
    for (const std::int64_t t : layout.tiles_of(engine.rank())) {
      const std::int64_t width = layout.width(t), at = layout.local_offset(t);
      engine.zero_below(Lane::bulk, a.block(layout.begin(t), at, width, width));
      engine.zero(Lane::bulk, a.block(layout.end(t), at, layout.order() - layout.end(t), width));
    }
    engine.join();
    redistribute(engine, layout, a, w.memory.shared(), true);
    conclude(engine, a, w.memory.failed, w.memory);
  }
};

}  // namespace jaxmg::routines
