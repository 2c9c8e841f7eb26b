// Ranks as threads of the test, each with a host engine.
//
// Interface of ranks for tests of algorithms, here and on devices (cuda/cuda_ranks.h):
//   Ranks::Engine                       the engine of one rank
//   Ranks::most                         the largest number of ranks in a test; a machine may have fewer
//   Ranks::available(ranks)             whether this machine has that many ranks
//   ranks.size()
//   ranks.matrix<T>(rows, columns)      one matrix on every rank, with view(rank), upload(rank, matrix) and
//                                       download(rank); all of them are made before run() and start as NaN
//   ranks.run(body)                     calls body(engine) for each rank, which puts work into its lanes and
//                                       reads no results; returns when all work is done, throws if a rank failed
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <numeric>
#include <thread>
#include <vector>

#include "comm/communicator.h"
#include "comm/rendezvous.h"
#include "engine/host/host_engine.h"
#include "host_memory.h"
#include "lapack.h"

namespace jaxmg::testing {

inline constexpr std::chrono::milliseconds test_timeout{60'000};  // sanitizers are slow

// Returns a key that no other call has.
inline CallKey fresh_key() {
  static std::atomic<std::uint64_t> last{0};
  return {1, ++last, 0};
}

inline std::vector<int> all_members(int ranks) {
  std::vector<int> members(static_cast<std::size_t>(ranks));
  std::iota(members.begin(), members.end(), 0);
  return members;
}

// Calls body(rank) for each rank, each in its own thread. Returns the exception of each rank, if any.
template <class Body>
std::vector<std::exception_ptr> on_threads(int ranks, Body&& body) {
  std::vector<std::exception_ptr> thrown(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      try {
        body(r);
      } catch (...) {
        thrown[static_cast<std::size_t>(r)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

// Runs body(communicator, participant) on a thread of each rank. Rethrows the first exception of a rank.
template <class Body>
void on_communicators(int ranks, HostMemory& memory, Body&& body) {
  const CallKey key = fresh_key();
  const auto thrown = on_threads(ranks, [&](int rank) {
    Participant participant(key, rank, all_members(ranks), memory.regions(rank), test_timeout);
    try {
      Communicator communicator(participant);
      body(communicator, participant);
    } catch (const std::exception& error) {
      participant.fail(error.what());
      throw;
    }
  });
  for (const std::exception_ptr& error : thrown) {
    if (error) std::rethrow_exception(error);
  }
}

class HostRanks {
 public:
  using Engine = HostEngine;
  static constexpr int most = 8;

  // Sanitizers are slow, and look for faults of memory and threads, which need no more numbers of ranks than these.
  static bool available([[maybe_unused]] int ranks) {
#if defined(__SANITIZE_THREAD__)
    return ranks == 2 || ranks == 3;
#elif defined(JAXMG_FEW_SCALARS)
    return ranks == 1 || ranks == 3 || ranks == 4;
#else
    return true;
#endif
  }

  explicit HostRanks(int ranks) : size_(ranks), memory_(ranks) {}

  int size() const { return size_; }

  template <class T>
  OnHostRanks<T> matrix(std::int64_t rows, std::int64_t columns) {
    return memory_.matrix<T>(rows, columns);
  }

  template <class Body>
  void run(Body&& body) {
    on_communicators(size_, memory_, [&](Communicator& communicator, Participant&) {
      HostEngine engine(communicator);
      body(engine);
    });
  }

 private:
  int size_;
  HostMemory memory_;
};

}  // namespace jaxmg::testing
