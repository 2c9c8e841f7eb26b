#include "engine/messages.h"

#include <algorithm>
#include <set>

namespace jaxmg {
namespace {

using Slice = std::vector<Block>;  // the blocks of one message

// Blocks cut into slices that each fit a buffer. Source and target cut the same blocks in the same order: a cut depends
// on sizes only, since a rank writes blocks of other ranks with addresses and pitches of its own.
class Slices {
 public:
  explicit Slices(std::int64_t slice_bytes) : slice_bytes_(slice_bytes) {}

  void add(const Block& block) {
    if (block.columns == 1 && block.column_bytes >= large_bytes) {  // needs no buffer
      slices_.push_back({block});
      left_ = 0;
      return;
    }
    // Cut columns longer than a buffer into shorter ones, then cut blocks between columns.
    for (std::int64_t row = 0; row < block.column_bytes; row += slice_bytes_) {
      Block rows = block;
      rows.from += row;
      rows.to += row;
      rows.column_bytes = std::min(slice_bytes_, block.column_bytes - row);
      add_columns(rows);
    }
  }
  const std::vector<Slice>& get() const { return slices_; }

 private:
  static constexpr std::int64_t large_bytes = std::int64_t{1} << 20;

  void add_columns(Block block) {
    while (block.columns > 0) {
      std::int64_t fit = left_ / block.column_bytes;
      if (fit == 0) {
        slices_.emplace_back();
        left_ = slice_bytes_;
        fit = left_ / block.column_bytes;
      }
      Block part = block;
      part.columns = std::min(fit, block.columns);
      slices_.back().push_back(part);
      left_ -= part.bytes();
      block.columns -= part.columns;
      block.from += part.columns * block.from_pitch;
      block.to += part.columns * block.to_pitch;
    }
  }

  std::int64_t slice_bytes_;
  std::int64_t left_ = 0;
  std::vector<Slice> slices_;
};

std::int64_t bytes_of(const Slice& slice) {
  std::int64_t sum = 0;
  for (const Block& block : slice) sum += block.bytes();
  return sum;
}

bool is_one_run(const Slice& slice, std::int64_t Block::*pitch) {
  return slice.size() == 1 && (slice[0].columns == 1 || slice[0].*pitch == slice[0].column_bytes);
}

// Where the bytes of an outgoing slice lie together, after the copies that are added to `packing`.
std::byte* packed(const Slice& slice, std::byte* buffer, std::vector<Block>& packing) {
  if (is_one_run(slice, &Block::from_pitch)) return const_cast<std::byte*>(slice[0].from);
  std::byte* next = buffer;
  for (Block block : slice) {
    block.to = next;
    block.to_pitch = block.column_bytes;
    next += block.bytes();
    packing.push_back(block);
  }
  return buffer;
}

// Where the bytes of an incoming slice arrive, before the copies that are added to `unpacking`.
std::byte* unpacked(const Slice& slice, std::byte* buffer, std::vector<Block>& unpacking) {
  if (is_one_run(slice, &Block::to_pitch)) return slice[0].to;
  std::byte* next = buffer;
  for (Block block : slice) {
    block.from = next;
    block.from_pitch = block.column_bytes;
    next += block.bytes();
    unpacking.push_back(block);
  }
  return buffer;
}

}  // namespace

std::vector<MessageRound> plan_messages(const std::vector<Block>& blocks, int rank, int ranks,
                                        const PackingBuffers& buffers) {
  bool in_pairs = false;  // some blocks have one target
  std::set<int> sources;
  for (const Block& block : blocks) {
    if (block.bytes() == 0 || block.target == block.source) continue;
    sources.insert(block.source);
    if (block.target != all_ranks) in_pairs = true;
  }
  // Each source has a part of the receive buffer, and each target a part of the send buffer. Blocks for all ranks use
  // the part of the rank itself; without other blocks, few sources leave larger parts.
  const std::int64_t parts = in_pairs ? ranks : std::max<std::int64_t>(1, static_cast<std::int64_t>(sources.size()));
  const std::int64_t slice_bytes = buffers.bytes / parts / 256 * 256;
  const auto send_part = [&](int target) { return buffers.send + (in_pairs ? target : 0) * slice_bytes; };
  const auto receive_part = [&](int source) {
    const auto index = in_pairs ? source : std::distance(sources.begin(), sources.find(source));
    return buffers.receive + index * slice_bytes;
  };
  // From one rank to another: first the blocks for all ranks, then those for this target.
  const auto slices_of = [&](int source, int target) {
    Slices slices(slice_bytes);
    for (const Block& block : blocks) {
      if (block.bytes() > 0 && block.source == source && block.target == target) slices.add(block);
    }
    return slices.get();
  };

  std::vector<MessageRound> rounds;
  const auto round = [&](std::size_t k) -> MessageRound& {
    if (rounds.size() <= k) rounds.resize(k + 1);
    return rounds[k];
  };
  const std::vector<Slice> for_all = slices_of(rank, all_ranks);
  for (std::size_t k = 0; k < for_all.size(); ++k) {
    MessageRound& messages = round(k);
    std::byte* const data = packed(for_all[k], send_part(rank), messages.packing);
    for (int peer = 0; peer < ranks; ++peer) {
      if (peer != rank) messages.sends.push_back({peer, data, bytes_of(for_all[k])});
    }
  }
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer == rank) continue;
    std::size_t k = for_all.size();
    for (const Slice& slice : slices_of(rank, peer)) {
      MessageRound& messages = round(k++);
      messages.sends.push_back({peer, packed(slice, send_part(peer), messages.packing), bytes_of(slice)});
    }
    k = 0;
    for (const int target : {all_ranks, rank}) {
      for (const Slice& slice : slices_of(peer, target)) {
        MessageRound& messages = round(k++);
        messages.receives.push_back({peer, unpacked(slice, receive_part(peer), messages.unpacking), bytes_of(slice)});
      }
    }
  }
  return rounds;
}

std::vector<Block> local_blocks_of(const std::vector<Block>& blocks, int rank) {
  std::vector<Block> local;
  for (const Block& block : blocks) {
    if (block.bytes() > 0 && block.source == rank && block.reaches(rank) && block.from != block.to) {
      local.push_back(block);
    }
  }
  return local;
}

}  // namespace jaxmg
