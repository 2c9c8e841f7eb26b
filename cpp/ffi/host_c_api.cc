// The functions Python calls directly, through ctypes. Structs mirror those in python/jaxmg/_native.py.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>

#include "backends/plan.h"
#include "engine/host/blas.h"

#define JAXMG_EXPORT extern "C" __attribute__((visibility("default")))

struct jaxmg_plan_request {
  std::int64_t routine, n, nrhs, dtype, ranks, tile, platform, processes, workspace_limit;
};

struct jaxmg_plan_result {
  std::int64_t tile, pivot, slots, distributed_rhs, workspace_bytes, shard_bytes, rhs_bytes;
  double seconds;
};

JAXMG_EXPORT void jaxmg_set_blas(const char* name, void* function) { jaxmg::set_blas(name, function); }

// Returns 0, or 1 with the reason in `message`.
JAXMG_EXPORT int jaxmg_plan(const jaxmg_plan_request* q, jaxmg_plan_result* result, char* message,
                            std::int64_t message_size) {
  try {
    const jaxmg::Plan plan = jaxmg::make_plan(
        {static_cast<jaxmg::Routine>(q->routine), q->n, q->nrhs, static_cast<jaxmg::ScalarType>(q->dtype), q->ranks,
         q->tile, static_cast<jaxmg::Platform>(q->platform), q->processes, q->workspace_limit});
    *result = {plan.tile,        plan.pivot,     plan.slots,  plan.distributed_rhs, plan.workspace_bytes,
               plan.shard_bytes, plan.rhs_bytes, plan.seconds};
    return 0;
  } catch (const std::exception& error) {
    if (message_size > 0) {
      const auto length = std::min<std::size_t>(std::strlen(error.what()), static_cast<std::size_t>(message_size - 1));
      std::memcpy(message, error.what(), length);
      message[length] = '\0';
    }
    return 1;
  }
}
