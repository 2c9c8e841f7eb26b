// XLA FFI handlers of the CPU.
#include <cstring>
#include <utility>
#include <vector>

#include "algorithms/host/instances.h"
#include "engine/host/huge_pages.h"
#include "engine/host/with_engine.h"
#include "ffi/c_api.h"
#include "ffi/call.h"
#include "ffi/handlers.h"
#include "ffi/host/workers.h"

namespace jaxmg {
namespace {

struct Cpu {
  using Engine = HostEngine;
  static constexpr auto name = "CPUs";
  const CallFrame& call;
  std::int32_t device;

  static auto&& bind(auto&& binding) { return std::forward<decltype(binding)>(binding); }
  static void meet(std::vector<RollEntry>&, std::int32_t) {}
  static void write(void* to, const std::vector<RollEntry>& entries) {
    std::memcpy(to, entries.data(), entries.size() * sizeof(RollEntry));
  }
  static void copy(const Buffer& to, const Buffer& from) {
    std::memcpy(to.data, from.data, static_cast<std::size_t>(from.bytes));
  }
  // XLA has few threads. Its devices may run independent calls in different orders: if a call held its thread until the
  // other ranks come, these might wait in another call, or in a collective operation, for the same thread.
  static xffi::Future start(bool waits, auto&& body) {
    xffi::Promise promise;
    xffi::Future future(promise);
    auto complete = [promise](xffi::Error outcome) mutable {
      if (outcome.success()) {
        promise.SetAvailable();
      } else {
        promise.SetError(std::move(outcome));
      }
    };
    if (!waits) {
      complete(body());
      return future;
    }
    xffi::Error started =
        guarded("call", [&] { Workers::instance().run([complete, body]() mutable { complete(body()); }); });
    if (!started.success()) complete(std::move(started));
    return future;
  }
  static void prepare(const MemoryRegion& region) { prefer_huge_pages(region); }
  template <class Body>
  void run(const EngineNeeds& needs, Body&& body) const {
    with_host_engine(call.members(call.roll.data, device), needs, body);
  }
};

}  // namespace
}  // namespace jaxmg

JAXMG_EXPORT jaxmg::Handler jaxmg_handler(const char* name) { return jaxmg::find_handler<jaxmg::Cpu>(name); }
