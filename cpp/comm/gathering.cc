#include "comm/gathering.h"

#include <algorithm>
#include <cstddef>
#include <list>
#include <utility>

#include "comm/recent_turns.h"
#include "core/error.h"

namespace jaxmg {
namespace {

// The gatherings that not all members have joined.
//
// A rank joins the first one under its key that it has not joined yet. The n-th join of a rank so meets the n-th of the
// others, and nothing has to be remembered of gatherings that are complete: they are left by all members together, so
// that a program which repeats a call under one roll starts each repetition with no gathering open.
class Registry {
 public:
  std::shared_ptr<Gathering> join(const CallKey& key, int rank, const std::vector<int>& members, MemoryRegions buffers,
                                  std::chrono::milliseconds timeout) {
    std::lock_guard lock(mutex_);
    auto found = std::find_if(open_.begin(), open_.end(),
                              [&](const Open& open) { return open.key == key && !open.gathering->has_joined(rank); });
    if (found == open_.end()) {
      forget_failures();
      found = open_.insert(open_.end(), {key, std::make_shared<Gathering>(members, timeout, turns_.next(key))});
    }
    std::shared_ptr<Gathering> gathering = found->gathering;
    if (gathering->join(rank, std::move(buffers))) open_.erase(found);
    return gathering;
  }
  std::size_t open() {
    std::lock_guard lock(mutex_);
    return open_.size();
  }

 private:
  struct Open {
    CallKey key;
    std::shared_ptr<Gathering> gathering;
  };
  static constexpr std::size_t most_failures = 64;
  // A key is used again while one execution of a program lasts. Its turn matters where the ranks are in several
  // processes, which have to count alike: they connect under it.
  static constexpr std::size_t most_keys = 1024;

  // A rank that is late meets the failure of its call at once, if that was one of the last failures; an older one's
  // ranks are not expected any more.
  void forget_failures() {
    if (open_.size() < most_failures) return;
    const auto abandoned = [](const Open& open) { return open.gathering->is_abandoned(); };
    auto failures = std::count_if(open_.begin(), open_.end(), abandoned);
    std::erase_if(open_, [&](const Open& open) {
      if (failures < static_cast<std::ptrdiff_t>(most_failures) || !abandoned(open)) return false;
      --failures;
      return true;
    });
  }

  std::mutex mutex_;
  std::list<Open> open_;  // oldest first
  RecentTurns<CallKey> turns_{most_keys};
};

Registry& registry() {
  static auto* const instance = new Registry;  // threads of XLA may outlive static destruction
  return *instance;
}

}  // namespace

std::string list_of(const std::vector<int>& ranks) {
  std::string text;
  for (const int r : ranks) text += (text.empty() ? "" : ", ") + std::to_string(r);
  return text;
}

std::string late_message(const std::vector<int>& ranks, int size, std::chrono::milliseconds timeout) {
  return "rank(s) " + list_of(ranks) + " of " + std::to_string(size) + " did not arrive within " +
         std::to_string(timeout.count()) + " ms (the environment variable JAXMG_TIMEOUT_SECONDS sets this limit)";
}

std::size_t open_gatherings() { return registry().open(); }

Gathering::Gathering(std::vector<int> members, std::chrono::milliseconds timeout, std::uint64_t turn)
    : members_(std::move(members)), timeout_(timeout), turn_(turn), seats_(members_.size()) {}

bool Gathering::join(int rank, MemoryRegions buffers) {
  std::lock_guard lock(mutex_);
  Seat& own = seat(rank);
  own.buffers = std::move(buffers);
  own.joined = true;
  return std::all_of(seats_.begin(), seats_.end(), [](const Seat& s) { return s.joined; });
}

bool Gathering::has_joined(int rank) {
  std::lock_guard lock(mutex_);
  return seat(rank).joined;
}

bool Gathering::all_left() const {
  return std::all_of(seats_.begin(), seats_.end(), [](const Seat& s) { return s.left || !s.joined; });
}

bool Gathering::is_abandoned() {
  std::lock_guard lock(mutex_);
  return !failure_.empty() && all_left();
}

Attendance::Attendance(const CallKey& key, int rank, const std::vector<int>& members, MemoryRegions buffers,
                       std::chrono::milliseconds timeout)
    : gathering_(registry().join(key, rank, members, std::move(buffers), timeout)), rank_(rank) {
  try {
    gathering_->step(rank);
  } catch (...) {
    gathering_->leave(rank);
    throw;
  }
}

Gathering::Seat& Gathering::seat(int rank) {
  const auto found = std::find(members_.begin(), members_.end(), rank);
  if (found == members_.end()) {
    throw Error(ErrorCode::internal, "rank " + std::to_string(rank) + " is not a member of this call");
  }
  return seats_[static_cast<std::size_t>(found - members_.begin())];
}

void Gathering::step(int rank, bool patient) {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = ++seat(rank).steps;
  const auto missing = [&] {
    std::vector<int> late;
    for (std::size_t i = 0; i < seats_.size(); ++i) {
      if (seats_[i].steps < mine) late.push_back(members_[i]);
    }
    return late;
  };
  const auto done = [&] { return !failure_.empty() || missing().empty(); };
  if (done()) {
    changed_.notify_all();
  } else if (patient) {
    changed_.wait(lock, done);
  } else if (!changed_.wait_for(lock, timeout_, done)) {
    failure_ = late(missing());
    changed_.notify_all();
    throw Error(ErrorCode::deadline_exceeded, failure_);
  }
  if (!failure_.empty()) throw Error(ErrorCode::aborted, failure_);
}

std::string Gathering::late(const std::vector<int>& ranks) const {
  return late_message(ranks, static_cast<int>(members_.size()), timeout_);
}

void Gathering::check(bool late, int other) {
  std::lock_guard lock(mutex_);
  if (failure_.empty() && late) {
    failure_ = this->late({other});
    changed_.notify_all();
    throw Error(ErrorCode::deadline_exceeded, failure_);
  }
  if (!failure_.empty()) throw Error(ErrorCode::aborted, failure_);
}

void Gathering::fail(const std::string& why) noexcept {
  try {
    std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = why;
  } catch (...) {  // out of memory while copying the text: the others run into the time limit instead
  }
  changed_.notify_all();
}

void Gathering::leave(int rank) noexcept {
  std::unique_lock lock(mutex_);
  seat(rank).left = true;
  // What the members shared is free for the next call before any of them can make one.
  if (all_left()) state_.reset();
  changed_.notify_all();
  changed_.wait(lock, [&] { return all_left(); });
}

}  // namespace jaxmg
