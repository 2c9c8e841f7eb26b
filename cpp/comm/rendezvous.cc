#include "comm/rendezvous.h"

#include <algorithm>
#include <cstddef>
#include <list>
#include <utility>

#include "comm/recent_use_counts.h"
#include "core/error.h"

namespace jaxmg {
namespace {

// Registry of the rendezvous that some members have yet to join.
//
// A rank joins the first rendezvous under its key that it has not joined yet. This matches the n-th join of each rank
// with the n-th join of the others. Complete rendezvous need no record: all members leave them together, and a program
// that repeats a call under one roll starts each repetition with no rendezvous open.
class Registry {
 public:
  std::shared_ptr<Rendezvous> join(const CallKey& key, int rank, const std::vector<int>& members, MemoryRegions buffers,
                                   std::chrono::milliseconds timeout, std::uint32_t device) {
    std::lock_guard lock(mutex_);
    auto found = std::find_if(open_.begin(), open_.end(),
                              [&](const Open& open) { return open.key == key && !open.rendezvous->has_joined(rank); });
    if (found == open_.end()) {
      forget_failures();
      found = open_.insert(open_.end(), {key, std::make_shared<Rendezvous>(members, timeout, use_counts_.next(key))});
    }
    std::shared_ptr<Rendezvous> rendezvous = found->rendezvous;
    if (rendezvous->join(rank, std::move(buffers), device)) open_.erase(found);
    return rendezvous;
  }
  std::size_t open() {
    std::lock_guard lock(mutex_);
    return open_.size();
  }

 private:
  struct Open {
    CallKey key;
    std::shared_ptr<Rendezvous> rendezvous;
  };
  static constexpr std::size_t most_failures = 64;
  // A key is reused within one execution of a program. Processes connect under the key and its number of earlier uses,
  // and therefore must count alike.
  static constexpr std::size_t most_keys = 1024;

  // Drops the oldest failed calls. A late rank of one of the most recent failures still fails at once; late ranks of
  // older failures are no longer expected.
  void forget_failures() {
    if (open_.size() < most_failures) return;
    const auto abandoned = [](const Open& open) { return open.rendezvous->is_abandoned(); };
    auto failures = std::count_if(open_.begin(), open_.end(), abandoned);
    std::erase_if(open_, [&](const Open& open) {
      if (failures < static_cast<std::ptrdiff_t>(most_failures) || !abandoned(open)) return false;
      --failures;
      return true;
    });
  }

  std::mutex mutex_;
  std::list<Open> open_;  // oldest first
  RecentUseCounts<CallKey> use_counts_{most_keys};
};

Registry& registry() {
  static auto* const instance = new Registry;  // never destroyed: XLA's threads may outlive statics
  return *instance;
}

}  // namespace

std::string list_of(const std::vector<int>& ranks) {
  std::string text;
  for (const int r : ranks) text += (text.empty() ? "" : ", ") + std::to_string(r);
  return text;
}

std::string timeout_message(const std::vector<int>& ranks, int size, std::chrono::milliseconds timeout) {
  return "rank(s) " + list_of(ranks) + " of " + std::to_string(size) + " did not arrive within " +
         std::to_string(timeout.count()) + " ms (the environment variable JAXMG_TIMEOUT_SECONDS sets this limit)";
}

std::size_t open_rendezvous() { return registry().open(); }

Rendezvous::Rendezvous(std::vector<int> members, std::chrono::milliseconds timeout, std::uint64_t repetition)
    : members_(std::move(members)), timeout_(timeout), repetition_(repetition), entries_(members_.size()) {}

bool Rendezvous::join(int rank, MemoryRegions buffers, std::uint32_t device) {
  std::lock_guard lock(mutex_);
  Entry& own = entry(rank);
  own.device = device;
  own.buffers = std::move(buffers);
  own.joined = true;
  ++own.steps;
  if (!all_have_joined()) return false;
  changed_.notify_all();
  return true;
}

bool Rendezvous::all_have_joined() const {
  return std::all_of(entries_.begin(), entries_.end(), [](const Entry& s) { return s.joined; });
}

void Rendezvous::await_members(int rank, std::chrono::microseconds spin) {
  std::unique_lock lock(mutex_);
  const auto end = std::chrono::steady_clock::now() + spin;
  while (!all_have_joined() && failure_.empty() && std::chrono::steady_clock::now() < end) {
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
  }
  await(lock, rank, false);
}

bool Rendezvous::has_joined(int rank) {
  std::lock_guard lock(mutex_);
  return entry(rank).joined;
}

bool Rendezvous::all_left() const {
  return std::all_of(entries_.begin(), entries_.end(), [](const Entry& s) { return s.left || !s.joined; });
}

bool Rendezvous::is_abandoned() {
  std::lock_guard lock(mutex_);
  return !failure_.empty() && all_left();
}

Participant::Participant(const CallKey& key, int rank, const std::vector<int>& members, MemoryRegions buffers,
                         std::chrono::milliseconds timeout, std::uint32_t device, std::chrono::microseconds spin)
    : rendezvous_(registry().join(key, rank, members, std::move(buffers), timeout, device)), rank_(rank) {
  try {
    rendezvous_->await_members(rank, spin);
  } catch (...) {
    rendezvous_->leave(rank);
    throw;
  }
}

Rendezvous::Entry& Rendezvous::entry(int rank) {
  const auto found = std::find(members_.begin(), members_.end(), rank);
  if (found == members_.end()) {
    throw Error(ErrorCode::internal, "rank " + std::to_string(rank) + " is not a member of this call");
  }
  return entries_[static_cast<std::size_t>(found - members_.begin())];
}

void Rendezvous::step(int rank, bool unlimited) {
  std::unique_lock lock(mutex_);
  ++entry(rank).steps;
  await(lock, rank, unlimited);
}

void Rendezvous::await(std::unique_lock<std::mutex>& lock, int rank, bool unlimited) {
  const std::uint64_t mine = entry(rank).steps;
  const auto missing = [&] {
    std::vector<int> late;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].steps < mine) late.push_back(members_[i]);
    }
    return late;
  };
  const auto done = [&] { return !failure_.empty() || missing().empty(); };
  if (done()) {
    changed_.notify_all();
  } else if (unlimited) {
    changed_.wait(lock, done);
  } else if (!changed_.wait_for(lock, timeout_, done)) {
    failure_ = timeout_message(missing(), static_cast<int>(members_.size()), timeout_);
    changed_.notify_all();
    throw Error(ErrorCode::deadline_exceeded, failure_);
  }
  if (!failure_.empty()) throw Error(ErrorCode::aborted, failure_);
}

void Rendezvous::check(bool late, int other, int ranks) {
  std::lock_guard lock(mutex_);
  if (failure_.empty() && late) {
    failure_ = timeout_message({other}, ranks, timeout_);
    changed_.notify_all();
    throw Error(ErrorCode::deadline_exceeded, failure_);
  }
  if (!failure_.empty()) throw Error(ErrorCode::aborted, failure_);
}

void Rendezvous::fail(const std::string& why) noexcept {
  try {
    std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = why;
  } catch (...) {  // out of memory while copying the text: the other ranks time out instead
  }
  changed_.notify_all();
}

void Rendezvous::leave(int rank) noexcept {
  std::unique_lock lock(mutex_);
  entry(rank).left = true;
  // Free the shared state before any member can start the next call.
  if (all_left()) state_.reset();
  changed_.notify_all();
  changed_.wait(lock, [&] { return all_left(); });
}

}  // namespace jaxmg
