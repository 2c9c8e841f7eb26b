// XLA FFI handlers of the CPU.
#include <cstring>
#include <optional>
#include <vector>

#include "backends/host_backends.h"
#include "comm/communicator.h"
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
    body(engine, members);
    communicator.barrier();  // a rank that fails fails all
  } catch (const std::exception& error) {
    const Error told = tell_others(attendance, error);
    if (links) links->fail(told.what());
    throw told;
  }
}

xffi::Error roll_call(xffi::RemainingArgs, xffi::Result<xffi::AnyBuffer> entry, xffi::Dictionary attributes,
                      std::int32_t device) {
  return guarded("roll call", [&] {
    if (attribute(attributes, "processes") > 1) Reception::instance();
    const std::vector<RollEntry> own = own_entries(*entry, device);
    if (!own.empty()) std::memcpy(entry->untyped_data(), own.data(), own.size() * sizeof(RollEntry));
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
