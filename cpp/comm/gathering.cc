#include "comm/gathering.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "core/error.h"

namespace jaxmg {
namespace {

struct Meeting {
  CallKey key;
  std::uint64_t turn;  // how often this key had met before
  auto operator<=>(const Meeting&) const = default;
};

struct Open {
  std::shared_ptr<Gathering> gathering;
  std::size_t joined = 0;
};

// How often each rank has used each key. Keys are fresh but for programs that repeat a solve under one roll
// call, so only recent ones need to be remembered.
class Turns {
 public:
  std::uint64_t next(const CallKey& key, int rank) {
    const auto [found, inserted] = turns_.try_emplace({key, rank}, 0);
    if (inserted) {
      order_.push_back(found->first);
      if (order_.size() > remembered) {
        turns_.erase(order_.front());
        order_.pop_front();
      }
    }
    return found->second++;
  }

 private:
  static constexpr std::size_t remembered = 1 << 16;
  std::map<std::pair<CallKey, int>, std::uint64_t> turns_;
  std::deque<std::pair<CallKey, int>> order_;
};

struct Registry {
  std::mutex mutex;
  Turns turns;
  std::map<Meeting, Open> open;
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

Gathering::Gathering(std::vector<int> members, std::chrono::milliseconds timeout)
    : members_(std::move(members)), timeout_(timeout), seats_(members_.size()) {}

Attendance::Attendance(const CallKey& key, int rank, const std::vector<int>& members, MemoryRegions buffers,
                       std::chrono::milliseconds timeout)
    : rank_(rank) {
  {
    Registry& all = registry();
    std::lock_guard lock(all.mutex);
    turn_ = all.turns.next(key, rank);
    const auto entry = all.open.try_emplace(Meeting{key, turn_}).first;
    Open& open = entry->second;
    if (!open.gathering) open.gathering = std::make_shared<Gathering>(members, timeout);
    gathering_ = open.gathering;
    // The entry stays until the last member has come, so that one who is late meets the failure, not nobody.
    if (++open.joined == members.size()) all.open.erase(entry);
  }
  {
    std::lock_guard lock(gathering_->mutex_);
    Gathering::Seat& seat = gathering_->seat(rank);
    seat.buffers = std::move(buffers);
    seat.joined = true;
  }
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
  const auto all_left = [&] {
    return std::all_of(seats_.begin(), seats_.end(), [](const Seat& s) { return s.left || !s.joined; });
  };
  seat(rank).left = true;
  // What the members shared is free for the next call before any of them can make one.
  if (all_left()) state_.reset();
  changed_.notify_all();
  changed_.wait(lock, all_left);
}

}  // namespace jaxmg
