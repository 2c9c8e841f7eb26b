#include "core/arena.h"

#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace jaxmg {
namespace {

// Carves pieces of several types and sizes; returns where each ends.
std::vector<std::byte*> carve(Arena& arena) {
  std::vector<std::byte*> ends;
  const auto end = [&]<class T>(T* begin, std::int64_t count) {
    ends.push_back(begin == nullptr ? nullptr : reinterpret_cast<std::byte*>(begin + count));
  };
  end(arena.take<std::int32_t>(3), 3);
  end(arena.take<double>(0), 0);
  end(arena.take<double>(100), 100);
  end(arena.matrix<std::complex<double>>(7, 5).data, 35);
  end(arena.take<float>(64), 64);
  return ends;
}

TEST(Arena, CountsTheBytesItWouldUse) {
  Arena measure;
  carve(measure);
  std::vector<std::byte> memory(static_cast<std::size_t>(measure.used()));
  Arena arena(memory.data(), measure.used());
  EXPECT_NO_THROW(carve(arena));
  EXPECT_EQ(arena.used(), measure.used());
  EXPECT_EQ(arena.left(), 0);
}

TEST(Arena, ThrowsIfOneByteIsMissing) {
  Arena measure;
  carve(measure);
  std::vector<std::byte> memory(static_cast<std::size_t>(measure.used()));
  Arena arena(memory.data(), measure.used() - 1);
  EXPECT_THROW(carve(arena), Error);
}

TEST(Arena, PiecesAreAlignedToItsBaseAndApart) {
  std::vector<std::byte> memory(1 << 14);
  Arena arena(memory.data(), 1 << 14);
  std::byte* last_end = memory.data();
  for (const std::int64_t count : {1, 31, 32, 33, 0, 5}) {
    auto* const begin = reinterpret_cast<std::byte*>(arena.take<double>(count));
    EXPECT_EQ((begin - memory.data()) % Arena::alignment, 0);
    EXPECT_GE(begin, last_end);
    last_end = begin + count * static_cast<std::int64_t>(sizeof(double));
  }
  EXPECT_LE(last_end, memory.data() + arena.used());
}

TEST(Arena, MatricesAreContiguous) {
  std::vector<std::byte> memory(1 << 12);
  Arena arena(memory.data(), 1 << 12);
  const auto a = arena.matrix<float>(5, 3);
  EXPECT_EQ(a.rows, 5);
  EXPECT_EQ(a.columns, 3);
  EXPECT_EQ(a.ld, 5);
}

// Consecutive stages use the same memory: each begins with a copy of the arena.
TEST(Arena, CopiesCarveTheSameMemory) {
  std::vector<std::byte> memory(1 << 12);
  Arena arena(memory.data(), 1 << 12);
  arena.take<float>(3);
  Arena first = arena, second = arena;
  EXPECT_EQ(first.take<double>(4), second.take<double>(8));
  EXPECT_EQ(arena.used(), Arena::alignment);
}

TEST(Arena, RestIsTheUnusedRemainder) {
  std::vector<std::byte> memory(1 << 12);
  Arena arena(memory.data(), 1 << 12);
  arena.take<float>(3);
  Arena rest = arena.rest();
  EXPECT_EQ(rest.used(), 0);
  EXPECT_EQ(rest.left(), arena.left());
  EXPECT_EQ(rest.take<float>(1), arena.take<float>(1));
}

}  // namespace
}  // namespace jaxmg
