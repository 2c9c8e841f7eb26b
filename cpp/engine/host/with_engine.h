// Runs one rank of a call on CPUs: rendezvous, engine, and failure on all ranks together.
#pragma once

#include <exception>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "comm/membership.h"
#include "comm/process_links.h"
#include "comm/rendezvous.h"
#include "core/arena.h"
#include "core/error.h"
#include "engine/host/host_engine.h"
#include "engine/host/single_threaded_blas.h"
#include "engine/needs.h"

namespace jaxmg {

// Runs body(engine, workspace) on the thread of one rank of a call.
template <class Body>
void with_host_engine(const Membership& members, const EngineNeeds& needs, Body&& body) {
  // Called once all ranks have arrived: until then, other users of BLAS keep their threads.
  const auto work = [&](HostEngine engine, auto&& meet) {
    std::optional<SingleThreadedBlas> single_threaded;
    if (!needs.one_at_work) single_threaded.emplace();
    body(engine, Arena(needs.workspace.base, needs.workspace.bytes));
    meet();
  };
  if (members.roll.ranks() == 1) return work(HostEngine(), [] {});
  Participant participant(members.key, members.rank, members.local_ranks, needs.buffers, members.timeout);
  std::optional<ProcessLinks> links;  // only if the call spans several processes
  try {
    if (members.spans()) {
      links.emplace(Listener::instance(), participant, members.roll, members.key, members.timeout);
      if (const std::vector<int> far = links->out_of_reach(); !far.empty()) {
        throw Error(ErrorCode::invalid_argument,
                    "the CPU devices of a mesh must be on one machine and in one container, but rank " +
                        std::to_string(members.rank) + " cannot reach rank(s) " + list_of(far));
      }
      links->connect();
    }
    Communicator communicator = links ? Communicator(participant, *links) : Communicator(participant);
    work(HostEngine(communicator), [&] { communicator.barrier(); });  // a rank that fails here fails all ranks
  } catch (const std::exception& error) {
    const Error reported = report_failure(participant, error);
    if (links) links->fail(reported.what());
    throw reported;
  }
}

}  // namespace jaxmg
