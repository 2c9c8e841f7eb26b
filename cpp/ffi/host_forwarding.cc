// Forwarding handlers of all platforms, which Python registers on import; see forwarding.h.
#include "ffi/c_api.h"
#include "ffi/forwarding.h"
#include "ffi/routine_names.h"

namespace {

std::atomic<jaxmg::FindHandler> find_handler = nullptr;

}  // namespace

// Sets the loader of all handlers below. Call it before registering them.
JAXMG_EXPORT void jaxmg_set_find_handler(jaxmg::FindHandler find) { find_handler = find; }

#define JAXMG_FORWARD(platform, name)                                                       \
  JAXMG_EXPORT XLA_FFI_Error* jaxmg_forward_##platform##_##name(XLA_FFI_CallFrame* frame) { \
    static constinit jaxmg::ForwardingHandler handler(#platform, #name);                    \
    return handler(frame, find_handler);                                                    \
  }
#define JAXMG_FORWARD_TO_ALL(name, routine) \
  JAXMG_FORWARD(cpu, name)                  \
  JAXMG_FORWARD(gpu, name)

JAXMG_FORWARD_TO_ALL(roll_call, )
JAXMG_ROUTINES(JAXMG_FORWARD_TO_ALL)
