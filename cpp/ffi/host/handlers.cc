// XLA FFI handlers of the CPU.
#include <cstring>
#include <utility>
#include <vector>

#include "algorithms/host/instances.h"
#include "comm/process_links.h"
#include "engine/host/with_engine.h"
#include "ffi/c_api.h"
#include "ffi/call.h"
#include "ffi/handlers.h"

namespace jaxmg {
namespace {

xffi::Error roll_call(xffi::RemainingArgs, xffi::Result<xffi::AnyBuffer> entry, xffi::Dictionary attributes,
                      std::int32_t device) {
  return guarded("roll call", [&] {
    if (attribute(attributes, "processes") > 1) Reception::instance();
    const std::vector<RollEntry> own = own_entries(*entry, device);
    if (!own.empty()) std::memcpy(entry->untyped_data(), own.data(), own.size() * sizeof(RollEntry));
  });
}

struct Cpu {
  using Engine = HostEngine;
  static constexpr auto name = "CPUs";
  const CallFrame& call;
  std::int32_t device;

  static auto&& bind(auto&& binding) { return std::forward<decltype(binding)>(binding); }
  static void copy(const Buffer& to, const Buffer& from) {
    std::memcpy(to.data, from.data, static_cast<std::size_t>(from.bytes));
  }
  template <class Body>
  void run(const EngineNeeds& needs, Body&& body) const {
    with_host_engine(call.members(call.roll.data, device), needs, body);
  }
  static Handler roll_call() {
    return [](XLA_FFI_CallFrame* frame) {
      static auto* const bound = bind_roll_call().To(jaxmg::roll_call).release();
      return bound->Call(frame);
    };
  }
};

}  // namespace
}  // namespace jaxmg

// The handler of a routine, of those in jaxmg_routines() and "roll_call"; or null.
JAXMG_EXPORT jaxmg::Handler jaxmg_handler(const char* name) { return jaxmg::find_handler<jaxmg::Cpu>(name); }
