// Who takes part in a call, and how the others learn that a rank fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/gathering.h"
#include "comm/process_links.h"
#include "comm/roll.h"
#include "core/error.h"

namespace jaxmg {

// Tells the other ranks of a call why this one fails. Returns what it is to throw: the error with the rank's name,
// unless it came from another rank.
inline Error tell_others(Attendance& attendance, const std::exception& error) {
  const auto* const known = dynamic_cast<const Error*>(&error);
  const ErrorCode code = known != nullptr ? known->code() : ErrorCode::internal;
  const bool from_another = code == ErrorCode::aborted || code == ErrorCode::deadline_exceeded;
  const std::string name = from_another ? "" : "rank " + std::to_string(attendance.rank()) + " failed: ";
  Error told(code, name + error.what());
  attendance.fail(told.what());
  return told;
}

// What the links know of why a call fails, which is who is gone; or the error, if they know nothing. Who uses the
// network of a process that ends may notice before its links do, but does not learn whose it was.
inline Error explained(ProcessLinks& links, const std::exception& error) {
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

// Who takes part in a call, and under which name.
struct Membership {
  Roll roll;
  int rank;
  std::vector<int> local_ranks;
  CallKey key;
  std::chrono::milliseconds timeout;

  // Whether some of the ranks are in other processes.
  bool spans() const { return local_ranks.size() < static_cast<std::size_t>(roll.ranks()); }

  Membership(Roll call_roll, std::uint32_t device, std::int64_t call_site, std::chrono::milliseconds limit)
      : roll(std::move(call_roll)),
        rank(roll.rank_of(process_nonce(), device)),
        local_ranks(roll.ranks_of(process_nonce())),
        key{roll.entry(0).process, roll.entry(0).call, call_site},
        timeout(limit) {
    if (rank < 0) {
      throw Error(ErrorCode::internal, "device " + std::to_string(device) + " is not on the roll of this call");
    }
  }
};

}  // namespace jaxmg
