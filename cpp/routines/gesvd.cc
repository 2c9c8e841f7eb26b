// Plans of the singular value decomposition: a plan of its eigenproblem, and block columns for all other stages.
#include "routines/gesvd.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "planner/cost_model.h"
#include "planner/one_rank.h"
#include "planner/plan.h"

namespace jaxmg::routines {
namespace {

// The eigenproblem, with a workspace of at most `limit` bytes (0: any). One rank solves it for all if one rank does all
// of the decomposition.
SyevdProblem eigenproblem(const Gesvd::Problem& q, std::int64_t vectors, std::int64_t limit) {
  SyevdProblem of_h;
  static_cast<SquareProblem&>(of_h) = q;
  of_h.vectors = vectors;
  of_h.workspace_limit = limit;
  of_h.one_rank_up_to = most_for_one_rank(q, Gesvd::one_rank);
  return of_h;
}

// Singular values alone have eigenvectors where the condition is measured (algorithms/svd/gesvd.h).
bool values_by_vectors(const Gesvd::Problem& q) {
  return q.vectors == 0 && (q.type == ScalarType::f64 || q.type == ScalarType::c128);
}

Planned<Gesvd::Plan> preferred_plan(const Gesvd::Problem& q, bool by_vectors) {
  const Syevd::Plan eigen = Syevd::plan(eigenproblem(q, by_vectors ? q.n : q.vectors, 0)).plan;
  SquareProblem at_work = q;
  if (eigen.solo()) at_work = alone(at_work);
  Planned<Gesvd::Plan> made;
  made.plan.tile = eigen.tile;
  made.plan.alone = eigen.alone;
  made.plan.blocking = eigen.blocking;
  made.plan.blocking.library =
      at_work.ranks == 1 && q.tile == 0 && std::max(q.m, q.n) <= one_rank_orders(q.platform).library_gesvd.of(q.type);
  made.plan.values_by_vectors = by_vectors && !made.plan.blocking.library;
  choose_block_columns(at_work, made.plan);
  made.shard_bytes = q.shard_bytes();
  made.rhs_bytes = q.vectors == 0 ? 0 : q.shard_bytes() + q.SquareProblem::shard_bytes();
  measure_workspace<Gesvd>(q, made);
  return made;
}

}  // namespace

Planned<Gesvd::Plan> Gesvd::plan(const Problem& q) {
  q.check();
  auto made = preferred_plan(q, values_by_vectors(q));
  if (made.plan.values_by_vectors && exceeds_limit(q, made)) made = preferred_plan(q, false);
  if (made.plan.solo() && exceeds_limit(q, made)) {
    Problem distributed = q;
    distributed.tile = std::max<std::int64_t>(1, std::min<std::int64_t>(q.shard(), 64));
    made = preferred_plan(distributed, false);
  }
  if (made.plan.blocking.library && exceeds_limit(q, made)) {
    made.plan.blocking.library = false;
    measure_workspace<Gesvd>(q, made);
  }
  while (exceeds_limit(q, made) && shrink(made.plan)) measure_workspace<Gesvd>(q, made);
  // Two or three matrices stay beside the eigensolver's workspace.
  const std::int64_t matrices = (q.vectors == 0 ? 3 : 2) * q.shard_bytes();
  if (exceeds_limit(q, made) && q.workspace_limit > matrices) {
    SyevdProblem of_h = eigenproblem(q, q.vectors, q.workspace_limit - matrices);
    of_h.tile = made.plan.tile;
    made.plan.blocking = Syevd::plan(of_h).plan.blocking;
    made.plan.blocking.library = false;
    measure_workspace<Gesvd>(q, made);
  }
  check_limit(q, made);
  require(
      q.m <= q.n || made.plan.blocking.library,
      "LAPACK decomposes " + std::to_string(q.m) + " x " + std::to_string(q.n) +
          " matrices only on a CPU, without a tile size, and within its limits on sizes and the limit on workspace");
  const auto& blocking = made.plan.blocking;
  const ColumnsCost cost = cost_of(made.plan.solo() ? alone(q) : q);
  if (blocking.library) {
    made.seconds = cost.gesdd(q.n, q.vectors) * static_cast<double>(std::max(q.m, q.n)) / static_cast<double>(q.n);
  } else {
    const std::int64_t tile = made.plan.solo() ? made.plan.alone : made.plan.tile;
    made.seconds =
        cost.polar(q.n, tile, made.plan.depth) + cost.syevd(q.n, q.vectors, blocking.b, blocking.kept < blocking.b);
  }
  if (made.plan.solo()) made.seconds += collection_seconds(q, made);
  return made;
}

}  // namespace jaxmg::routines
