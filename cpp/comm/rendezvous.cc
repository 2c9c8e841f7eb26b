#include "comm/rendezvous.h"

#include <algorithm>
#include <cstddef>
#include <list>
#include <optional>
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
  Entry& own = entry(rank);
  own.device = device;
  own.buffers = std::move(buffers);
  own.steps = 1;
  ++joined_;
  ++arrivals_;
  if (!have_all_made(1)) return false;
  changes_.advance();
  return true;
}

bool Rendezvous::has_joined(int rank) { return entry(rank).steps > 0; }

bool Rendezvous::is_abandoned() { return failed_ && all_left(); }

Participant::Participant(const CallKey& key, int rank, const std::vector<int>& members, MemoryRegions buffers,
                         std::chrono::milliseconds timeout, std::uint32_t device)
    : rendezvous_(registry().join(key, rank, members, std::move(buffers), timeout, device)), rank_(rank) {
  try {
    rendezvous_->await(1, false);
  } catch (...) {
    rendezvous_->leave();
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
  const std::uint64_t steps = ++entry(rank).steps;
  ++arrivals_;
  if (have_all_made(steps)) changes_.advance();
  await(steps, unlimited);
}

void Rendezvous::await(std::uint64_t steps, bool unlimited) {
  std::optional<EventCount::Clock::time_point> deadline;
  if (!unlimited) deadline = EventCount::Clock::now() + timeout_;
  if (!changes_.wait([&] { return have_all_made(steps) || failed_; }, deadline)) {
    std::vector<int> late;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].steps < steps) late.push_back(members_[i]);
    }
    if (!late.empty()) time_out(late, static_cast<int>(members_.size()));
  }
  if (failed_) throw_failure();
}

void Rendezvous::check(bool late, int other, int ranks) {
  if (late) time_out({other}, ranks);
  if (failed_) throw_failure();
}

void Rendezvous::time_out(const std::vector<int>& ranks, int size) {
  std::lock_guard lock(mutex_);
  if (failed_) return;
  failure_ = timeout_message(ranks, size, timeout_);
  failed_ = true;
  changes_.advance();
  throw Error(ErrorCode::deadline_exceeded, failure_);
}

void Rendezvous::throw_failure() {
  std::lock_guard lock(mutex_);
  throw Error(ErrorCode::aborted, failure_);
}

void Rendezvous::fail(const std::string& why) noexcept {
  try {
    std::lock_guard lock(mutex_);
    if (!failed_) failure_ = why;
    failed_ = true;
  } catch (...) {  // out of memory while copying the text: the other ranks time out instead
  }
  changes_.advance();
}

void Rendezvous::leave() noexcept {
  {
    std::lock_guard lock(mutex_);
    // Free the shared state before any member can start the next call.
    if (left_ + 1 == joined_) state_.reset();
    ++left_;
  }
  if (all_left()) changes_.advance();
  changes_.wait([&] { return all_left(); }, {});
}

}  // namespace jaxmg
