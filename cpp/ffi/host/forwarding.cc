// Forwarding handlers of all platforms, which Python registers on import; see ffi/forwarding.h.
#include "ffi/forwarding.h"

#include <atomic>
#include <string_view>

#include "ffi/c_api.h"
#include "routines/serve.h"
#include "routines/services.h"

namespace jaxmg {
namespace {

std::atomic<FindHandler> find = nullptr;

struct RollCall {
  static constexpr auto name = "roll_call";
};
struct OnCpus {
  static constexpr auto name = "cpu";
};
struct OnGpus {
  static constexpr auto name = "gpu";
};

template <class Platform, class R>
XLA_FFI_Error* forward(XLA_FFI_CallFrame* frame) {
  static constinit ForwardingHandler handler(Platform::name, R::name);
  return handler(frame, find);
}

}  // namespace
}  // namespace jaxmg

// Sets the loader of all handlers below. Call it before registering them.
JAXMG_EXPORT void jaxmg_set_find_handler(jaxmg::FindHandler loader) { jaxmg::find = loader; }

// The forwarding handler of a routine, of those in jaxmg_routines() and "roll_call", on "cpu" or "gpu"; or null.
JAXMG_EXPORT jaxmg::Handler jaxmg_forwarding_handler(const char* platform, const char* name) {
  using namespace jaxmg;
  Handler found = nullptr;
  for_each(List<OnCpus, OnGpus>{}, [&]<class Platform, std::size_t>() {
    for_each(decltype(joined(List<RollCall>{}, Calls{})){}, [&]<class R, std::size_t>() {
      if (platform == std::string_view(Platform::name) && name == std::string_view(R::name)) {
        found = forward<Platform, R>;
      }
    });
  });
  return found;
}
