#include "comm/gathering.h"

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
#include "comm/recent_turns.h"
#include "core/error.h"
#include "gtest/gtest.h"
#include "ranks.h"

namespace jaxmg::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds moment{50}, short_while{100};

// What was thrown, as an Error; a code of its own where nothing or something else was.
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

TEST(Gathering, RanksSeeEachOthersBuffers) {
  const CallKey key = fresh_key();
  std::vector<std::vector<int>> buffers(4, std::vector<int>(3));
  expect_nothing_thrown(on_threads(4, [&](int rank) {
    const Attendance attendance(key, rank, all_members(4), {region_of(buffers[static_cast<std::size_t>(rank)])},
                                patience);
    EXPECT_EQ(attendance.rank(), rank);
    for (int other = 0; other < 4; ++other) {
      EXPECT_EQ(attendance.buffers(other).at(0).base,
                reinterpret_cast<std::byte*>(buffers[static_cast<std::size_t>(other)].data()));
    }
  }));
}

// A process may have some of the ranks only.
TEST(Gathering, MembersNeedNotBeNumberedFromZero) {
  const CallKey key = fresh_key();
  const std::vector<int> members{3, 5};
  expect_nothing_thrown(on_threads(2, [&](int i) {
    Attendance attendance(key, members[static_cast<std::size_t>(i)], members, {}, patience);
    EXPECT_EQ(attendance.members(), members);
    EXPECT_THROW(attendance.buffers(4), Error);
    attendance.barrier();
  }));
}

TEST(Gathering, NobodyPassesABarrierBeforeTheLastHasComeToIt) {
  const CallKey key = fresh_key();
  std::atomic<int> arrived{0};
  expect_nothing_thrown(on_threads(4, [&](int rank) {
    Attendance attendance(key, rank, all_members(4), {}, patience);
    for (int round = 1; round <= 50; ++round) {
      ++arrived;
      attendance.barrier();
      EXPECT_GE(arrived.load(), 4 * round);
      attendance.barrier();
    }
  }));
}

TEST(Gathering, ALateRankIsWaitedFor) {
  const CallKey key = fresh_key();
  expect_nothing_thrown(on_threads(3, [&](int rank) {
    if (rank == 1) std::this_thread::sleep_for(moment);
    Attendance attendance(key, rank, all_members(3), {}, patience);
    attendance.barrier();
  }));
}

TEST(Gathering, TimeOutNamesTheRanksThatDidNotCome) {
  const CallKey key = fresh_key();
  const auto thrown = on_threads(5, [&](int rank) {
    if (rank == 1 || rank == 3) return;
    Attendance attendance(key, rank, all_members(5), {}, short_while);
  });
  for (const int rank : {0, 2, 4}) {
    const Error error = error_in(thrown[static_cast<std::size_t>(rank)]);
    EXPECT_TRUE(error.code() == ErrorCode::deadline_exceeded || error.code() == ErrorCode::aborted);
    EXPECT_NE(std::string(error.what()).find("1, 3 of 5"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("JAXMG_TIMEOUT_SECONDS"), std::string::npos) << error.what();
  }
}

TEST(Gathering, TimeOutAtABarrierNamesTheRankThatLeft) {
  const CallKey key = fresh_key();
  const auto thrown = on_threads(3, [&](int rank) {
    Attendance attendance(key, rank, all_members(3), {}, short_while);
    if (rank != 2) attendance.barrier();
  });
  EXPECT_EQ(thrown[2], nullptr);
  for (const std::size_t rank : {0u, 1u}) {
    EXPECT_NE(std::string(error_in(thrown[rank]).what()).find("2 of 3"), std::string::npos);
  }
}

TEST(Gathering, ALateRankMeetsTheFailureAtOnce) {
  const CallKey key = fresh_key();
  on_threads(2, [&](int rank) { Attendance(key, rank, all_members(3), {}, short_while); });
  const auto begin = steady_clock::now();
  try {
    const Attendance late(key, 2, all_members(3), {}, patience);
    FAIL() << "joined a call that had timed out";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::aborted);
  }
  EXPECT_LT(steady_clock::now() - begin, patience / 2);
}

TEST(Gathering, ARankThatFailsFailsAll) {
  const CallKey key = fresh_key();
  const auto thrown = on_threads(4, [&](int rank) {
    Attendance attendance(key, rank, all_members(4), {}, patience);
    if (rank == 2) {
      attendance.fail("rank 2 has no memory");
      throw Error(ErrorCode::resource_exhausted, "no memory");
    }
    attendance.barrier();
  });
  EXPECT_EQ(error_in(thrown[2]).code(), ErrorCode::resource_exhausted);
  for (const std::size_t rank : {0u, 1u, 3u}) {
    EXPECT_EQ(error_in(thrown[rank]).code(), ErrorCode::aborted);
    EXPECT_STREQ(error_in(thrown[rank]).what(), "rank 2 has no memory");
  }
}

TEST(Gathering, TheFirstFailureIsTheOneThatIsTold) {
  Attendance attendance(fresh_key(), 0, {0}, {}, patience);
  attendance.fail("first");
  attendance.fail("second");
  try {
    attendance.barrier();
    FAIL() << "passed a barrier after a failure";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "first");
  }
}

TEST(Gathering, TheNextCallWorksAfterAFailure) {
  on_threads(3, [key = fresh_key()](int rank) {
    Attendance attendance(key, rank, all_members(3), {}, patience);
    if (rank == 0) attendance.fail("for the test");
    attendance.barrier();
  });
  expect_nothing_thrown(on_threads(3, [key = fresh_key()](int rank) {
    Attendance attendance(key, rank, all_members(3), {}, patience);
    attendance.barrier();
  }));
}

TEST(Gathering, InterleavedCallsDoNotMeet) {
  const int ranks = 4, calls = 3, rounds = 30;
  CallKey key = fresh_key();
  expect_nothing_thrown(on_threads(ranks * calls, [&](int thread) {
    const int rank = thread % ranks, call = thread / ranks;
    CallKey own = key;
    own.call_site = call;
    for (int round = 0; round < rounds; ++round) {
      Attendance attendance(own, rank, all_members(ranks), {}, patience);
      const auto state = attendance.shared<int>([&] { return std::make_shared<int>(call); });
      EXPECT_EQ(*state, call);
      attendance.barrier();
    }
  }));
}

// One program may run the same call many times: its ranks need not be at the same turn at once.
TEST(Gathering, RepeatedCallsMeetInOrder) {
  const int ranks = 3, turns = 100;
  const CallKey key = fresh_key();
  expect_nothing_thrown(on_threads(ranks, [&](int rank) {
    for (int turn = 0; turn < turns; ++turn) {
      Attendance attendance(key, rank, all_members(ranks), {}, patience);
      const auto met = attendance.shared<int>([&] { return std::make_shared<int>(turn); });
      EXPECT_EQ(*met, turn);
    }
  }));
}

// A program may keep the roll of one call for a loop, and make any number of other calls in each turn of it.
TEST(Gathering, RepeatedCallsMeetInOrderAmongManyOthers) {
  const int ranks = 2, turns = 3, others = 3'000;
  const CallKey key = fresh_key();
  std::vector<CallKey> fresh;
  for (int i = 0; i < turns * others; ++i) fresh.push_back(fresh_key());
  expect_nothing_thrown(on_threads(ranks, [&](int rank) {
    auto next = fresh.begin();
    for (int turn = 0; turn < turns; ++turn) {
      Attendance attendance(key, rank, all_members(ranks), {}, patience);
      const auto met = attendance.shared<int>([&] { return std::make_shared<int>(turn); });
      EXPECT_EQ(*met, turn);
      for (int i = 0; i < others; ++i) const Attendance other(*next++, rank, all_members(ranks), {}, patience);
    }
  }));
}

// Two threads of a rank may be in calls of one key at once.
TEST(Gathering, CallsOfOneKeyInProgressTogetherDifferInTheirTurns) {
  const CallKey key = fresh_key();
  Attendance first(key, 0, {0}, {}, patience), second(key, 0, {0}, {}, patience), third(key, 0, {0}, {}, patience);
  EXPECT_EQ(first.turn(), 0u);
  EXPECT_EQ(second.turn(), 1u);
  EXPECT_EQ(third.turn(), 2u);
}

TEST(Gathering, NothingIsKeptOfCallsThatAreOver) {
  const std::size_t before = open_gatherings();
  for (int call = 0; call < 100; ++call) {
    expect_nothing_thrown(on_threads(3, [key = fresh_key()](int rank) {
      Attendance attendance(key, rank, all_members(3), {}, patience);
      EXPECT_LE(open_gatherings(), 64u);
    }));
  }
  EXPECT_LE(open_gatherings(), before);
}

// Those whose last rank never comes.
TEST(Gathering, FewFailedCallsAreKept) {
  CallKey last;
  for (int call = 0; call < 1'000; ++call) {
    last = fresh_key();
    EXPECT_THROW(Attendance(last, 0, all_members(2), {}, milliseconds(0)), Error);
    EXPECT_LE(open_gatherings(), 64u);
  }
  // The last one's late rank still meets the failure; no other rank waits for it.
  const auto begin = steady_clock::now();
  EXPECT_THROW(Attendance(last, 1, all_members(2), {}, patience), Error);
  EXPECT_LT(steady_clock::now() - begin, patience / 2);
}

TEST(RecentTurns, CountTheUsesOfAKey) {
  RecentTurns<int> turns(3);
  for (std::uint64_t turn = 0; turn < 5; ++turn) {
    for (const int key : {7, 8, 9}) EXPECT_EQ(turns.next(key), turn);
  }
}

TEST(RecentTurns, ForgetTheKeyWhoseLastUseIsTheLongestAgo) {
  RecentTurns<int> turns(3);
  for (const int key : {7, 8, 9, 7}) turns.next(key);
  turns.next(10);  // in the place of 8
  EXPECT_EQ(turns.next(7), 2u);
  EXPECT_EQ(turns.next(9), 1u);
  EXPECT_EQ(turns.next(10), 1u);
  EXPECT_EQ(turns.next(8), 0u);
}

TEST(RecentTurns, DoNotGrow) {
  RecentTurns<int> turns(100);
  for (int key = 0; key < 100'000; ++key) {
    turns.next(key);
    ASSERT_LE(turns.size(), 100u);
  }
}

// Nobody goes on to the next call while the last one still holds what it shared.
TEST(Gathering, SharedStateEndsWithTheCall) {
  const CallKey key = fresh_key();
  expect_nothing_thrown(on_threads(4, [&](int rank) {
    for (int call = 0; call < 100; ++call) {
      std::weak_ptr<int> seen;
      {
        Attendance attendance(key, rank, all_members(4), {}, patience);
        seen = attendance.shared<int>([] { return std::make_shared<int>(0); });
      }
      EXPECT_TRUE(seen.expired());
    }
  }));
}

TEST(Gathering, StateIsMadeOnceACall) {
  const CallKey key = fresh_key();
  std::atomic<int> made{0};
  expect_nothing_thrown(on_threads(6, [&](int rank) {
    Attendance attendance(key, rank, all_members(6), {}, patience);
    attendance.shared<int>([&] { return std::make_shared<int>(++made); });
  }));
  EXPECT_EQ(made, 1);
}

// Buffers end with the scope after the attendance: whoever leaves must wait for readers.
TEST(Gathering, NobodyLeavesWhileOthersMayRead) {
  const CallKey key = fresh_key();
  std::atomic<bool> reading{true};
  expect_nothing_thrown(on_threads(2, [&](int rank) {
    {
      Attendance attendance(key, rank, all_members(2), {}, patience);
      if (rank == 1) {
        std::this_thread::sleep_for(moment);
        reading = false;
      }
    }
    EXPECT_FALSE(reading);
  }));
}

TEST(Communicator, TargetsHoldWhatSourcesHad) {
  const int ranks = 4;
  const CallKey key = fresh_key();
  std::vector<std::vector<int>> buffers(ranks, std::vector<int>(12, -1));
  expect_nothing_thrown(on_threads(ranks, [&](int rank) {
    std::vector<int>& own = buffers[static_cast<std::size_t>(rank)];
    Attendance attendance(key, rank, all_members(ranks), {region_of(own)}, patience);
    Communicator communicator(attendance);
    EXPECT_EQ(communicator.size(), ranks);
    const MatrixView<int> a{own.data(), 3, 4, 3};
    for (int round = 0; round < 20; ++round) {
      for (int i = 0; i < 4; ++i) own[3 * static_cast<std::size_t>(i)] = 100 * round + rank;
      // The first row of everybody's next rank, and rank 2's last column for all, into the second row.
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

TEST(Communicator, RefusesAddressesOutsideTheBuffersOfTheCall) {
  std::vector<int> own(4), stray(4);
  Attendance attendance(fresh_key(), 0, {0}, {region_of(own)}, patience);
  Communicator communicator(attendance);
  const MatrixView<int> inside{own.data(), 2, 1, 2}, outside{stray.data(), 2, 1, 2};
  EXPECT_THROW(communicator.exchange({make_block(0, 0, outside, inside)}), Error);
}

}  // namespace
}  // namespace jaxmg::testing
