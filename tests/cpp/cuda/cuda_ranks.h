// Ranks on GPUs, each served by a thread of the test: the interface of ranks.h over the CUDA engine. They rendezvous
// like ranks of one process in a call from JAX (engine/cuda/with_engine.h).
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "algorithms/cuda/instances.h"
#include "comm/rendezvous.h"
#include "comm/roll.h"
#include "device_memory.h"
#include "engine/cuda/check.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/nccl_transport.h"
#include "engine/cuda/team.h"
#include "engine/scratch.h"
#include "gtest/gtest.h"
#include "ranks.h"

namespace jaxmg::testing {

// Transport between the GPUs.
enum class Via { peers, nccl };

inline int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// With JAXMG_TEST_RANKS_PER_GPU=<count> in the environment, up to 4 ranks that are peers share a GPU: algorithms over
// several GPUs can be tested on one, except the links between GPUs. Their streams must not share a hardware queue,
// where one would wait for another: set CUDA_DEVICE_MAX_CONNECTIONS=32, too.
inline int ranks_per_gpu() {
  const char* const count = std::getenv("JAXMG_TEST_RANKS_PER_GPU");
  return count == nullptr ? 1 : std::clamp(std::atoi(count), 1, 4);
}

inline bool devices_see_each_other(int count) {
  for (int from = 0; from < count; ++from) {
    for (int to = 0; to < count; ++to) {
      int possible = 1;
      if (from != to && (cudaDeviceCanAccessPeer(&possible, from, to) != cudaSuccess || possible == 0)) return false;
    }
  }
  return true;
}

// Reports the number of GPUs found: tests omit larger numbers of ranks. Without any GPU all tests are skipped.
class NeedsGpus : public ::testing::Environment {
 public:
  void SetUp() override {
    const int count = device_count();
    std::cout << count << " GPUs"
              << (count > 1 && !devices_see_each_other(count) ? " that do not reach each other" : "") << std::endl;
    if (count == 0) GTEST_SKIP() << "there is no GPU";
  }
};

inline const auto* const needs_gpus = ::testing::AddGlobalTestEnvironment(new NeedsGpus);

// Sets an environment variable for a scope.
class ScopedVariable {
 public:
  ScopedVariable(std::string name, const std::string& value) : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), 1);
  }
  ~ScopedVariable() { unsetenv(name_.c_str()); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  std::string name_;
};

template <Via via>
class CudaRanks {
 public:
  using Engine = cuda::CudaEngine;
  static constexpr int most = 8;
  static bool available(int ranks) {
    const int devices = device_count();
    if (via == Via::nccl) return ranks <= devices;
    return ranks <= devices * ranks_per_gpu() && devices_see_each_other(std::min(ranks, devices));
  }

  // Devices for a number of ranks, round-robin.
  static std::vector<int> spread(int ranks) {
    std::vector<int> devices = all_members(ranks);
    for (int& device : devices) device %= std::max(1, device_count());
    return devices;
  }

  // Rank r works on device devices[r].
  explicit CudaRanks(std::vector<int> devices) : devices_(std::move(devices)), memory_(devices_) {}
  explicit CudaRanks(int ranks) : CudaRanks(spread(ranks)) {}

  int size() const { return static_cast<int>(devices_.size()); }
  // Sets the time-out of later calls.
  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }

  template <class T>
  OnDeviceRanks<T> matrix(std::int64_t rows, std::int64_t columns) {
    return memory_.matrix<T>(rows, columns);
  }

  template <class Body>
  void run(Body&& body) {
    for (const std::exception_ptr& error : try_run(body)) {
      if (error) std::rethrow_exception(error);
    }
  }

  // Returns the exception of each rank, if any.
  template <class Body>
  std::vector<std::exception_ptr> try_run(Body&& body) {
    memory_.template matrix<std::byte>(scratch_bytes(), 1);
    const Roll roll = call_the_roll();
    const CallKey key = fresh_key();
    return on_threads(size(), [&](int rank) {
      JAXMG_CHECK(cudaSetDevice(devices_[static_cast<std::size_t>(rank)]));
      work(roll, key, rank, body);
      memory_.stream(rank).synchronize();
    });
  }

 private:
  static constexpr std::int64_t largest_potrf = 8192;

  static std::int64_t scratch_bytes() {
    Arena measure;
    CudaScratch(measure, largest_potrf, 1);
    return measure.used();
  }

  Roll call_the_roll() const {
    std::vector<RollEntry> entries(devices_.size());
    for (std::size_t r = 0; r < entries.size(); ++r) {
      entries[r].process = process_nonce();
      entries[r].device = static_cast<std::uint32_t>(devices_[r]);
      entries[r].call = fresh_call();
    }
    return {entries.data(), size()};
  }

  template <class Body>
  void work(const Roll& roll, const CallKey& key, int rank, Body& body) {
    const cudaStream_t stream = memory_.stream(rank).get();
    const MemoryRegions& own = memory_.regions(rank);
    std::string kind = typeid(Body).name();
    for (const MemoryRegion& region : own) kind += ' ' + std::to_string(region.bytes);
    Participant participant(key, rank, all_members(size()), own, timeout_);
    std::shared_ptr<cuda::Team> team;
    cuda::RankResources* resources = nullptr;
    try {
      team = participant.shared<cuda::Team>([&] {
        // The other ranks wait here, and therefore no thread reads the environment while it changes.
        std::optional<ScopedVariable> transport;
        if (via == Via::nccl) transport.emplace("JAXMG_TRANSPORT", "nccl");
        return cuda::Team::acquire(roll);
      });
      team->create_resources(participant, timeout_);
      resources = &team->resources(rank);
      EXPECT_EQ(resources->nccl != nullptr, via == Via::nccl);
      std::vector<MemoryRegions> all;
      for (int r = 0; r < size(); ++r) all.push_back(participant.buffers(r));
      const bool first = resources->kinds.insert(kind).second;
      Arena arena(own.back().base, own.back().bytes);
      const CudaScratch scratch(arena, largest_potrf, 1);
      cuda::CudaEngine engine(*team, rank, stream, scratch, largest_potrf,
                              {participant, timeout_, std::move(all), scratch.packed, first});
      body(engine);
      participant.barrier();
      engine.finish();
    } catch (const std::exception& error) {
      participant.fail("rank " + std::to_string(rank) + " failed: " + error.what());
      if (team) team->retire();
      if (resources != nullptr) resources->abandon();
      throw;
    }
  }

  std::vector<int> devices_;
  DeviceMemory memory_;
  std::chrono::milliseconds timeout_ = test_timeout;
};

using PeerRanks = CudaRanks<Via::peers>;
using NcclRanks = CudaRanks<Via::nccl>;

}  // namespace jaxmg::testing

// Skips a test that needs more GPUs than there are.
#define JAXMG_NEEDS_RANKS(Ranks, count)                                              \
  if (!Ranks::available(count)) {                                                    \
    GTEST_SKIP() << "needs " << (count) << " GPUs that reach each other, there are " \
                 << ::jaxmg::testing::device_count();                                \
  }                                                                                  \
  static_assert(true)
