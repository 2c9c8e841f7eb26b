// Membership: the ranks that take part in a call, and how a failure is reported to all of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/process_links.h"
#include "comm/rendezvous.h"
#include "comm/roll.h"
#include "core/error.h"

namespace jaxmg {

// Reports the failure of this rank to the other ranks of the call. Returns the error to throw: `error` with the rank's
// number in front, unless it came from another rank.
inline Error report_failure(Participant& participant, const std::exception& error) {
  const auto* const known = dynamic_cast<const Error*>(&error);
  const ErrorCode code = known != nullptr ? known->code() : ErrorCode::internal;
  const bool from_another = code == ErrorCode::aborted || code == ErrorCode::deadline_exceeded;
  const std::string name = from_another ? "" : "rank " + std::to_string(participant.rank()) + " failed: ";
  Error reported(code, name + error.what());
  participant.fail(reported.what());
  return reported;
}

// Root cause of a failure: the lost rank that the links report, or else `error`. When a process ends, its network
// connections may fail before its links do, but do not name its rank.
inline Error root_cause(ProcessLinks& links, const std::exception& error) {
  const auto* const known = dynamic_cast<const Error*>(&error);
  if (known != nullptr && known->code() == ErrorCode::aborted) return *known;
  try {
    for (int i = 0; i < 10; ++i) {
      links.check();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  } catch (const Error& reason) {
    return reason;
  }
  return known != nullptr ? *known : Error(ErrorCode::internal, error.what());
}

// The ranks of a call, this process's ranks among them, and the key of their rendezvous.
struct Membership {
  Roll roll;  // of ranks that meet without a roll call, only the own entry has its device: see roll_of()
  int rank;
  std::vector<int> local_ranks;
  CallKey key;
  std::chrono::milliseconds timeout;

  // Whether the call spans several processes.
  bool spans() const { return local_ranks.size() < static_cast<std::size_t>(roll.ranks()); }
  // Whether the ranks, all of this process, meet without a roll call.
  bool without_roll() const { return key.roll == 0; }

  // The only rank of a call.
  static Membership alone(std::uint32_t device, std::int64_t call_site, std::chrono::milliseconds limit) {
    return {Roll({own_entry(static_cast<std::int32_t>(device))}), device, call_site, limit};
  }
  // One of `ranks` ranks of this process in one execution of a program, on devices that run the calls of a program in
  // the same order. These are all devices of the program.
  static Membership of_run(std::int64_t run, int ranks, int rank, std::uint32_t device, std::int64_t call_site,
                           std::chrono::milliseconds limit) {
    if (rank < 0 || rank >= ranks) {
      throw Error(ErrorCode::internal, "there is no rank " + std::to_string(rank) + " of " + std::to_string(ranks));
    }
    std::vector<RollEntry> entries(static_cast<std::size_t>(ranks));
    for (RollEntry& entry : entries) entry.process = process_nonce();
    entries[static_cast<std::size_t>(rank)].device = device;
    std::vector<int> all(entries.size());
    std::iota(all.begin(), all.end(), 0);
    return {Roll(std::move(entries)), rank, std::move(all), {process_nonce(), 0, call_site, run}, limit};
  }

  Membership(Roll call_roll, std::uint32_t device, std::int64_t call_site, std::chrono::milliseconds limit)
      : roll(std::move(call_roll)),
        rank(roll.rank_of(process_nonce(), device)),
        local_ranks(roll.ranks_of(process_nonce())),
        key{roll.entry(0).process, roll.entry(0).call, call_site, 0},
        timeout(limit) {
    if (rank < 0) {
      throw Error(ErrorCode::internal, "device " + std::to_string(device) + " is not on the roll of this call");
    }
  }

 private:
  Membership(Roll call_roll, int own_rank, std::vector<int> local, const CallKey& call_key,
             std::chrono::milliseconds limit)
      : roll(std::move(call_roll)), rank(own_rank), local_ranks(std::move(local)), key(call_key), timeout(limit) {}
};

// The roll of a call whose ranks have met.
inline Roll roll_of(const Membership& members, const Participant& participant) {
  if (!members.without_roll()) return members.roll;
  std::vector<RollEntry> entries;
  for (int r = 0; r < members.roll.ranks(); ++r) {
    entries.push_back(members.roll.entry(r));
    entries.back().device = participant.device(r);
  }
  return Roll(std::move(entries));
}

}  // namespace jaxmg
