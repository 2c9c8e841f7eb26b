// Flags and counters that order the exchanges of ranks which write to each other's memory.
//
// Each rank has a row of flags for each lane: one for each kind and peer, which the peer's device writes and the rank's
// device waits for. A counter for each lane and kind tells the other hosts which of these writes have been enqueued.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

#include "core/ceil_div.h"
#include "engine/engine.h"

namespace jaxmg {

// The flags and counters of one rank; does not own their memory.
class PeerFlags {
 public:
  enum Kind { ready = 0, done = 1 };
  using Counter = std::atomic<std::uint32_t>;
  static_assert(Counter::is_always_lock_free && sizeof(Counter) == sizeof(std::uint32_t));

  static constexpr std::size_t counters = lane_count * 2;
  static constexpr std::size_t flags(int ranks) { return counters * static_cast<std::size_t>(ranks); }

  // `flags` as the devices of this process address them; `on_host`, their address on the host if they have one.
  PeerFlags(int ranks, std::uint32_t* flags, Counter* posted, std::uint32_t* on_host = nullptr)
      : ranks_(ranks), flags_(flags), posted_(posted), on_host_(on_host) {}

  std::uint32_t* at(Lane lane, Kind kind, int peer) const {
    return flags_ + index(lane, kind) * static_cast<std::size_t>(ranks_) + peer;
  }
  // Records that the writes of this rank for an exchange have been enqueued.
  void post(Lane lane, Kind kind, std::uint32_t number) const {
    posted_[index(lane, kind)].store(number, std::memory_order_release);
  }
  bool has_posted(Lane lane, Kind kind, std::uint32_t number) const {
    return static_cast<std::int32_t>(posted_[index(lane, kind)].load(std::memory_order_acquire) - number) >= 0;
  }

  bool on_host() const { return on_host_ != nullptr; }
  // Ends all waits of this rank for its flags, whatever a device writes: call it repeatedly until the device is idle,
  // because a rank that is still alive, or was a moment ago, may overwrite a flag. Flags must be on the host.
  void release() const {
    constexpr std::uint32_t far = 1u << 30;  // ahead of every exchange that may be waited for
    for (std::size_t i = 0; i < counters; ++i) {
      const std::uint32_t number = posted_[i].load(std::memory_order_relaxed) + far;
      for (int peer = 0; peer < ranks_; ++peer) {
        flag_on_host(i * static_cast<std::size_t>(ranks_) + static_cast<std::size_t>(peer))
            .store(number, std::memory_order_release);
      }
    }
  }
  // Changes whenever a peer's device writes a flag. Flags must be on the host.
  std::uint64_t progress() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < flags(ranks_); ++i) sum += flag_on_host(i).load(std::memory_order_relaxed);
    return sum;
  }

 private:
  static std::size_t index(Lane lane, Kind kind) {
    return static_cast<std::size_t>(lane) * 2 + static_cast<std::size_t>(kind);
  }
  std::atomic_ref<std::uint32_t> flag_on_host(std::size_t i) const {
    return std::atomic_ref<std::uint32_t>(on_host_[i]);
  }

  int ranks_;
  std::uint32_t* flags_;
  Counter* posted_;
  std::uint32_t* on_host_;
};

// Layout of the flags and counters of all ranks in memory that several processes share. Zeros are their initial state.
class PeerBoard {
 public:
  static std::int64_t bytes(int ranks) { return ranks * (flag_bytes(ranks) + counter_bytes); }

  // `memory` on the host; `on_device` is its address for devices.
  PeerBoard(int ranks, std::byte* memory, std::byte* on_device)
      : ranks_(ranks), memory_(memory), on_device_(on_device) {}

  PeerFlags of(int rank) const {
    const std::int64_t flags = rank * flag_bytes(ranks_);
    auto* const posted = memory_ + ranks_ * flag_bytes(ranks_) + rank * counter_bytes;
    return {ranks_, reinterpret_cast<std::uint32_t*>(on_device_ + flags),
            std::launder(reinterpret_cast<PeerFlags::Counter*>(posted)),
            reinterpret_cast<std::uint32_t*>(memory_ + flags)};
  }

 private:
  // Ranks share no cache line.
  static constexpr std::int64_t line = 128;
  static std::int64_t flag_bytes(int ranks) {
    return ceil_div(static_cast<std::int64_t>(PeerFlags::flags(ranks) * sizeof(std::uint32_t)), line) * line;
  }
  static constexpr std::int64_t counter_bytes = line;
  static_assert(PeerFlags::counters * sizeof(PeerFlags::Counter) <= counter_bytes);

  int ranks_;
  std::byte* memory_;
  std::byte* on_device_;
};

}  // namespace jaxmg
