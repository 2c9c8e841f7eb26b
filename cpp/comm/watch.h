// Somebody who looks after a call while the thread that makes it may be held up in a library.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/error.h"

namespace jaxmg {

class Watch {
 public:
  // Calls look() now and then, until stop(). Should it throw an Error, end(what it says) is called, and that was that.
  Watch(std::function<void()> look, std::function<void(const std::string&)> end)
      : look_(std::move(look)), end_(std::move(end)), thread_([this] { watch(); }) {}
  ~Watch() { stop(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Neither function runs any more on return.
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

  void watch() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, interval, [&] { return stopped_; })) {
      try {
        look_();
      } catch (const Error& error) {
        end_(error.what());
        return;
      }
    }
  }

  std::function<void()> look_;
  std::function<void(const std::string&)> end_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  std::thread thread_;  // last: it uses all others
};

}  // namespace jaxmg
