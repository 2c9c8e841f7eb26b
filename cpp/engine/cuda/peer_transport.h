// Peer transport: ranks on GPUs that access each other's memory; sources write directly to the targets. Memory of
// another process is mapped into this one (ipc.h).
//
// Two flags order an exchange between each pair of ranks. The target's stream writes «ready» to the source, the
// source's stream waits for it, copies, and writes «done» to the target, whose stream waits. Flags count the exchanges
// of a lane and are never reset.
//
// A wait for a flag is enqueued only after the other rank's host thread has enqueued the write. Therefore all enqueued
// work can finish even if a host fails next, or calls a CUDA function that waits for the device, as loading a kernel
// may. Only the end of a process leaves waits behind, and kernels that wait for each other (sweep.h), which read a word
// of the host meanwhile. Flags of several processes are therefore in host memory, where
// the survivors end the waits without CUDA: its functions may be blocked by the very work that waits.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/cuda/transport.h"
#include "engine/peer_flags.h"

namespace jaxmg::cuda {

// Flags and counters of a rank whose peers are all in this process, in device memory.
class DeviceFlags {
 public:
  explicit DeviceFlags(int ranks);  // on the current device
  ~DeviceFlags();
  DeviceFlags(const DeviceFlags&) = delete;
  DeviceFlags& operator=(const DeviceFlags&) = delete;

  PeerFlags get() { return {ranks_, flags_, posted_.data()}; }

 private:
  int ranks_;
  std::array<PeerFlags::Counter, PeerFlags::counters> posted_{};
  std::uint32_t* flags_ = nullptr;
};

class PeerTransport final : public Transport {
 public:
  // `flags` has an entry for each rank. With flags on the host, the ranks are in several processes.
  PeerTransport(int rank, std::vector<PeerFlags> flags);
  ~PeerTransport() override;
  PeerTransport(const PeerTransport&) = delete;
  PeerTransport& operator=(const PeerTransport&) = delete;

  void begin(const Call& call) override;
  void exchange(Lane lane, cudaStream_t stream, const std::vector<Block>& blocks) override;
  void complete(cudaStream_t stream) override;
  void abandon() noexcept override;

  // Nonzero once the team is abandoned: kernels that wait for other ranks read it.
  const int* stop() const { return stop_; }

 private:
  int size() const { return static_cast<int>(flags_.size()); }
  const PeerFlags& flags(int rank) const { return flags_[static_cast<std::size_t>(rank)]; }
  bool several_processes() const { return flags(rank_).on_host(); }

  int rank_;
  std::vector<PeerFlags> flags_;
  std::vector<MemoryRegions> buffers_;
  Participant* participant_ = nullptr;
  std::chrono::milliseconds timeout_{};
  std::array<std::uint32_t, lane_count> count_{};
  cudaEvent_t reached_{};
  int* stop_ = nullptr;  // in host memory
};

}  // namespace jaxmg::cuda
