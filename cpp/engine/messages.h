// Messages of an exchange between ranks that cannot write to each other's memory: each carries bytes that lie together.
//
// Blocks are packed into a buffer at the source and unpacked from a buffer at the target, unless a message is one run
// of bytes there already. Blocks for all ranks are packed once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/block.h"

namespace jaxmg {

struct Message {
  int peer;
  std::byte* data;
  std::int64_t bytes;
};

// Messages that a rank sends and receives together: the copies in `packing` come before them, the copies in
// `unpacking` after them.
struct MessageRound {
  std::vector<Block> packing;
  std::vector<Message> sends, receives;
  std::vector<Block> unpacking;
};

// Buffers of equal size for packed blocks.
struct PackingBuffers {
  std::byte* send;
  std::byte* receive;
  std::int64_t bytes;
};

// The rounds of `rank`, one after another, without the blocks that stay on it. The n-th message from one rank to
// another is in the n-th round of both. All ranks must call it with the same blocks and buffer size.
std::vector<MessageRound> plan_messages(const std::vector<Block>& blocks, int rank, int ranks,
                                        const PackingBuffers& buffers);

// Blocks that move within the memory of `rank`.
std::vector<Block> local_blocks_of(const std::vector<Block>& blocks, int rank);

}  // namespace jaxmg
