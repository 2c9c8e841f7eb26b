// Mappings of memory of other processes, with a simulated driver.
#include "comm/remote_memory.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "core/error.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {
namespace {

// Gives every mapping a new address, and keeps count of the open ones.
class Driver {
 public:
  std::map<std::byte*, std::byte> open;

 private:
  std::byte space_[64]{};
  std::byte* next_ = space_;

 public:
  RemoteMemory memory{[this](const RemoteMemory::Handle& handle) {
                        if (handle[0] == std::byte{0xff}) throw Error(ErrorCode::internal, "no peer access");
                        open[next_] = handle[0];
                        return next_++;
                      },
                      [this](std::byte* address) { EXPECT_EQ(open.erase(address), 1u); }};
};

ExportedAllocation allocation(int handle, std::uint64_t id) {
  ExportedAllocation made;
  made.handle[0] = static_cast<std::byte>(handle);
  made.id = id;
  return made;
}

constexpr MemoryOwner owner{7, 0}, neighbour{7, 1}, other{8, 0};

TEST(RemoteMemory, AllocationsAreMappedOnce) {
  Driver driver;
  const auto first = driver.memory.map(owner, allocation(1, 1));
  EXPECT_EQ(driver.memory.map(owner, allocation(1, 1)), first);
  EXPECT_NE(driver.memory.map(owner, allocation(2, 2)), first);
  EXPECT_NE(driver.memory.map(other, allocation(1, 1)), first);
  EXPECT_EQ(driver.open.size(), 3u);
}

// After a free, a new allocation may get the old address, and even the old handle.
TEST(RemoteMemory, AReusedHandleIsMappedAnew) {
  Driver driver;
  const std::byte* const before = driver.memory.map(owner, allocation(1, 1)).get();
  EXPECT_NE(driver.memory.map(owner, allocation(1, 2)).get(), before);
  EXPECT_EQ(driver.open.size(), 1u);
  EXPECT_EQ(driver.memory.size(), 1u);
}

TEST(RemoteMemory, FreedAllocationsAreClosed) {
  Driver driver;
  for (const auto& whose : {owner, neighbour, other}) {
    for (int i = 1; i <= 3; ++i) driver.memory.map(whose, allocation(i, static_cast<std::uint64_t>(i)));
  }
  driver.memory.keep_only(owner, {3, 1, 17});
  EXPECT_EQ(driver.memory.size(), 8u);
  driver.memory.keep_only(neighbour, {});
  EXPECT_EQ(driver.memory.size(), 5u);
  EXPECT_EQ(driver.open.size(), 5u);
}

// Another call may learn of a free before this one ends.
TEST(RemoteMemory, MappingsInUseStayOpen) {
  Driver driver;
  auto used = driver.memory.map(owner, allocation(1, 1));
  driver.memory.keep_only(owner, {});
  EXPECT_EQ(driver.memory.size(), 0u);
  EXPECT_EQ(driver.open.size(), 1u);
  used.reset();
  EXPECT_EQ(driver.open.size(), 0u);
}

TEST(RemoteMemory, MappingsOfALostProcessAreClosed) {
  Driver driver;
  for (const auto& whose : {owner, neighbour, other}) driver.memory.map(whose, allocation(1, 1));
  driver.memory.drop(owner.process);
  EXPECT_EQ(driver.open.size(), 1u);
}

// Memory that needs more than a handle is found first, and made only if it is not there.
TEST(RemoteMemory, AllocationsCanBeMadeByTheCaller) {
  Driver driver;
  std::byte memory{};
  int made = 0, closed = 0;
  const auto make = [&] {
    ++made;
    return std::shared_ptr<std::byte>(&memory, [&](std::byte*) { ++closed; });
  };
  EXPECT_EQ(driver.memory.find(owner, allocation(1, 1)), nullptr);
  EXPECT_EQ(driver.memory.map(owner, allocation(1, 1), make).get(), &memory);
  EXPECT_EQ(driver.memory.map(owner, allocation(1, 1), make).get(), &memory);
  EXPECT_EQ(driver.memory.find(owner, allocation(1, 1)).get(), &memory);
  EXPECT_EQ(driver.memory.find(owner, allocation(1, 2)), nullptr);
  EXPECT_EQ(driver.memory.find(neighbour, allocation(1, 1)), nullptr);
  EXPECT_EQ(made, 1);
  driver.memory.keep_only(owner, {2});
  EXPECT_EQ(closed, 1);
  EXPECT_THROW(driver.memory.map(owner, allocation(1, 2),
                                 []() -> std::shared_ptr<std::byte> { throw Error(ErrorCode::internal, "no file"); }),
               Error);
  EXPECT_EQ(driver.memory.size(), 0u);
}

TEST(RemoteMemory, FailuresToOpenAreReportedAndNotKept) {
  Driver driver;
  EXPECT_THROW(driver.memory.map(owner, allocation(0xff, 1)), Error);
  EXPECT_EQ(driver.memory.size(), 0u);
  EXPECT_EQ(driver.open.size(), 0u);
}

}  // namespace
}  // namespace jaxmg::testing
