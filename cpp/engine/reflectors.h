// The reflectors of bulge chasing (engine/diamonds.h) in memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/diamonds.h"

namespace jaxmg {

// Blocks (g, t) stand in the order of the waves that their diamonds are in, as the way back needs them. All ranks make
// all reflectors, but each may keep a share of them: as many columns of every block, those that are its own.
template <class T>
struct Reflectors {
  T* data = nullptr;
  T* phases = nullptr;  // n numbers of modulus one, the diagonal that made the off-diagonals real
  std::int64_t n = 0, b = 0;
  std::int64_t sweeps = 0;   // of every group, that is, columns of a block
  std::int64_t first = 0;    // of these
  std::int64_t skipped = 0;  // blocks that stand before the first one here

  Reflectors() = default;
  // n^2 / 2 elements and a little if all b sweeps of a group are kept; room for the phases alone if none is.
  Reflectors(Arena& arena, std::int64_t order, std::int64_t bandwidth, std::int64_t sweeps_kept)
      : n(order), b(bandwidth), sweeps(sweeps_kept) {
    if (sweeps > 0) data = arena.take<T>(blocks() * b * sweeps);
    phases = arena.take<T>(n);
  }

  // Sweeps of every group that each of `ranks` keeps at most, if all are to be kept by somebody.
  static std::int64_t share(std::int64_t bandwidth, std::int64_t ranks) { return (bandwidth + ranks - 1) / ranks; }

  bool whole() const { return sweeps == b; }
  DiamondGrid grid() const { return {n, b}; }
  // A band of one subdiagonal is tridiagonal already.
  std::int64_t blocks() const { return b < 2 ? 0 : grid().diamonds(); }

  // Those of one rank: all, or the columns of its share. Of the last ranks these may be fewer, or none.
  Reflectors kept_by(int rank) const {
    Reflectors own = *this;
    if (!whole()) own.first = std::min(b, rank * sweeps);
    return own;
  }
  bool keeps(std::int64_t sweep_of_group) const {
    return data != nullptr && sweep_of_group >= first && sweep_of_group < first + sweeps;
  }
  // All columns of blocks from some number on, in other memory.
  Reflectors window(T* memory, std::int64_t blocks_before) const {
    Reflectors there = *this;
    there.data = memory;
    there.sweeps = b;
    there.first = 0;
    there.skipped = blocks_before;
    return there;
  }

  // The columns here of block (g, t), from the top of each reflector.
  MatrixView<T> block(std::int64_t g, std::int64_t t) const {
    return {data + (grid().place(g, t) - skipped) * b * sweeps, b, sweeps, b};
  }
  // Blocks [from, to) in the order of the waves, a column each, of what is here.
  MatrixView<T> blocks(std::int64_t from, std::int64_t to) const {
    return {data + (from - skipped) * b * sweeps, b * sweeps, to - from, b * sweeps};
  }
  MatrixView<T> all() const { return blocks(0, blocks()); }
  MatrixView<T> all_phases() const { return {phases, n, 1, n}; }
};

}  // namespace jaxmg
