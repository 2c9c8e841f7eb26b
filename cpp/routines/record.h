// Building blocks of routine records. A record describes a routine except for its mathematics:
//
//   struct Lower : OnBlockColumns<Lower> {
//     static constexpr auto name = "lower";
//     using Problem = SquareProblem;                        the arguments, with one list of fields
//     using Plan = BlockColumnPlan;                         the decisions, with one list of fields
//     using Buffers = Signature<InOut<Shard>>;
//     template <class T>
//     using Workspace = Staged<MirrorWorkspace<T>, Dealing<T>>;
//     static double seconds(const ColumnsCost&, const Problem&, const Plan&);
//     template <class T, class E>
//     static void run(E&, const Problem&, const Plan&, Workspace<T>&, views of the buffers...);
//   };
//
// Planner, encoding of plans, handlers and table of backends are generated from these members. A record with another
// planner defines its own `plan` instead of using the base.
#pragma once

#include <concepts>
#include <cstdint>

#include "algorithms/cholesky/factor_status.h"
#include "algorithms/moves/redistribute.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "layout/tile_columns.h"
#include "planner/block_columns.h"
#include "planner/cost_model.h"
#include "planner/plan.h"
#include "planner/problem.h"
#include "routines/signature.h"

namespace jaxmg {

// Base of a routine R on block columns, with their planner.
template <class R>
struct OnBlockColumns {
  static auto plan(const auto& q) { return plan_block_columns<R>(q); }
};

// Status of a routine, and memory that its stages use one after another. Every stage is a base class: the workspace
// converts to the workspace of each stage. A stage is constructed from (arena, problem, plan), or from (arena, layout,
// depth, slots).
template <class... Stages>
struct Staged : StagedWorkspace, Stages... {
  Staged(Arena arena, const auto& q, const auto& plan)
      : StagedWorkspace(arena, q.layout(plan.tile)), Stages(carve<Stages>(q, plan))... {}

 private:
  template <class Stage, class Problem, class Plan>
  Stage carve(const Problem& q, const Plan& plan) {
    if constexpr (std::constructible_from<Stage, Arena&, const Problem&, const Plan&>) {
      return this->template stage<Stage>(q, plan);
    } else {
      return this->template stage<Stage>(q.layout(plan.tile), plan.depth, plan.slots);
    }
  }
};

struct NoWorkspace {
  NoWorkspace(Arena, const auto&, const auto&) {}
  static std::int64_t bytes() { return 0; }
};

// Minimum memory for dealing; redistribute() uses all of shared().
template <class T>
struct Dealing {
  Dealing(Arena& arena, const auto& q, const auto& plan) {
    const TileColumns layout = q.layout(plan.tile);
    if (layout.ranks() > 1) arena.take<T>(layout.rows() * layout.tile());
  }
};

}  // namespace jaxmg
