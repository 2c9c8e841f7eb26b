// Rendezvous of the ranks of one process for one call.
//
// Each rank of a process runs in its own thread. The ranks join under a key that all of them compute alike, learn each
// other's buffers, and pass barriers together. If a rank fails or does not arrive before the time-out, the next step of
// every rank throws: no rank hangs.
#pragma once

#include <atomic>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/block.h"
#include "comm/event_count.h"

namespace jaxmg {

struct CallKey {
  std::uint64_t process = 0;   // of rank 0
  std::uint64_t roll = 0;      // rank 0's number of the roll call; 0 without one
  std::int64_t call_site = 0;  // hash of the call; equal calls may share a roll call
  std::int64_t run = 0;        // without a roll call, XLA's number of the execution of the program

  auto operator<=>(const CallKey&) const = default;
};

// A list of ranks for a message: "0, 2, 5".
std::string list_of(const std::vector<int>& ranks);
// Time-out message that names the missing `ranks` of a call of `size` ranks.
std::string timeout_message(const std::vector<int>& ranks, int size, std::chrono::milliseconds timeout);

// Number of incomplete rendezvous in this process: calls whose ranks are still arriving, and some calls that failed
// before all ranks arrived.
std::size_t open_rendezvous();

class Rendezvous {
 public:
  Rendezvous(std::vector<int> members, std::chrono::milliseconds timeout, std::uint64_t repetition);

  // Registers `rank` with its buffers and its device, its first step; returns whether all members have joined.
  bool join(int rank, MemoryRegions buffers, std::uint32_t device);
  bool has_joined(int rank);
  // Whether the call has failed and every member that joined has left.
  bool is_abandoned();

 private:
  friend class Participant;

  struct Entry {
    MemoryRegions buffers;
    std::uint32_t device = 0;
    std::atomic<std::uint64_t> steps = 0;  // joining is the first
  };
  Entry& entry(int rank);
  void step(int rank, bool unlimited = false);
  // Returns once every member has made `steps` steps.
  void await(std::uint64_t steps, bool unlimited);
  bool have_all_made(std::uint64_t steps) const { return arrivals_.load() >= steps * members_.size(); }
  void fail(const std::string& why) noexcept;
  [[noreturn]] void throw_failure();
  // Throws if a member has failed. If `late`, fails the call with a time-out that names rank `other` of `ranks`.
  void check(bool late, int other, int ranks);
  // Fails the call, unless it has failed already, with a time-out that names `ranks` of `size`.
  void time_out(const std::vector<int>& ranks, int size);
  void leave() noexcept;
  bool all_left() const { return left_.load() == joined_.load(); }

  const std::vector<int> members_;
  const std::chrono::milliseconds timeout_;
  const std::uint64_t repetition_;
  std::vector<Entry> entries_;
  EventCount changes_;
  // Steps of all members together. No member makes its next step before all have made the last one.
  std::atomic<std::uint64_t> arrivals_ = 0;
  std::atomic<std::size_t> joined_ = 0, left_ = 0;  // members
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;  // of what follows
  std::string failure_;
  std::shared_ptr<void> state_;
};

// One rank's participation in a rendezvous, from joining to leaving. Leaving waits for all members that joined, since
// they may still be reading this rank's buffers.
class Participant {
 public:
  // Returns once all of `members` (the ranks in this process) have joined. The n-th join of a rank under the
  // same key meets the n-th join of the others.
  Participant(const CallKey& key, int rank, const std::vector<int>& members, MemoryRegions buffers,
              std::chrono::milliseconds timeout, std::uint32_t device = 0);
  ~Participant() { rendezvous_->leave(); }
  Participant(const Participant&) = delete;
  Participant& operator=(const Participant&) = delete;

  int rank() const { return rank_; }
  // Number of earlier uses of the key, the same for all members. It restarts at 0 after a thousand calls with other
  // keys; simultaneous calls of one key have different numbers.
  std::uint64_t repetition() const { return rendezvous_->repetition_; }
  const std::vector<int>& members() const { return rendezvous_->members_; }
  const MemoryRegions& buffers(int rank) const { return rendezvous_->entry(rank).buffers; }
  std::uint32_t device(int rank) const { return rendezvous_->entry(rank).device; }

  // Returns once every member has passed as many barriers as this rank.
  void barrier() { rendezvous_->step(rank_); }
  // The same without a time-out, for waits while one member works on behalf of all.
  void unlimited_barrier() { rendezvous_->step(rank_, true); }
  // Spins until done() holds, which rank `other` of the call's `ranks` is expected to bring about within microseconds;
  // throws like a barrier.
  template <class Done>
  void spin_until(Done&& done, int other, int ranks) {
    const auto deadline = std::chrono::steady_clock::now() + rendezvous_->timeout_;
    while (true) {
      for (int i = 0; i < 1000; ++i) {
        if (done()) return;
      }
      rendezvous_->check(std::chrono::steady_clock::now() > deadline, other, ranks);
      std::this_thread::yield();
    }
  }
  // Throws if a member has failed.
  void check() { rendezvous_->check(false, rank_, 0); }
  // Makes the next barrier of every member throw.
  void fail(const std::string& why) noexcept { rendezvous_->fail(why); }

  // State that the members share until the call ends; the first member that asks makes it.
  template <class State, class Make>
  std::shared_ptr<State> shared(Make&& make) {
    std::lock_guard lock(rendezvous_->mutex_);
    if (!rendezvous_->state_) rendezvous_->state_ = make();
    return std::static_pointer_cast<State>(rendezvous_->state_);
  }

 private:
  std::shared_ptr<Rendezvous> rendezvous_;
  int rank_;
};

}  // namespace jaxmg
