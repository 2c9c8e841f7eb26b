// The functions Python calls directly, through ctypes. Structs mirror those in python/jaxmg/_native.py.
#include <cstdint>

#include "backends/cusolvermg_plan.h"
#include "backends/eigen_plan.h"
#include "backends/grid_plan.h"
#include "backends/plan.h"
#include "engine/host/blas.h"
#include "ffi/c_api.h"

struct jaxmg_plan_request {
  std::int64_t routine, n, nrhs, dtype, ranks, tile, platform, processes, workspace_limit;
  std::int64_t hosts;
  double link_bytes, network_bytes, network_seconds;  // see Network
};

struct jaxmg_plan_result {
  std::int64_t tile, pivot, slots, distributed_rhs, workspace_bytes, shard_bytes, rhs_bytes;
  std::int64_t half_bandwidth, delay, depth, columns, diamonds, secular, kept, solo;  // of eigenvalue problems
  double seconds;
};

JAXMG_EXPORT void jaxmg_set_blas(const char* name, void* function) { jaxmg::set_blas(name, function); }

namespace jaxmg {
namespace {

Network network_of(const jaxmg_plan_request& q) { return {q.hosts, q.link_bytes, q.network_bytes, q.network_seconds}; }

PlanRequest request_of(const jaxmg_plan_request& q) {
  return {static_cast<Routine>(q.routine),
          q.n,
          q.nrhs,
          static_cast<ScalarType>(q.dtype),
          q.ranks,
          q.tile,
          static_cast<Platform>(q.platform),
          q.processes,
          q.workspace_limit,
          network_of(q)};
}

jaxmg_plan_result plan_eigen(const jaxmg_plan_request& q) {
  const EigenPlan plan =
      make_eigen_plan({q.n, static_cast<ScalarType>(q.dtype), q.ranks, q.tile, static_cast<Platform>(q.platform),
                       q.processes, q.workspace_limit, q.nrhs, network_of(q)});
  jaxmg_plan_result result{};
  result.tile = plan.tile;
  result.workspace_bytes = plan.workspace_bytes;
  result.shard_bytes = plan.shard_bytes;
  result.rhs_bytes = plan.vector_bytes;
  const SyevdBlocking& blocking = plan.blocking;
  result.half_bandwidth = blocking.b;
  result.delay = blocking.delay;
  result.depth = blocking.depth;
  result.columns = blocking.columns;
  result.diamonds = blocking.diamonds;
  result.secular = blocking.secular;
  result.kept = blocking.kept;
  result.solo = blocking.solo;
  result.seconds = plan.seconds;
  return result;
}

jaxmg_plan_result result_of(const Plan& plan) {
  jaxmg_plan_result result{};
  result.tile = plan.tile;
  result.pivot = plan.pivot;
  result.slots = plan.slots;
  result.distributed_rhs = plan.distributed_rhs;
  result.workspace_bytes = plan.workspace_bytes;
  result.shard_bytes = plan.shard_bytes;
  result.rhs_bytes = plan.rhs_bytes;
  result.seconds = plan.seconds;
  return result;
}

}  // namespace
}  // namespace jaxmg

// `nrhs` is the number of right-hand sides, or of eigenvectors. Returns 0, or 1 with the reason in `message`.
JAXMG_EXPORT int jaxmg_plan(const jaxmg_plan_request* q, jaxmg_plan_result* result, char* message,
                            std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] {
    *result = static_cast<jaxmg::Routine>(q->routine) == jaxmg::Routine::syevd
                  ? jaxmg::plan_eigen(*q)
                  : jaxmg::result_of(jaxmg::make_plan(jaxmg::request_of(*q)));
  });
}

// The plan of a call that cuSOLVERMg works on, see make_cusolvermg_plan(). Returns as jaxmg_plan.
JAXMG_EXPORT int jaxmg_cusolvermg_plan(const jaxmg_plan_request* q, jaxmg_plan_result* result, char* message,
                                       std::int64_t message_size) {
  return jaxmg::answered(message, message_size,
                         [&] { *result = jaxmg::result_of(jaxmg::make_cusolvermg_plan(jaxmg::request_of(*q))); });
}

// How long the same call would take on a grid of ranks, see grid_seconds(). Returns as jaxmg_plan.
JAXMG_EXPORT int jaxmg_grid_seconds(const jaxmg_plan_request* q, double* seconds, char* message,
                                    std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] { *seconds = jaxmg::grid_seconds(jaxmg::request_of(*q)); });
}

// The plan of a call that a solver of block-cyclic matrices works on, see make_grid_plan(). Returns as jaxmg_plan.
JAXMG_EXPORT int jaxmg_grid_plan(const jaxmg_plan_request* q, std::int64_t grid_rows, jaxmg_plan_result* result,
                                 char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size,
                         [&] { *result = jaxmg::result_of(jaxmg::make_grid_plan(jaxmg::request_of(*q), grid_rows)); });
}
