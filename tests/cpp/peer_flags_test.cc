// Exchanges between processes by flags in shared memory, with threads that execute the streams of simulated devices.
#include "engine/peer_flags.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "comm/file_descriptor.h"
#include "comm/shared_memory.h"
#include "core/error.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {
namespace {

using std::chrono::steady_clock;

// Waits as a device does: until flag - value, as a signed number, is not negative. Returns false after ten seconds.
bool wait_for(const std::uint32_t* flag, std::uint32_t value) {
  const auto deadline = steady_clock::now() + std::chrono::seconds(10);
  std::atomic_ref<std::uint32_t> now(*const_cast<std::uint32_t*>(flag));
  while (static_cast<std::int32_t>(now.load(std::memory_order_acquire) - value) < 0) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

void write(std::uint32_t* flag, std::uint32_t value) {
  std::atomic_ref<std::uint32_t>(*flag).store(value, std::memory_order_release);
}

TEST(PeerFlags, PlacesAreDistinct) {
  for (const int ranks : {1, 2, 3, 8, 64}) {
    std::vector<std::byte> memory(static_cast<std::size_t>(PeerBoard::bytes(ranks)) + 128);
    void* place = memory.data();
    std::size_t space = memory.size();
    auto* const base = static_cast<std::byte*>(std::align(128, memory.size() - 128, place, space));
    const PeerBoard board(ranks, base, base);
    for (int r = 0; r < ranks; ++r) {
      for (int lane = 0; lane < lane_count; ++lane) {
        for (const auto kind : {PeerFlags::ready, PeerFlags::done}) {
          EXPECT_FALSE(board.of(r).has_posted(static_cast<Lane>(lane), kind, 1));
          board.of(r).post(static_cast<Lane>(lane), kind, 1);
          for (int peer = 0; peer < ranks; ++peer) {
            std::uint32_t* const flag = board.of(r).at(static_cast<Lane>(lane), kind, peer);
            ASSERT_GE(reinterpret_cast<std::byte*>(flag), base);
            ASSERT_LT(reinterpret_cast<std::byte*>(flag), base + PeerBoard::bytes(ranks));
            EXPECT_EQ(*flag, 0u);
            *flag = 1;
          }
        }
      }
    }
  }
}

// Numbers wrap after 2^32 exchanges.
TEST(PeerFlags, CountersWrap) {
  PeerFlags::Counter posted[PeerFlags::counters]{};
  std::uint32_t flags[PeerFlags::flags(1)]{};
  const PeerFlags own(1, flags, posted, flags);
  own.post(Lane::bulk, PeerFlags::done, 0xffffffffu);
  EXPECT_TRUE(own.has_posted(Lane::bulk, PeerFlags::done, 0xffffffffu));
  EXPECT_FALSE(own.has_posted(Lane::bulk, PeerFlags::done, 0));
  own.post(Lane::bulk, PeerFlags::done, 0);
  EXPECT_TRUE(own.has_posted(Lane::bulk, PeerFlags::done, 0xffffffffu));
  own.release();
  EXPECT_TRUE(wait_for(own.at(Lane::bulk, PeerFlags::done, 0), 7));
}

TEST(PeerFlags, ReleaseEndsWaitsEvenIfALatePeerOverwritesAFlag) {
  const int ranks = 3;
  std::vector<std::uint32_t> flags(PeerFlags::flags(ranks));
  PeerFlags::Counter posted[PeerFlags::counters]{};
  const PeerFlags own(ranks, flags.data(), posted, flags.data());
  own.post(Lane::panel, PeerFlags::ready, 41);
  std::atomic<bool> idle = false;
  const std::uint64_t before = own.progress();
  std::thread device([&] {
    EXPECT_TRUE(wait_for(own.at(Lane::panel, PeerFlags::ready, 2), 41));
    write(own.at(Lane::panel, PeerFlags::done, 2), 40);  // the last write of a process that has ended
    EXPECT_TRUE(wait_for(own.at(Lane::panel, PeerFlags::done, 2), 42));
    idle = true;
  });
  while (!idle) {
    own.release();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  device.join();
  EXPECT_NE(own.progress(), before);
}

// Rank 1 is another process, which maps the flags itself. It answers a number of exchanges and is then killed.
TEST(PeerFlags, OrderExchangesOfTwoProcessesUntilOneIsKilled) {
  constexpr std::uint32_t rounds = 1000;
  const FileDescriptor file = SharedMemory::create_file(PeerBoard::bytes(2));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  const SharedMemory memory(file, PeerBoard::bytes(2));
  const PeerBoard board(2, memory.data(), memory.data());
  const int rank = child == 0 ? 1 : 0, peer = 1 - rank;
  const auto exchange = [&](std::uint32_t number) {
    // This rank is a source and a target.
    write(board.of(peer).at(Lane::rhs, PeerFlags::ready, rank), number);
    board.of(rank).post(Lane::rhs, PeerFlags::ready, number);
    while (!board.of(peer).has_posted(Lane::rhs, PeerFlags::ready, number)) std::this_thread::yield();
    if (!wait_for(board.of(rank).at(Lane::rhs, PeerFlags::ready, peer), number)) return false;
    write(board.of(peer).at(Lane::rhs, PeerFlags::done, rank), number);
    board.of(rank).post(Lane::rhs, PeerFlags::done, number);
    return wait_for(board.of(rank).at(Lane::rhs, PeerFlags::done, peer), number);
  };
  bool fine = true;
  for (std::uint32_t number = 1; number <= rounds && fine; ++number) fine = exchange(number);
  if (child == 0) {
    // It posts that it has enqueued the next write, which its device never makes.
    board.of(rank).post(Lane::rhs, PeerFlags::ready, rounds + 1);
    raise(SIGKILL);
  }
  EXPECT_TRUE(fine);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  std::thread device([&] { fine = wait_for(board.of(rank).at(Lane::rhs, PeerFlags::ready, peer), rounds + 1); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  board.of(rank).release();
  device.join();
  EXPECT_TRUE(fine);
}

TEST(SharedMemory, AShorterFileIsRejected) {
  const FileDescriptor file = SharedMemory::create_file(128);
  EXPECT_THROW(SharedMemory(file, 4096), Error);
  EXPECT_THROW(SharedMemory(FileDescriptor(), 4096), Error);
}

}  // namespace
}  // namespace jaxmg::testing
