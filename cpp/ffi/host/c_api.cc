// C API for Python's ctypes.
#include <cstdint>
#include <span>
#include <string>

#include "engine/host/blas.h"
#include "ffi/c_api.h"
#include "ffi/handlers.h"
#include "routines/planning.h"

JAXMG_EXPORT void jaxmg_set_blas(const char* name, void* function) { jaxmg::set_blas(name, function); }

// Table of routines and backends, see capabilities().
JAXMG_EXPORT const char* jaxmg_routines() {
  static const std::string table = jaxmg::capabilities<jaxmg::Calls>();
  return table.c_str();
}

// Plans a call, see plan(). Writes the encoded plan to `words`, at most `most` of them. Returns 0, or 1 with the
// reason in `message`.
JAXMG_EXPORT int jaxmg_plan(const char* routine, const char* backend, const char* problem, jaxmg::Summary* result,
                            std::int64_t* words, std::int64_t most, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] {
    const jaxmg::Answer made = jaxmg::plan<jaxmg::Calls>(routine, backend, problem);
    if (made.words > most) throw jaxmg::Error(jaxmg::ErrorCode::internal, "there is no room for the encoded plan");
    std::copy(made.plan.begin(), made.plan.end(), words);
    *result = made;
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
