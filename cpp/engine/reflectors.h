// The Householder reflectors that take a band matrix to tridiagonal form, packed, and the matrices they are multiplied
// out to.
//
// Sweep s = 0 ... n-3 removes what column s has below its first subdiagonal entry and chases the bulge that this
// makes off the end of the band. Its step t reflects rows s + 1 + t b and following, b of them or what is left of n:
//
//   H(s, t) = I - u u^H     with u^H u = 2, or u = 0
//
// (u carries what LAPACK keeps in tau.) Q2 = H(0,0) H(0,1) ... H(1,0) H(1,1) ... . Sweeps g b ... g b + b - 1 form
// group g. A block (g, t) holds the reflectors of one group and step as columns, the k-th from sweep g b + k; it is
// shifted down the matrix by one row a column, so that as a matrix it would be 2b - 1 x b with the outline of a
// diamond:
//
//   D(g, t) = H(g b, t) H(g b + 1, t) ... H(g b + b - 1, t)     acts on rows (g + t) b + 1 and 2b - 2 more
//
// Only diamonds within one step and group of each other share rows. So four neighbours, (2g, 2t) and one more each way,
// make a larger one of the same outline, as if sweeps were in groups of 2b, and so on; and Q2 is a product of diamonds
// of any of these sizes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"

namespace jaxmg {

// Diamonds D(g + i, t + i), i = 0 ... count - 1. No two share a row; their rows, 2 `width` each, follow each other.
struct Wave {
  std::int64_t g = 0, t = 0, count = 0;
};

// The diamonds of groups of `width` sweeps.
struct DiamondGrid {
  std::int64_t n = 0, width = 0;

  std::int64_t groups() const { return n < 3 ? 0 : (n - 2 + width - 1) / width; }
  std::int64_t steps(std::int64_t g) const { return (n - 1 + width - 1) / width - g; }
  // First row of D(g, t); its last row is 2 width - 2 below, or the last of the matrix.
  std::int64_t row(std::int64_t g, std::int64_t t) const { return (g + t) * width + 1; }

  // Q2 is the product of the waves from the last one to wave 0, left to right. In it D(g, t) stands left of D(g, t-1)
  // and of all D(g+1, t') that it shares rows with, t' = t-2, t-1, t: each of these is in a lower wave.
  std::int64_t waves() const { return groups() == 0 ? 0 : steps(0) + groups() - 1; }
  Wave wave(std::int64_t w) const {
    const std::int64_t last = groups() - 1, g = std::max<std::int64_t>(0, last - w), t = w - last + g;
    return {g, t, 1 + std::min(last - g, (steps(g) - 1 - t) / 2)};
  }
};

template <class T>
struct Reflectors {
  T* data = nullptr;    // none where Q2 is not wanted
  T* phases = nullptr;  // n numbers of modulus one, the diagonal that made the off-diagonals real
  std::int64_t n = 0, b = 0;

  Reflectors() = default;
  // n^2 / 2 elements and a little, or room for the phases alone.
  Reflectors(Arena& arena, std::int64_t order, std::int64_t bandwidth, bool wanted = true) : n(order), b(bandwidth) {
    if (wanted) data = arena.take<T>(blocks() * b * b);
    phases = arena.take<T>(n);
  }

  DiamondGrid grid() const { return {n, b}; }
  // A band of one subdiagonal is tridiagonal already.
  std::int64_t groups() const { return b < 2 ? 0 : grid().groups(); }
  // Sweeps late in a group may have one step less, and reflectors that are zero instead.
  std::int64_t steps(std::int64_t g) const { return grid().steps(g); }
  std::int64_t blocks() const { return blocks_before(groups()); }

  // Column k of the block (g, t), its rows packed from the top of the reflector.
  MatrixView<T> block(std::int64_t g, std::int64_t t) const { return {data + (blocks_before(g) + t) * b * b, b, b, b}; }
  MatrixView<T> all() const { return {data, b * b, blocks(), b * b}; }
  MatrixView<T> all_phases() const { return {phases, n, 1, n}; }

 private:
  std::int64_t blocks_before(std::int64_t g) const { return g * steps(0) - g * (g - 1) / 2; }
};

// A diamond that was merged from four, `levels` times over, is made of 4^levels parts in this order: those of its first
// quarter, and so on. Quarters are numbered by their half of the sweeps, then by their half of the steps.
struct DiamondPart {
  std::int64_t g = 0, t = 0;  // from the first group and step of the whole

  DiamondPart(std::int64_t part, int levels) {
    for (int level = levels - 1; level >= 0; --level) {
      const std::int64_t quarter = part >> (2 * level) & 3;
      g = 2 * g + (quarter >> 1);
      t = 2 * t + (quarter & 1);
    }
  }
};

}  // namespace jaxmg
