// Plans: the decisions of the planner about a call.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <string>

#include "core/arena.h"
#include "core/error.h"
#include "core/scalar.h"
#include "engine/scratch.h"
#include "planner/one_rank.h"
#include "planner/problem.h"

namespace jaxmg {

// Base of all plans.
struct Plan {
  std::int64_t tile = 0;           // columns of a tile
  std::int64_t largest_potrf = 0;  // order of the largest block that the vendor's potrf factors on one rank
  // If one rank gathers the matrix and works alone: the tile of its algorithm. All other fields are then its own, too,
  // except `tile`: factors are in whole shards.
  std::int64_t alone = 0;

  void fields(auto&& visit) {
    visit("tile", tile);
    visit("largest_potrf", largest_potrf);
    visit("alone", alone);
  }
  bool solo() const { return alone > 0; }
};

// A plan with right-hand sides.
template <class P>
struct WithDistribution : P {
  bool distributed_rhs = false;  // each rank solves its own right-hand sides; otherwise all ranks solve all

  void fields(auto&& visit) {
    P::fields(visit);
    visit("distributed_rhs", distributed_rhs);
  }
  // Right-hand sides on each rank.
  std::int64_t columns_of_rank(const auto& q) const { return distributed_rhs ? q.share(q.nrhs) : q.nrhs; }
};

// A plan, with its memory and time for the caller.
template <class P>
struct Planned {
  P plan{};
  std::int64_t workspace_bytes = 0;  // per device
  std::int64_t shard_bytes = 0;      // of the matrix, per device
  std::int64_t rhs_bytes = 0;        // of right-hand sides or eigenvectors, per device
  double seconds = 0;                // estimate
};

// Bytes of the workspace of R itself, with the collected buffers if one rank works alone.
template <class R, class T>
std::int64_t carved_bytes(const typename R::Problem& q, const typename R::Plan& plan) {
  if (!plan.solo()) return typename R::template Workspace<T>(Arena(), q, plan).bytes();
  Arena arena;
  R::Buffers::template collected<T>(arena, q, plan);
  return arena.used() + typename R::template Workspace<T>(Arena(), alone(q), alone(plan)).bytes();
}

// Bytes of workspace, the engine's included. No buffer is empty.
template <class R>
std::int64_t workspace_bytes(const typename R::Problem& q, const typename R::Plan& plan) {
  const std::int64_t carved = dispatch(q.type, [&]<class T>() { return carved_bytes<R, T>(q, plan); });
  return std::max(carved, Arena::alignment) + engine_scratch_bytes(q.platform, plan.largest_potrf, q.processes);
}

// Seconds until the matrix, and its right-hand sides or eigenvectors, are on one rank.
template <class P>
double collection_seconds(const Problem& q, const Planned<P>& made) {
  return cost_of(q).collect(static_cast<double>(made.shard_bytes + made.rhs_bytes));
}

template <class P>
bool exceeds_limit(const Problem& q, const Planned<P>& made) {
  return q.workspace_limit > 0 && made.workspace_bytes > q.workspace_limit;
}

// Throws Error if a plan with minimal workspace exceeds the limit.
template <class P>
void check_limit(const SquareProblem& q, const Planned<P>& made) {
  if (!exceeds_limit(q, made)) return;
  throw Error(ErrorCode::resource_exhausted,
              "the least workspace for n = " + std::to_string(q.n) + " with tiles of " +
                  std::to_string(made.plan.tile) + " columns is " + std::to_string(made.workspace_bytes) +
                  " bytes per device, the limit is " + std::to_string(q.workspace_limit));
}

}  // namespace jaxmg
