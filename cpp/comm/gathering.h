// The meeting of one process's ranks for one call.
//
// Ranks of a process run in threads of their own. They join under a key that all of them compute alike, learn
// each other's buffers, and pass barriers together. A rank that fails, or that is not there when the time is
// up, makes every rank's next step throw: nobody waits for somebody who will not come.
#pragma once

#include <chrono>
#include <compare>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/block.h"

namespace jaxmg {

struct CallKey {
  std::uint64_t process = 0;   // of rank 0
  std::uint64_t roll = 0;      // rank 0's number of the roll call
  std::int64_t call_site = 0;  // hash of the call; equal calls may share a roll call

  auto operator<=>(const CallKey&) const = default;
};

// Ranks, for a message.
std::string list_of(const std::vector<int>& ranks);
// What those say who have waited for `ranks`, of a call of `size` ranks.
std::string late_message(const std::vector<int>& ranks, int size, std::chrono::milliseconds timeout);

// Number of gatherings that this process keeps for members that have not joined yet. There are as many as calls whose
// ranks are on their way, and some that failed before all had come.
std::size_t open_gatherings();

class Gathering {
 public:
  Gathering(std::vector<int> members, std::chrono::milliseconds timeout, std::uint64_t turn);

  // Takes in `rank` with its buffers; returns whether all members have joined.
  bool join(int rank, MemoryRegions buffers);
  bool has_joined(int rank);
  // Whether the call has failed, and all members that had joined have left.
  bool is_abandoned();

 private:
  friend class Attendance;

  struct Seat {
    MemoryRegions buffers;
    std::uint64_t steps = 0;
    bool joined = false;
    bool left = false;
  };
  Seat& seat(int rank);
  void step(int rank, bool patient = false);
  std::string late(const std::vector<int>& ranks) const;
  void fail(const std::string& why) noexcept;
  // Throws if a member has failed, or, if `late`, for rank `other`'s being late.
  void check(bool late, int other);
  void leave(int rank) noexcept;

  bool all_left() const;

  std::vector<int> members_;
  std::chrono::milliseconds timeout_;
  std::uint64_t turn_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Seat> seats_;
  std::string failure_;
  std::shared_ptr<void> state_;
};

// One rank's part in a gathering, from joining to leaving. Leaving waits for the others that joined, since they
// may still be reading this rank's buffers.
class Attendance {
 public:
  // Returns once all of `members` (the ranks in this process) have joined. The n-th join of a rank under the
  // same key meets the n-th join of the others.
  Attendance(const CallKey& key, int rank, const std::vector<int>& members, MemoryRegions buffers,
             std::chrono::milliseconds timeout);
  ~Attendance() { gathering_->leave(rank_); }
  Attendance(const Attendance&) = delete;
  Attendance& operator=(const Attendance&) = delete;

  int rank() const { return rank_; }
  // How often the key had been used before, the same for all members. It is 0 again after a thousand calls with other
  // keys; calls of one key that are in progress together differ in it.
  std::uint64_t turn() const { return gathering_->turn_; }
  const std::vector<int>& members() const { return gathering_->members_; }
  const MemoryRegions& buffers(int rank) const { return gathering_->seat(rank).buffers; }

  // Returns once every member has passed as many barriers as this rank.
  void barrier() { gathering_->step(rank_); }
  // The same without a limit of time, where a member works for all of them.
  void patient_barrier() { gathering_->step(rank_, true); }
  // Returns once done() holds, which rank `other` is to bring about within microseconds; throws like a barrier.
  template <class Done>
  void spin_until(Done&& done, int other) {
    const auto deadline = std::chrono::steady_clock::now() + gathering_->timeout_;
    while (true) {
      for (int i = 0; i < 1000; ++i) {
        if (done()) return;
      }
      gathering_->check(std::chrono::steady_clock::now() > deadline, other);
      std::this_thread::yield();
    }
  }
  // Throws if a member has failed.
  void check() { gathering_->check(false, rank_); }
  // Makes the next barrier of every member throw.
  void fail(const std::string& why) noexcept { gathering_->fail(why); }

  // State that the members share for the length of the call, made by the one who asks first.
  template <class State, class Make>
  std::shared_ptr<State> shared(Make&& make) {
    std::lock_guard lock(gathering_->mutex_);
    if (!gathering_->state_) gathering_->state_ = make();
    return std::static_pointer_cast<State>(gathering_->state_);
  }

 private:
  std::shared_ptr<Gathering> gathering_;
  int rank_;
};

}  // namespace jaxmg
