// Messages of exchanges, carried out between simulated ranks.
#include "engine/messages.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "core/matrix_view.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {
namespace {

constexpr std::int64_t buffer_bytes = 8192;

void copy(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) {
    for (std::int64_t c = 0; c < block.columns; ++c) {
      std::memcpy(block.to + c * block.to_pitch, block.from + c * block.from_pitch,
                  static_cast<std::size_t>(block.column_bytes));
    }
  }
}

// A rank with a memory of doubles, whose first half is read and whose second half is written.
struct Rank {
  std::vector<double> memory;
  std::vector<std::byte> send = std::vector<std::byte>(buffer_bytes), receive = send;

  Rank(int rank, std::int64_t size) : memory(static_cast<std::size_t>(2 * size)) {
    for (std::int64_t i = 0; i < size; ++i)
      memory[static_cast<std::size_t>(i)] = 1000000.0 * rank + static_cast<double>(i);
  }
};

// A block by its places in the halves of the memory.
struct Move {
  int source, target;
  std::int64_t from, to, rows, columns, from_pitch, to_pitch;

  Block on(Rank& rank, std::int64_t size) const {
    return make_block<double>(source, target, {rank.memory.data() + from, rows, columns, from_pitch},
                              {rank.memory.data() + size + to, rows, columns, to_pitch});
  }
};

struct Count {
  std::size_t rounds = 0, messages = 0, copied = 0;
};

// Exchanges the moves and compares the memories with what they must be.
Count exchange(int ranks, std::int64_t size, const std::vector<Move>& moves) {
  std::vector<Rank> all, expected;
  for (int r = 0; r < ranks; ++r) {
    all.emplace_back(r, size);
    expected.emplace_back(r, size);
  }
  for (const Move& move : moves) {
    for (int r = 0; r < ranks; ++r) {
      if (move.target != all_ranks && move.target != r) continue;
      Block block = move.on(expected[static_cast<std::size_t>(r)], size);
      block.from = move.on(expected[static_cast<std::size_t>(move.source)], size).from;
      copy({block});
    }
  }
  std::vector<std::vector<MessageRound>> rounds;
  std::vector<std::vector<Block>> local;
  Count count;
  for (int r = 0; r < ranks; ++r) {
    Rank& rank = all[static_cast<std::size_t>(r)];
    std::vector<Block> blocks;
    for (const Move& move : moves) {
      blocks.push_back(move.on(rank, size));
      if (r != move.source) blocks.back().from_pitch += 8;
      if (!blocks.back().reaches(r)) blocks.back().to_pitch += 8;
    }
    rounds.push_back(plan_messages(blocks, r, ranks, {rank.send.data(), rank.receive.data(), buffer_bytes}));
    local.push_back(local_blocks_of(blocks, r));
    count.rounds = std::max(count.rounds, rounds.back().size());
  }
  for (std::size_t k = 0; k < count.rounds; ++k) {
    std::map<std::pair<int, int>, std::vector<Message>> sent;
    for (int r = 0; r < ranks; ++r) {
      auto& own = rounds[static_cast<std::size_t>(r)];
      if (k >= own.size()) continue;
      for (const auto* copies : {&own[k].packing, &own[k].unpacking}) {
        for (const Block& block : *copies) count.copied += static_cast<std::size_t>(block.bytes());
      }
      copy(own[k].packing);
      for (const Message& message : own[k].sends) sent[{r, message.peer}].push_back(message);
      count.messages += own[k].sends.size();
    }
    for (int r = 0; r < ranks; ++r) {
      auto& own = rounds[static_cast<std::size_t>(r)];
      if (k >= own.size()) continue;
      for (const Message& message : own[k].receives) {
        auto& waiting = sent[{message.peer, r}];
        EXPECT_FALSE(waiting.empty()) << "rank " << r << " waits for rank " << message.peer << " in round " << k;
        if (waiting.empty()) return count;
        EXPECT_EQ(message.bytes, waiting.front().bytes);
        std::memcpy(message.data, waiting.front().data, static_cast<std::size_t>(message.bytes));
        waiting.erase(waiting.begin());
      }
    }
    for (const auto& [pair, waiting] : sent) EXPECT_TRUE(waiting.empty()) << pair.first << " to " << pair.second;
    for (int r = 0; r < ranks; ++r) {
      auto& own = rounds[static_cast<std::size_t>(r)];
      if (k < own.size()) copy(own[k].unpacking);
    }
  }
  for (int r = 0; r < ranks; ++r) {
    copy(local[static_cast<std::size_t>(r)]);
    EXPECT_EQ(all[static_cast<std::size_t>(r)].memory, expected[static_cast<std::size_t>(r)].memory) << "rank " << r;
  }
  return count;
}

TEST(Messages, RandomExchangesMoveEveryBlock) {
  std::mt19937 random(1);
  const auto below = [&](std::int64_t n) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(n)); };
  for (int round = 0; round < 100; ++round) {
    const int ranks = 1 + static_cast<int>(below(5));
    const bool for_all_only = below(3) == 0;
    std::vector<Move> moves;
    std::int64_t to = 0;
    for (std::int64_t i = below(8); i > 0; --i) {
      Move move{};
      move.source = static_cast<int>(below(ranks));
      move.target = for_all_only || below(2) == 0 ? all_ranks : static_cast<int>(below(ranks));
      move.rows = below(8) == 0 ? 1500 : below(60);  // longer than a part of the buffer, or short, or empty
      move.columns = below(3) == 0 ? 1 : below(12);
      move.from_pitch = move.rows + (below(2) == 0 ? 0 : below(9));
      move.to_pitch = move.rows + (below(2) == 0 ? 0 : below(9));
      move.from = below(50);
      move.to = to;
      to += move.to_pitch * move.columns;
      moves.push_back(move);
    }
    SCOPED_TRACE(::testing::Message() << "exchange " << round << ", " << ranks << " ranks, " << moves.size()
                                      << " blocks");
    exchange(ranks, 200'000, moves);
  }
}

// 8 columns of 1000 bytes, which are no run at the source, to all.
TEST(Messages, BlocksForAllRanksArePackedOnceAndUnpackedIfNecessary) {
  const Move run_at_target{0, all_ranks, 0, 0, 125, 8, 130, 125}, no_run{0, all_ranks, 0, 0, 125, 8, 130, 140};
  for (const int ranks : {2, 4}) {
    const auto peers = static_cast<std::size_t>(ranks - 1);
    Count count = exchange(ranks, 2000, {run_at_target});
    EXPECT_EQ(count.rounds, 1u);
    EXPECT_EQ(count.messages, peers);
    EXPECT_EQ(count.copied, 8000u);
    count = exchange(ranks, 2000, {no_run});
    EXPECT_EQ(count.copied, 8000u * (1 + peers));
  }
}

TEST(Messages, LongRunsAreSentWhole) {
  const std::int64_t n = 1 << 18;  // 2 MB
  for (const int target : {all_ranks, 1}) {
    const Count count = exchange(3, n, {{0, target, 0, 0, n, 1, n, n}});
    EXPECT_EQ(count.rounds, 1u);
    EXPECT_EQ(count.copied, 0u);
  }
}

TEST(Messages, WhatStaysOnARankIsNotSent) {
  EXPECT_EQ(exchange(2, 100, {{1, 1, 0, 0, 5, 5, 7, 6}}).messages, 0u);
  EXPECT_EQ(exchange(1, 100, {{0, all_ranks, 0, 0, 5, 5, 7, 6}}).messages, 0u);
}

}  // namespace
}  // namespace jaxmg::testing
