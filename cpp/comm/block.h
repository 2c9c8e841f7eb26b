// Blocks: the rectangles of memory that an exchange moves between ranks, at symmetric addresses.
//
// The buffers of a call (matrix, right-hand side, workspace) are laid out alike on every rank: an address in this
// rank's buffers also names the same place on any other rank. All ranks call `exchange` with the same blocks, each
// written with its own addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/matrix_view.h"

namespace jaxmg {

inline constexpr int all_ranks = -1, no_rank = -2;

struct Block {
  int source = 0;
  int target = all_ranks;  // one rank, or all ranks (the source included)
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  std::int64_t from_pitch = 0;  // bytes between neighbouring columns
  std::int64_t to_pitch = 0;
  std::int64_t column_bytes = 0;
  std::int64_t columns = 0;
  int except = no_rank;  // this rank is left out

  bool reaches(int rank) const { return (target == all_ranks || target == rank) && rank != except; }
  std::int64_t bytes() const { return column_bytes * columns; }
};

template <class T>
Block make_block(int source, int target, MatrixView<T> from, MatrixView<T> to) {
  constexpr auto size = static_cast<std::int64_t>(sizeof(T));
  return {source,
          target,
          reinterpret_cast<const std::byte*>(from.data),
          reinterpret_cast<std::byte*>(to.data),
          from.ld * size,
          to.ld * size,
          from.rows * size,
          from.columns};
}

// One of a rank's buffers.
struct MemoryRegion {
  std::byte* base = nullptr;
  std::int64_t bytes = 0;
};

using MemoryRegions = std::vector<MemoryRegion>;

// Index of the buffer that contains an address; throws Error if none does.
std::size_t region_index(const MemoryRegions& regions, const void* address);

// Translates an address in the buffers `here` to the same place in the buffers `there` of another rank.
std::byte* symmetric_address(const MemoryRegions& here, const MemoryRegions& there, const void* address);

}  // namespace jaxmg
