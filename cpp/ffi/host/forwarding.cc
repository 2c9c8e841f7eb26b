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
constexpr auto platforms = names_of<Platform>;

template <std::size_t platform, class R>
XLA_FFI_Error* forward(XLA_FFI_CallFrame* frame) {
  static constinit ForwardingHandler handler(platforms[platform].data(), R::name);
  return handler(frame, find);
}

}  // namespace
}  // namespace jaxmg

// Sets the loader of all handlers below. Call it before registering them.
JAXMG_EXPORT void jaxmg_set_find_handler(jaxmg::FindHandler loader) { jaxmg::find = loader; }

// Forwarding handler of a routine in jaxmg_routines(), or of "roll_call", on a platform, "cpu" or "gpu"; null if there
// is none.
JAXMG_EXPORT jaxmg::Handler jaxmg_forwarding_handler(const char* platform, const char* name) {
  using namespace jaxmg;
  Handler found = nullptr;
  for_each(decltype(joined(List<RollCall>{}, Calls{})){}, [&]<class R, std::size_t>() {
    if (name != std::string_view(R::name)) return;
    if (platform == platforms[0]) found = forward<0, R>;
    if (platform == platforms[1]) found = forward<1, R>;
  });
  return found;
}
