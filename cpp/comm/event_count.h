// A place where threads wait for changes of state that they share.
//
// Woken threads read the state without a mutex. After a condition variable's notify_all() they would take its mutex one
// after another, which wakes and stops most of them twice where there are more threads than cores.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <ctime>
#include <optional>
#include <thread>

namespace jaxmg {

class EventCount {
 public:
  using Clock = std::chrono::steady_clock;

  // To be called after each change.
  void advance() noexcept {
    count_.fetch_add(1);
    if (sleepers_.load() > 0) futex(FUTEX_WAKE_PRIVATE, INT_MAX, nullptr);
  }

  // Returns once done() holds, or false if it does not by the deadline.
  template <class Done>
  bool wait(const Done& done, std::optional<Clock::time_point> deadline) {
    if (done() || holds_soon(done)) return true;
    while (true) {
      const std::uint32_t seen = count_.load();
      if (done()) return true;
      std::timespec left{};
      if (deadline.has_value()) {
        const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(*deadline - Clock::now()).count();
        if (rest <= 0) return false;
        left.tv_sec = rest / 1'000'000'000;
        left.tv_nsec = rest % 1'000'000'000;
      }
      sleepers_.fetch_add(1);
      futex(FUTEX_WAIT_PRIVATE, seen, deadline.has_value() ? &left : nullptr);  // unless count_ has advanced
      sleepers_.fetch_sub(1);
    }
  }

 private:
  // Most waits are for microseconds, and waking a thread takes longer. A thread that yields leaves its core to those
  // that it waits for: on two cores, four ranks solve a system of order 512 in 2.3 ms, and in 7.4 ms if they sleep at
  // once.
  static constexpr std::chrono::microseconds spin{200};
  // Where other programs are busy, they get the core for a time slice, which is long. When a thread has lost its core
  // like that, the next waits of all threads sleep at once: a thread that is woken takes the core from the other
  // programs. Beside two busy programs of lower priority on two cores, a test took 39 s without this, 3.6 s with it,
  // and 0.45 s on its own.
  static constexpr std::chrono::microseconds slice{2500};
  static constexpr int waits_without_yield = 1024;
  // Threads that yield at the same time for each core. More, of independent calls, would give the core to each other.
  static constexpr int yielding_per_core = 4;

  template <class Done>
  static bool holds_soon(const Done& done) {
    static std::atomic<int> waits_to_sleep = 0, yielding = 0;
    static const int most = yielding_per_core * static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    if (waits_to_sleep.load(std::memory_order_relaxed) > 0) {
      waits_to_sleep.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
    bool holds = false;
    if (yielding.fetch_add(1, std::memory_order_relaxed) < most) {
      Clock::time_point now = Clock::now();
      const Clock::time_point end = now + spin;
      while (!holds && now < end) {
        const Clock::time_point before = now;
        std::this_thread::yield();
        now = Clock::now();
        if (now - before > slice) waits_to_sleep.store(waits_without_yield, std::memory_order_relaxed);
        holds = done();
      }
    }
    yielding.fetch_sub(1, std::memory_order_relaxed);
    return holds;
  }

  void futex(int operation, std::uint32_t value, const std::timespec* timeout) noexcept {
    static_assert(sizeof(count_) == sizeof(std::uint32_t) && std::atomic<std::uint32_t>::is_always_lock_free);
    syscall(SYS_futex, &count_, operation, value, timeout, nullptr, 0);
  }

  std::atomic<std::uint32_t> count_ = 0, sleepers_ = 0;
};

}  // namespace jaxmg
