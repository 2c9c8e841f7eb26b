// Threads that run calls whose ranks wait for each other.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace jaxmg {

// A task never waits for another one to end: there are as many threads as tasks at the same time. Idle threads are
// kept.
class Workers {
 public:
  static Workers& instance() {
    static auto* const workers = new Workers;  // never destroyed: its threads may outlive main()
    return *workers;
  }

  // Throws std::system_error if there is no idle thread, and none can be made.
  void run(std::function<void()> task) {
    {
      std::lock_guard lock(mutex_);
      if (tasks_.size() < idle_) {
        tasks_.push_back(std::move(task));
        ready_.notify_one();
        return;
      }
    }
    std::thread([this, task = std::move(task)]() mutable {
      task();
      task = nullptr;
      work();
    }).detach();
  }

 private:
  [[noreturn]] void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      ready_.wait(lock, [this] { return !tasks_.empty(); });
      --idle_;
      {
        const std::function<void()> task = std::move(tasks_.front());
        tasks_.pop_front();
        lock.unlock();
        task();
      }
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;
  std::size_t idle_ = 0;
};

}  // namespace jaxmg
