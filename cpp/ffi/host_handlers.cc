// XLA FFI handlers of the CPU.
#include <cstring>
#include <optional>

#include "backends/host_backends.h"
#include "comm/thread_communicator.h"
#include "engine/host/host_engine.h"
#include "engine/host/single_threaded_blas.h"
#include "ffi/call.h"
#include "ffi/routines.h"

namespace jaxmg {
namespace {

// Runs body(engine, members) on the thread of one rank, among the ranks of its call.
template <class Body>
void with_engine(const CallFrame& call, std::int32_t device, MemoryRegions buffers, Body&& body) {
  const Membership members(Roll(call.roll().untyped_data(), call.roll().dimensions()[0]),
                           static_cast<std::uint32_t>(device), call.attributes());
  if (members.local_ranks.size() != static_cast<std::size_t>(members.roll.ranks())) {
    throw Error(ErrorCode::invalid_argument,
                "the CPU devices of a mesh must belong to one process; this mesh spans several");
  }
  Attendance attendance(members.key, members.rank, members.local_ranks, std::move(buffers), members.timeout);
  try {
    // Made once all ranks are here, so that waiting for one keeps no other user of BLAS from its threads.
    std::optional<SingleThreadedBlas> single_threaded;
    if (members.roll.ranks() > 1) single_threaded.emplace();
    ThreadCommunicator communicator(attendance);
    HostEngine engine(communicator);
    body(engine, members);
    attendance.barrier();  // a rank that fails fails all
  } catch (const std::exception& error) {
    throw tell_others(attendance, error);
  }
}

xffi::Error roll_call(xffi::AnyBuffer, xffi::Result<xffi::AnyBuffer> entry, xffi::Dictionary, std::int32_t device) {
  return guarded("roll call", [&] {
    RollEntry own;
    own.process = process_nonce();
    own.device = static_cast<std::uint32_t>(device);
    own.call = fresh_call();
    std::memcpy(entry->untyped_data(), &own, sizeof(own));
  });
}

template <class Routine>
xffi::Error run(const char* name, xffi::RemainingArgs operands, xffi::RemainingRets results,
                xffi::Dictionary attributes, std::int32_t device) {
  return guarded(name, [&] {
    const CallFrame call(operands, results, attributes);
    for (std::size_t i = 0; i < Routine::in_place; ++i) {
      // XLA makes an operand and the result it is aliased to one buffer; if it ever does not, the result starts as a
      // copy.
      const xffi::AnyBuffer from = call.operand(i), to = call.result(i);
      if (from.untyped_data() != to.untyped_data()) {
        std::memcpy(to.untyped_data(), from.untyped_data(), from.size_bytes());
      }
    }
    dispatch(scalar_type(call.result(0).element_type()), [&]<class T>() {
      with_engine(call, device, call.regions(Routine::in_place), [&](HostEngine& engine, const Membership& members) {
        const MemoryRegion workspace = call.workspace();
        Routine::template run<T>(engine, call, members, Arena(workspace.base, workspace.bytes));
      });
    });
  });
}

}  // namespace
}  // namespace jaxmg

JAXMG_HANDLER(jaxmg_host_roll_call, jaxmg::bind_roll_call(), jaxmg::roll_call)

#define JAXMG_HOST_HANDLER(name, routine)                 \
  JAXMG_HANDLER(jaxmg_host_##name, jaxmg::bind_routine(), \
                [](auto... arguments) { return jaxmg::run<jaxmg::routines::routine>(#name, arguments...); })
JAXMG_ROUTINES(JAXMG_HOST_HANDLER)
