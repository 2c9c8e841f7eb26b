// XLA FFI handlers of the CPU.
#include <cstring>
#include <optional>

#include "backends/tiled_cholesky.h"
#include "comm/thread_communicator.h"
#include "engine/host/host_engine.h"
#include "engine/host/single_threaded_blas.h"
#include "ffi/call.h"

namespace jaxmg {
namespace {

// XLA makes an operand and the result it is aliased to one buffer; if it ever does not, the result starts as a copy.
void start_from(xffi::AnyBuffer operand, xffi::Result<xffi::AnyBuffer> result) {
  if (operand.untyped_data() != result->untyped_data()) {
    std::memcpy(result->untyped_data(), operand.untyped_data(), operand.size_bytes());
  }
}

// Runs body(engine, members) on the thread of one rank, among the ranks of its call.
template <class Body>
void with_engine(const xffi::Dictionary& attributes, std::int32_t device, xffi::AnyBuffer roll, MemoryRegions buffers,
                 Body&& body) {
  const Membership members(Roll(roll.untyped_data(), roll.dimensions()[0]), static_cast<std::uint32_t>(device),
                           attributes);
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

xffi::Error potrs(xffi::AnyBuffer a, xffi::AnyBuffer b, xffi::AnyBuffer roll, xffi::Result<xffi::AnyBuffer> a_out,
                  xffi::Result<xffi::AnyBuffer> x, xffi::Result<xffi::AnyBuffer> info,
                  xffi::Result<xffi::AnyBuffer> workspace, xffi::Dictionary attributes, std::int32_t device) {
  return guarded("potrs", [&] {
    start_from(a, a_out);
    start_from(b, x);
    dispatch(scalar_type(a.element_type()), [&]<class T>() {
      with_engine(attributes, device, roll, {region_of(*a_out), region_of(*x), region_of(*workspace)},
                  [&](HostEngine& engine, const Membership& members) {
                    const auto problem = decode_potrs<T>(members, *a_out, *x,
                                                         static_cast<std::int32_t*>(info->untyped_data()), attributes);
                    const Arena arena(workspace->untyped_data(), region_of(*workspace).bytes);
                    TiledCholesky<T, HostEngine>().potrs(engine, problem, arena);
                  });
    });
  });
}

xffi::Error redistribute_columns(xffi::AnyBuffer a, xffi::AnyBuffer roll, xffi::Result<xffi::AnyBuffer> a_out,
                                 xffi::Result<xffi::AnyBuffer> workspace, xffi::Dictionary attributes,
                                 std::int32_t device) {
  return guarded("redistribute", [&] {
    start_from(a, a_out);
    dispatch(scalar_type(a.element_type()), [&]<class T>() {
      with_engine(attributes, device, roll, {region_of(*a_out), region_of(*workspace)},
                  [&](HostEngine& engine, const Membership& members) {
                    const auto shard = columns_of<T>(*a_out);
                    const auto layout = redistribution_layout(members, shard, attributes);
                    redistribute(engine, layout, shard, Arena(workspace->untyped_data(), region_of(*workspace).bytes),
                                 attribute(attributes, "inverse") != 0);
                  });
    });
  });
}

}  // namespace
}  // namespace jaxmg

JAXMG_HANDLER(jaxmg_host_roll_call, jaxmg::bind_roll_call(), jaxmg::roll_call)
JAXMG_HANDLER(jaxmg_host_potrs, jaxmg::bind_potrs(), jaxmg::potrs)
JAXMG_HANDLER(jaxmg_host_redistribute, jaxmg::bind_redistribute(), jaxmg::redistribute_columns)
