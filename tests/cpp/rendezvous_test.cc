#include "comm/rendezvous.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.h"
#include "comm/membership.h"
#include "comm/recent_use_counts.h"
#include "comm/roll.h"
#include "core/error.h"
#include "gtest/gtest.h"
#include "ranks.h"

namespace jaxmg::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds moment{50}, short_timeout{100};

// The Error that was thrown, or one with code invalid_argument if none was.
Error error_in(const std::exception_ptr& thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return error;
  } catch (...) {
  }
  return {ErrorCode::invalid_argument, "no Error was thrown"};
}

void expect_nothing_thrown(const std::vector<std::exception_ptr>& thrown) {
  for (const auto& one : thrown) EXPECT_EQ(one, nullptr);
}

MemoryRegion region_of(std::vector<int>& buffer) {
  return {reinterpret_cast<std::byte*>(buffer.data()), static_cast<std::int64_t>(buffer.size() * sizeof(int))};
}

TEST(Rendezvous, RanksSeeEachOthersBuffers) {
  const CallKey key = fresh_key();
  std::vector<std::vector<int>> buffers(4, std::vector<int>(3));
  expect_nothing_thrown(on_threads(4, [&](int rank) {
    const Participant participant(key, rank, all_members(4), {region_of(buffers[static_cast<std::size_t>(rank)])},
                                  test_timeout);
    EXPECT_EQ(participant.rank(), rank);
    for (int other = 0; other < 4; ++other) {
      EXPECT_EQ(participant.buffers(other).at(0).base,
                reinterpret_cast<std::byte*>(buffers[static_cast<std::size_t>(other)].data()));
    }
  }));
}

// Whether the others spin or sleep until the last one joins.
TEST(Rendezvous, RanksOfAnExecutionLearnEachOthersDevices) {
  for (const auto late : {std::chrono::microseconds(0), std::chrono::microseconds(600)}) {
    const std::int64_t run = static_cast<std::int64_t>(fresh_call());
    expect_nothing_thrown(on_threads(4, [&](int rank) {
      for (int repetition = 0; repetition < 20; ++repetition) {
        if (rank == repetition % 4) std::this_thread::sleep_for(late);
        const auto device = static_cast<std::uint32_t>(7 - rank);
        const Membership members = Membership::of_run(run, 4, rank, device, 1, test_timeout);
        EXPECT_TRUE(members.without_roll());
        EXPECT_FALSE(members.spans());
        const Participant participant(members.key, members.rank, members.local_ranks, {}, members.timeout, device);
        const Roll roll = roll_of(members, participant);
        for (int r = 0; r < 4; ++r) EXPECT_EQ(roll.rank_of(process_nonce(), 7 - static_cast<std::uint32_t>(r)), r);
      }
    }));
  }
  EXPECT_THROW(Membership::of_run(1, 4, 4, 0, 1, test_timeout), Error);
  EXPECT_THROW(Membership::of_run(1, 4, -1, 0, 1, test_timeout), Error);
}

TEST(Rendezvous, ASingleRankMeetsNobody) {
  const Membership first = Membership::alone(3, 1, test_timeout), second = Membership::alone(3, 1, test_timeout);
  EXPECT_NE(first.key, second.key);
  const Participant participant(first.key, first.rank, first.local_ranks, {}, first.timeout, 3);
  EXPECT_EQ(roll_of(first, participant).rank_of(process_nonce(), 3), 0);
}

// A process may have only some of the ranks.
TEST(Rendezvous, MembersNeedNotBeNumberedFromZero) {
  const CallKey key = fresh_key();
  const std::vector<int> members{3, 5};
  expect_nothing_thrown(on_threads(2, [&](int i) {
    Participant participant(key, members[static_cast<std::size_t>(i)], members, {}, test_timeout);
    EXPECT_EQ(participant.members(), members);
    EXPECT_THROW(participant.buffers(4), Error);
    participant.barrier();
  }));
}

TEST(Rendezvous, NoRankPassesABarrierBeforeAllHaveArrived) {
  const CallKey key = fresh_key();
  std::atomic<int> arrived{0};
  expect_nothing_thrown(on_threads(4, [&](int rank) {
    Participant participant(key, rank, all_members(4), {}, test_timeout);
    for (int round = 1; round <= 50; ++round) {
      if (round % 10 == rank) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the others sleep, too
      ++arrived;
      participant.barrier();
      EXPECT_GE(arrived.load(), 4 * round);
      participant.barrier();
    }
  }));
}

TEST(Rendezvous, RanksWaitForALateRank) {
  const CallKey key = fresh_key();
  expect_nothing_thrown(on_threads(3, [&](int rank) {
    if (rank == 1) std::this_thread::sleep_for(moment);
    Participant participant(key, rank, all_members(3), {}, test_timeout);
    participant.barrier();
  }));
}

TEST(Rendezvous, TimeOutNamesTheMissingRanks) {
  const CallKey key = fresh_key();
  const auto thrown = on_threads(5, [&](int rank) {
    if (rank == 1 || rank == 3) return;
    Participant participant(key, rank, all_members(5), {}, short_timeout);
  });
  for (const int rank : {0, 2, 4}) {
    const Error error = error_in(thrown[static_cast<std::size_t>(rank)]);
    EXPECT_TRUE(error.code() == ErrorCode::deadline_exceeded || error.code() == ErrorCode::aborted);
    EXPECT_NE(std::string(error.what()).find("1, 3 of 5"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("JAXMG_TIMEOUT_SECONDS"), std::string::npos) << error.what();
  }
}

TEST(Rendezvous, TimeOutAtABarrierNamesTheRankThatLeft) {
  const CallKey key = fresh_key();
  const auto thrown = on_threads(3, [&](int rank) {
    Participant participant(key, rank, all_members(3), {}, short_timeout);
    if (rank != 2) participant.barrier();
  });
  EXPECT_EQ(thrown[2], nullptr);
  for (const std::size_t rank : {0u, 1u}) {
    EXPECT_NE(std::string(error_in(thrown[rank]).what()).find("2 of 3"), std::string::npos);
  }
}

TEST(Rendezvous, ALateRankFailsImmediately) {
  const CallKey key = fresh_key();
  on_threads(2, [&](int rank) { Participant(key, rank, all_members(3), {}, short_timeout); });
  const auto begin = steady_clock::now();
  try {
    const Participant late(key, 2, all_members(3), {}, test_timeout);
    FAIL() << "joined a call that had timed out";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::aborted);
  }
  EXPECT_LT(steady_clock::now() - begin, test_timeout / 2);
}

TEST(Rendezvous, FailureOfOneRankFailsAllRanks) {
  const CallKey key = fresh_key();
  const auto thrown = on_threads(4, [&](int rank) {
    Participant participant(key, rank, all_members(4), {}, test_timeout);
    if (rank == 2) {
      participant.fail("rank 2 has no memory");
      throw Error(ErrorCode::resource_exhausted, "no memory");
    }
    participant.barrier();
  });
  EXPECT_EQ(error_in(thrown[2]).code(), ErrorCode::resource_exhausted);
  for (const std::size_t rank : {0u, 1u, 3u}) {
    EXPECT_EQ(error_in(thrown[rank]).code(), ErrorCode::aborted);
    EXPECT_STREQ(error_in(thrown[rank]).what(), "rank 2 has no memory");
  }
}

TEST(Rendezvous, TheFirstFailureIsReported) {
  Participant participant(fresh_key(), 0, {0}, {}, test_timeout);
  participant.fail("first");
  participant.fail("second");
  try {
    participant.barrier();
    FAIL() << "passed a barrier after a failure";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "first");
  }
}

TEST(Rendezvous, TheNextCallWorksAfterAFailure) {
  on_threads(3, [key = fresh_key()](int rank) {
    Participant participant(key, rank, all_members(3), {}, test_timeout);
    if (rank == 0) participant.fail("for the test");
    participant.barrier();
  });
  expect_nothing_thrown(on_threads(3, [key = fresh_key()](int rank) {
    Participant participant(key, rank, all_members(3), {}, test_timeout);
    participant.barrier();
  }));
}

TEST(Rendezvous, InterleavedCallsStaySeparate) {
  const int ranks = 4, calls = 3, rounds = 30;
  CallKey key = fresh_key();
  expect_nothing_thrown(on_threads(ranks * calls, [&](int thread) {
    const int rank = thread % ranks, call = thread / ranks;
    CallKey own = key;
    own.call_site = call;
    for (int round = 0; round < rounds; ++round) {
      Participant participant(own, rank, all_members(ranks), {}, test_timeout);
      const auto state = participant.shared<int>([&] { return std::make_shared<int>(call); });
      EXPECT_EQ(*state, call);
      participant.barrier();
    }
  }));
}

// One program may run the same call many times: its ranks may be at different repetitions.
TEST(Rendezvous, RepeatedCallsMatchInOrder) {
  const int ranks = 3, repetitions = 100;
  const CallKey key = fresh_key();
  expect_nothing_thrown(on_threads(ranks, [&](int rank) {
    for (int repetition = 0; repetition < repetitions; ++repetition) {
      Participant participant(key, rank, all_members(ranks), {}, test_timeout);
      const auto met = participant.shared<int>([&] { return std::make_shared<int>(repetition); });
      EXPECT_EQ(*met, repetition);
    }
  }));
}

// A program may keep the roll of one call for a loop, and make any number of other calls in each iteration of it.
TEST(Rendezvous, RepeatedCallsMatchInOrderAmongManyOtherCalls) {
  const int ranks = 2, repetitions = 3, others = 3'000;
  const CallKey key = fresh_key();
  std::vector<CallKey> fresh;
  for (int i = 0; i < repetitions * others; ++i) fresh.push_back(fresh_key());
  expect_nothing_thrown(on_threads(ranks, [&](int rank) {
    auto next = fresh.begin();
    for (int repetition = 0; repetition < repetitions; ++repetition) {
      Participant participant(key, rank, all_members(ranks), {}, test_timeout);
      const auto met = participant.shared<int>([&] { return std::make_shared<int>(repetition); });
      EXPECT_EQ(*met, repetition);
      for (int i = 0; i < others; ++i) const Participant other(*next++, rank, all_members(ranks), {}, test_timeout);
    }
  }));
}

// Two threads of a rank may be in calls of one key simultaneously.
TEST(Rendezvous, SimultaneousCallsOfOneKeyHaveDistinctRepetitions) {
  const CallKey key = fresh_key();
  Participant first(key, 0, {0}, {}, test_timeout), second(key, 0, {0}, {}, test_timeout),
      third(key, 0, {0}, {}, test_timeout);
  EXPECT_EQ(first.repetition(), 0u);
  EXPECT_EQ(second.repetition(), 1u);
  EXPECT_EQ(third.repetition(), 2u);
}

TEST(Rendezvous, FinishedCallsLeaveNoRendezvousOpen) {
  const std::size_t before = open_rendezvous();
  for (int call = 0; call < 100; ++call) {
    expect_nothing_thrown(on_threads(3, [key = fresh_key()](int rank) {
      Participant participant(key, rank, all_members(3), {}, test_timeout);
      EXPECT_LE(open_rendezvous(), 64u);
    }));
  }
  EXPECT_LE(open_rendezvous(), before);
}

// Failed calls whose last rank never arrives.
TEST(Rendezvous, FewFailedCallsStayOpen) {
  CallKey last;
  for (int call = 0; call < 1'000; ++call) {
    last = fresh_key();
    EXPECT_THROW(Participant(last, 0, all_members(2), {}, milliseconds(0)), Error);
    EXPECT_LE(open_rendezvous(), 64u);
  }
  // The late rank of the last call still fails immediately.
  const auto begin = steady_clock::now();
  EXPECT_THROW(Participant(last, 1, all_members(2), {}, test_timeout), Error);
  EXPECT_LT(steady_clock::now() - begin, test_timeout / 2);
}

TEST(RecentUseCounts, CountTheUsesOfAKey) {
  RecentUseCounts<int> counts(3);
  for (std::uint64_t use = 0; use < 5; ++use) {
    for (const int key : {7, 8, 9}) EXPECT_EQ(counts.next(key), use);
  }
}

TEST(RecentUseCounts, DropTheLeastRecentlyUsedKey) {
  RecentUseCounts<int> counts(3);
  for (const int key : {7, 8, 9, 7}) counts.next(key);
  counts.next(10);  // in the place of 8
  EXPECT_EQ(counts.next(7), 2u);
  EXPECT_EQ(counts.next(9), 1u);
  EXPECT_EQ(counts.next(10), 1u);
  EXPECT_EQ(counts.next(8), 0u);
}

TEST(RecentUseCounts, HaveBoundedSize) {
  RecentUseCounts<int> counts(100);
  for (int key = 0; key < 100'000; ++key) {
    counts.next(key);
    ASSERT_LE(counts.size(), 100u);
  }
}

// No rank starts the next call while the previous call still holds its shared state.
TEST(Rendezvous, SharedStateEndsWithTheCall) {
  const CallKey key = fresh_key();
  expect_nothing_thrown(on_threads(4, [&](int rank) {
    for (int call = 0; call < 100; ++call) {
      std::weak_ptr<int> seen;
      {
        Participant participant(key, rank, all_members(4), {}, test_timeout);
        seen = participant.shared<int>([] { return std::make_shared<int>(0); });
      }
      EXPECT_TRUE(seen.expired());
    }
  }));
}

TEST(Rendezvous, SharedStateIsMadeOncePerCall) {
  const CallKey key = fresh_key();
  std::atomic<int> made{0};
  expect_nothing_thrown(on_threads(6, [&](int rank) {
    Participant participant(key, rank, all_members(6), {}, test_timeout);
    participant.shared<int>([&] { return std::make_shared<int>(++made); });
  }));
  EXPECT_EQ(made, 1);
}

// Buffers are freed right after the participant: leaving must wait for readers.
TEST(Rendezvous, RanksWaitForReadersBeforeLeaving) {
  const CallKey key = fresh_key();
  std::atomic<bool> reading{true};
  expect_nothing_thrown(on_threads(2, [&](int rank) {
    {
      Participant participant(key, rank, all_members(2), {}, test_timeout);
      if (rank == 1) {
        std::this_thread::sleep_for(moment);
        reading = false;
      }
    }
    EXPECT_FALSE(reading);
  }));
}

TEST(Communicator, ExchangeCopiesBlocksToTheirTargets) {
  const int ranks = 4;
  const CallKey key = fresh_key();
  std::vector<std::vector<int>> buffers(ranks, std::vector<int>(12, -1));
  expect_nothing_thrown(on_threads(ranks, [&](int rank) {
    std::vector<int>& own = buffers[static_cast<std::size_t>(rank)];
    Participant participant(key, rank, all_members(ranks), {region_of(own)}, test_timeout);
    Communicator communicator(participant);
    EXPECT_EQ(communicator.size(), ranks);
    const MatrixView<int> a{own.data(), 3, 4, 3};
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 4; ++i) own[3 * static_cast<std::size_t>(i)] = 100 * round + rank;
      // Sends the first row of each rank to the second row of the next rank, and rank 2's last column to the second row
      // of all.
      std::vector<Block> blocks;
      for (int r = 0; r < ranks; ++r)
        blocks.push_back(make_block(r, (r + 1) % ranks, a.block(0, 0, 1, 3), a.block(1, 0, 1, 3)));
      blocks.push_back(make_block(2, all_ranks, a.block(0, 3, 1, 1), a.block(1, 3, 1, 1)));
      communicator.exchange(blocks);
      for (int i = 0; i < 3; ++i) EXPECT_EQ(*a.at(1, i), 100 * round + (rank + ranks - 1) % ranks);
      EXPECT_EQ(*a.at(1, 3), 100 * round + 2);
      EXPECT_EQ(*a.at(2, 0), -1);
    }
  }));
}

TEST(Communicator, RejectsAddressesOutsideTheBuffersOfTheCall) {
  std::vector<int> own(4), stray(4);
  Participant participant(fresh_key(), 0, {0}, {region_of(own)}, test_timeout);
  Communicator communicator(participant);
  const MatrixView<int> inside{own.data(), 2, 1, 2}, outside{stray.data(), 2, 1, 2};
  EXPECT_THROW(communicator.exchange({make_block(0, 0, outside, inside)}), Error);
}

}  // namespace
}  // namespace jaxmg::testing
