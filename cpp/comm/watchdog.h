// Watchdog thread of a call, for the time in which the calling thread may be blocked in a library.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "core/error.h"

namespace jaxmg {

class Watchdog {
 public:
  // Calls check() periodically until it throws an Error, and from then on end(message), until stop().
  Watchdog(std::function<void()> check, std::function<void(const std::string&)> end)
      : check_(std::move(check)), end_(std::move(end)), thread_([this] { run(); }) {}
  ~Watchdog() { stop(); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // On return neither function is running or will run again.
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  static constexpr std::chrono::milliseconds interval{20};

  void run() {
    std::optional<std::string> failure;
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, interval, [&] { return stopped_; })) {
      if (!failure) {
        try {
          check_();
        } catch (const Error& error) {
          failure = error.what();
        }
      }
      if (failure) end_(*failure);
    }
  }

  std::function<void()> check_;
  std::function<void(const std::string&)> end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  std::thread thread_;  // last member: it uses all others
};

}  // namespace jaxmg
