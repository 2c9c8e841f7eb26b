// XLA FFI handlers of the CPU.
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "comm/communicator.h"
#include "engine/host/host_engine.h"
#include "engine/host/single_threaded_blas.h"
#include "ffi/c_api.h"
#include "ffi/call.h"
#include "ffi/handlers.h"

namespace jaxmg {
namespace {

// Runs body(engine) on the thread of one rank, among the ranks of its call.
template <class Body>
void with_engine(const CallFrame& call, std::int32_t device, MemoryRegions buffers, Body&& body) {
  const Membership members(Roll(call.roll.data, call.roll.shape[0]), static_cast<std::uint32_t>(device),
                           call.attributes);
  Attendance attendance(members.key, members.rank, members.local_ranks, std::move(buffers), members.timeout);
  std::optional<ProcessLinks> links;  // where ranks are in several processes
  try {
    if (members.spans()) {
      links.emplace(Reception::instance(), attendance, members.roll, members.key, members.timeout);
      if (const std::vector<int> far = links->out_of_reach(); !far.empty()) {
        throw Error(ErrorCode::invalid_argument,
                    "the CPU devices of a mesh have to be on one machine, and in one container; those of the rank(s) " +
                        list_of(far) + " are not where this one is");
      }
      links->connect();
    }
    // Made once all ranks are here, so that waiting for one keeps no other user of BLAS from its threads.
    std::optional<SingleThreadedBlas> single_threaded;
    if (members.roll.ranks() > 1) single_threaded.emplace();
    Communicator communicator = links ? Communicator(attendance, *links) : Communicator(attendance);
    HostEngine engine(communicator);
    body(engine);
    communicator.barrier();  // a rank that fails fails all
  } catch (const std::exception& error) {
    const Error told = tell_others(attendance, error);
    if (links) links->fail(told.what());
    throw told;
  }
}

xffi::Error roll_call(xffi::AnyBuffer, xffi::Result<xffi::AnyBuffer> entry, xffi::Dictionary attributes,
                      std::int32_t device) {
  return guarded("roll call", [&] {
    if (attribute(attributes, "processes") > 1) Reception::instance();
    const RollEntry own = own_entry(device);
    std::memcpy(entry->untyped_data(), &own, sizeof(own));
  });
}

struct Cpu {
  using Engine = HostEngine;
  static constexpr auto name = "CPUs";
  std::int32_t device;

  static auto&& bind(auto&& binding) { return std::move(binding); }
  static void copy(const Buffer& to, const Buffer& from) {
    std::memcpy(to.data, from.data, static_cast<std::size_t>(from.bytes));
  }
  template <class Body>
  void run(const CallFrame& call, const Needs& needs, Body&& body) const {
    with_engine(call, device, needs.buffers,
                [&](HostEngine& engine) { body(engine, Arena(call.workspace.data, call.workspace.bytes)); });
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
