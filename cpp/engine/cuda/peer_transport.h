// Peer transport: ranks of one process whose GPUs access each other's memory; sources write directly to the targets.
//
// Two flags in device memory order an exchange between each pair of ranks. The target's stream writes «ready» to the
// source, the source's stream waits for it, copies, and writes «done» to the target, whose stream waits. Flags count
// the exchanges of a lane and are never reset.
//
// A wait for a flag is enqueued only after the other rank's host thread has enqueued the write. Therefore all enqueued
// work can finish even if a host fails next, or calls a CUDA function that waits for the device, as loading a kernel
// may.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/transport.h"

namespace jaxmg::cuda {

// A rank's flags, in its own device memory, written by its peers.
class PeerFlags {
 public:
  enum Kind { ready = 0, done = 1 };

  explicit PeerFlags(int ranks);  // on the current device
  ~PeerFlags();
  PeerFlags(const PeerFlags&) = delete;
  PeerFlags& operator=(const PeerFlags&) = delete;

  std::uint32_t* at(Lane lane, Kind kind, int peer) const {
    return flags_ + (static_cast<int>(lane) * 2 + kind) * ranks_ + peer;
  }
  // Records that the writes of this rank for an exchange have been enqueued.
  void post(Lane lane, Kind kind, std::uint32_t number) { posted(lane, kind).store(number, std::memory_order_release); }
  bool has_posted(Lane lane, Kind kind, std::uint32_t number) const {
    return static_cast<std::int32_t>(posted(lane, kind).load(std::memory_order_acquire) - number) >= 0;
  }

 private:
  std::atomic<std::uint32_t>& posted(Lane lane, Kind kind) const {
    return posted_[static_cast<std::size_t>(static_cast<int>(lane) * 2 + kind)];
  }

  int ranks_;
  mutable std::array<std::atomic<std::uint32_t>, lane_count * 2> posted_{};
  std::uint32_t* flags_ = nullptr;
};

class PeerTransport final : public Transport {
 public:
  // `flags` has an entry for each rank.
  PeerTransport(int rank, std::vector<PeerFlags*> flags) : rank_(rank), flags_(std::move(flags)) {}

  void begin(const Call& call) override;
  void exchange(Lane lane, cudaStream_t stream, const std::vector<Block>& blocks) override;
  void complete(cudaStream_t) override {}
  void abandon() noexcept override {}

 private:
  int rank_;
  std::vector<PeerFlags*> flags_;
  std::vector<MemoryRegions> buffers_;
  Participant* participant_ = nullptr;
  std::array<std::uint32_t, lane_count> count_{};
};

}  // namespace jaxmg::cuda
