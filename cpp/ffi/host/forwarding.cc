// Forwarding handlers of all platforms, which Python registers on import; see ffi/forwarding.h.
#include "ffi/forwarding.h"

#include <atomic>
#include <cstddef>
#include <string_view>

#include "ffi/c_api.h"
#include "routines/serve.h"
#include "routines/services.h"

namespace jaxmg {
namespace {

std::atomic<FindHandler> loader = nullptr;

struct RollCall {
  static constexpr auto name = "roll_call";
};
struct Cpu {
  static constexpr auto name = "cpu";
};
struct Gpu {
  static constexpr auto name = "gpu";
};

template <class Platform, class R>
XLA_FFI_Error* forward(XLA_FFI_CallFrame* frame) {
  static constinit ForwardingHandler handler(Platform::name, R::name);
  return handler(frame, loader);
}

template <class Platform>
Handler forwarding_handler(std::string_view name) {
  Handler found = nullptr;
  for_each(decltype(joined(List<RollCall>{}, Calls{})){}, [&]<class R, std::size_t>() {
    if (name == R::name) found = forward<Platform, R>;
  });
  return found;
}

}  // namespace
}  // namespace jaxmg

// Sets the loader of the handlers that are forwarded to. Call it before registering any.
JAXMG_EXPORT void jaxmg_set_find_handler(jaxmg::FindHandler find) { jaxmg::loader = find; }

// The handler that forwards to a routine's on a platform, "cpu" or "gpu"; null if there is no such routine.
JAXMG_EXPORT jaxmg::Handler jaxmg_forwarding_handler(const char* platform, const char* name) {
  return std::string_view(platform) == jaxmg::Cpu::name ? jaxmg::forwarding_handler<jaxmg::Cpu>(name)
                                                        : jaxmg::forwarding_handler<jaxmg::Gpu>(name);
}
