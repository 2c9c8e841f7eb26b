// potri: A^-1, both triangles, by rows, from a dealt factor.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/cholesky/potri.h"
#include "algorithms/moves/mirror.h"
#include "algorithms/moves/redistribute.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "routines/signature.h"

namespace jaxmg::routines {

struct Potri {
  static constexpr auto name = "potri";
  using Problem = SquareProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>>;

  template <class T>
  struct Workspace {
    StagedWorkspace memory;
    PotriWorkspace<T> potri;
    MirrorWorkspace<T> mirror;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena, q.layout(plan.tile)),
          potri(memory.stage<PotriWorkspace<T>>(q.layout(plan.tile), plan.depth, plan.slots)),
          mirror(memory.stage<MirrorWorkspace<T>>(q.layout(plan.tile), plan.depth, plan.slots)) {
      memory.deal<T>(q.layout(plan.tile));
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  // An inverse has no chain of diagonal blocks that deep updates would make longer.
  static std::int64_t preferred_depth(std::int64_t n) {
    return std::max<std::int64_t>(jaxmg::preferred_depth(n), n > 24576 ? 2048 : 0);
  }
  static Planned<Plan> plan(const Problem& q) { return plan_block_columns<Potri>(q); }
  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan& plan) {
    return cost.potri(q.n, plan.tile, plan.depth);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a) {
    const TileColumns layout = q.layout(plan.tile);
    check_diagonal(engine, layout, a, w.memory);
    jaxmg::Potri<T, E>(engine, layout, plan.depth, a, w.potri).run();
    mirror(engine, layout, plan.depth, a, w.mirror);
    redistribute(engine, layout, a, w.memory.shared(), true);
    conclude(engine, a, w.memory.failed, w.memory);
  }
};

}  // namespace jaxmg::routines
