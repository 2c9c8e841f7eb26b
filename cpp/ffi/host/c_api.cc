// C API for Python's ctypes. The struct mirrors one in python/jaxmg/_native/plans.py.
#include <cstdint>
#include <span>
#include <string>

#include "engine/host/blas.h"
#include "ffi/c_api.h"
#include "ffi/handlers.h"
#include "routines/planning.h"

struct jaxmg_answer {
  std::int64_t tile, distributed_rhs, workspace_bytes, shard_bytes, rhs_bytes;
  double seconds;
  std::int64_t ranks_at_work;
  std::int64_t words;  // of the encoded plan
};

JAXMG_EXPORT void jaxmg_set_blas(const char* name, void* function) { jaxmg::set_blas(name, function); }

// Table of routines and backends, see capabilities().
JAXMG_EXPORT const char* jaxmg_routines() {
  static const std::string table = jaxmg::capabilities<jaxmg::Calls>();
  return table.c_str();
}

// Plans a call, see plan(). Writes the encoded plan to `words`, at most `most` of them. Returns 0, or 1 with the
// reason in `message`.
JAXMG_EXPORT int jaxmg_plan(const char* routine, const char* backend, const char* problem, jaxmg_answer* result,
                            std::int64_t* words, std::int64_t most, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] {
    const jaxmg::Answer made = jaxmg::plan<jaxmg::Calls>(routine, backend, problem);
    const auto size = static_cast<std::int64_t>(made.plan.size());
    if (size > most) throw jaxmg::Error(jaxmg::ErrorCode::internal, "there is no room for the encoded plan");
    std::copy(made.plan.begin(), made.plan.end(), words);
    *result = {made.tile,      made.distributed_rhs, made.workspace_bytes, made.shard_bytes,
               made.rhs_bytes, made.seconds,         made.ranks_at_work,   size};
  });
}

// Writes an encoded plan as text into `text`. Returns as jaxmg_plan.
JAXMG_EXPORT int jaxmg_describe(const std::int64_t* words, std::int64_t count, char* text, std::int64_t text_size,
                                char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] {
    const std::string described = jaxmg::description<jaxmg::Calls>(std::span(words, static_cast<std::size_t>(count)));
    jaxmg::write_text(described, text, text_size);
  });
}
