// The roll of a call: one entry for each rank, all-gathered by XLA from the roll-call handlers.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace jaxmg {

// One rank's entry, as 32-bit words in an XLA buffer.
struct RollEntry {
  std::uint64_t process = 0;  // nonce of the process
  std::uint32_t device = 0;   // ordinal of the device in its process
  std::uint32_t retired = 0;  // shared teams that this process has retired, see IdleTeams
  std::uint64_t call = 0;     // fresh in every roll call of a process
  std::array<std::uint8_t, 128> nccl_id{};
  std::uint64_t machine = 0;  // processes with the same value can connect to each other
};
inline constexpr std::int64_t roll_words = 40;
static_assert(sizeof(RollEntry) == roll_words * sizeof(std::uint32_t));

class Roll {
 public:
  Roll(const void* words, std::int64_t ranks) : entries_(static_cast<std::size_t>(ranks)) {
    std::memcpy(entries_.data(), words, entries_.size() * sizeof(RollEntry));
  }
  explicit Roll(std::vector<RollEntry> entries) : entries_(std::move(entries)) {}

  int ranks() const { return static_cast<int>(entries_.size()); }
  const RollEntry& entry(int rank) const { return entries_[static_cast<std::size_t>(rank)]; }

  // The rank of a device of a process, or -1.
  int rank_of(std::uint64_t process, std::uint32_t device) const;
  std::vector<int> ranks_of(std::uint64_t process) const;

 private:
  std::vector<RollEntry> entries_;
};

// Nonce that identifies this process.
std::uint64_t process_nonce();
// Nonce that identifies the machine and its network namespace (containers may have their own).
std::uint64_t machine_nonce();
// Unique number of a roll call within this process.
std::uint64_t fresh_call();
// Call when this process retires a team that it shares with other processes.
void count_retired_team();
// The roll entry of a device of this process.
RollEntry own_entry(std::int32_t device);

}  // namespace jaxmg
