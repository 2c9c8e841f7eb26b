// Packed storage of the reflectors of bulge chasing (engine/diamonds.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/diamonds.h"

namespace jaxmg {

// Blocks (g, t) are stored in the order of the waves of their diamonds, in which the back-transformation reads them.
// Every rank computes all reflectors, but may keep only a share: the same number of columns of every block.
template <class T>
struct Reflectors {
  T* data = nullptr;
  T* phases = nullptr;  // n numbers of modulus one, the diagonal that made the off-diagonals real
  std::int64_t n = 0, b = 0;
  std::int64_t sweeps = 0;   // kept of every group: columns of a block
  std::int64_t first = 0;    // the first of these sweeps in its group
  std::int64_t skipped = 0;  // blocks before the first stored one

  Reflectors() = default;
  // Takes about n^2 / 2 elements if all b sweeps of a group are kept, and only the phases if none are.
  Reflectors(Arena& arena, std::int64_t order, std::int64_t bandwidth, std::int64_t sweeps_kept)
      : n(order), b(bandwidth), sweeps(sweeps_kept) {
    if (sweeps > 0) data = arena.take<T>(blocks() * b * sweeps);
    phases = arena.take<T>(n);
  }

  // The largest number of sweeps of a group that a rank keeps when `ranks` ranks share the reflectors.
  static std::int64_t share(std::int64_t bandwidth, std::int64_t ranks) { return (bandwidth + ranks - 1) / ranks; }

  bool whole() const { return sweeps == b; }
  DiamondGrid grid() const { return {n, b}; }
  // A band of one subdiagonal is tridiagonal already.
  std::int64_t blocks() const { return b < 2 ? 0 : grid().diamonds(); }

  // The reflectors that a rank keeps: all, or the columns of its share, which may be empty on the last ranks.
  Reflectors kept_by(int rank) const {
    Reflectors own = *this;
    if (!whole()) own.first = std::min(b, rank * sweeps);
    return own;
  }
  bool keeps(std::int64_t sweep_of_group) const {
    return data != nullptr && sweep_of_group >= first && sweep_of_group < first + sweeps;
  }
  // All columns of the blocks from number `blocks_before` on, in other memory.
  Reflectors window(T* memory, std::int64_t blocks_before) const {
    Reflectors there = *this;
    there.data = memory;
    there.sweeps = b;
    there.first = 0;
    there.skipped = blocks_before;
    return there;
  }

  // The stored columns of block (g, t), from the top of each reflector.
  MatrixView<T> block(std::int64_t g, std::int64_t t) const {
    return {data + (grid().place(g, t) - skipped) * b * sweeps, b, sweeps, b};
  }
  // Stored blocks [from, to) in wave order, one per column.
  MatrixView<T> blocks(std::int64_t from, std::int64_t to) const {
    return {data + (from - skipped) * b * sweeps, b * sweeps, to - from, b * sweeps};
  }
  MatrixView<T> all() const { return blocks(0, blocks()); }
  MatrixView<T> all_phases() const { return {phases, n, 1, n}; }
};

}  // namespace jaxmg
