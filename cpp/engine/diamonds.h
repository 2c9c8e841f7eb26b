// Diamonds: products of the Householder reflectors that take a band matrix to tridiagonal form.
//
// Sweep s = 0 ... n-3 annihilates column s below its first subdiagonal element and chases the resulting bulge off the
// end of the band. Its step t reflects up to b rows from row s + 1 + t b on:
//
//   H(s, t) = I - u u^H     with u^H u = 2, or u = 0
//
// (u is scaled by the square root of LAPACK's tau.) Q2 = H(0,0) H(0,1) ... H(1,0) H(1,1) ... . Sweeps g b ... g b + b -
// 1 form group g. A block (g, t) holds the reflectors of one group and step as columns, the k-th from sweep g b + k; it
// is shifted down the matrix by one row per column. As a matrix it would be 2b - 1 x b with the outline of a diamond:
//
//   D(g, t) = H(g b, t) H(g b + 1, t) ... H(g b + b - 1, t)     acts on rows (g + t) b + 1 and 2b - 2 more
//
// Only diamonds within one step and group of each other share rows. Therefore four neighbours, (2g, 2t) and one more
// each way, form a larger diamond of the same outline, as if sweeps were in groups of 2b, and so on. Q2 is a product of
// diamonds of any of these sizes.
#pragma once

#include "engine/portable.h"

namespace jaxmg {

// Diamonds D(g + i, t + i), i = 0 ... count - 1. No two share a row; their row ranges, 2 `width` rows each, are
// consecutive.
struct Wave {
  Index g = 0, t = 0, count = 0;
};

// The grid of diamonds of groups of `width` sweeps.
struct DiamondGrid {
  Index n = 0, width = 0;

  JAXMG_PORTABLE Index groups() const { return n < 3 ? 0 : (n - 2 + width - 1) / width; }
  // Steps of group g. Late sweeps of a group may have one step fewer, with zero reflectors in its place.
  JAXMG_PORTABLE Index steps(Index g) const { return (n - 1 + width - 1) / width - g; }
  // First row of D(g, t); its last row is 2 width - 2 below, or the last of the matrix.
  JAXMG_PORTABLE Index row(Index g, Index t) const { return (g + t) * width + 1; }

  // Q2 is the product of the waves from the last one to wave 0, left to right. In it D(g, t) stands left of D(g, t-1)
  // and of all D(g+1, t') that it shares rows with, t' = t-2, t-1, t: each of these is in a lower wave.
  JAXMG_PORTABLE Index waves() const { return groups() == 0 ? 0 : steps(0) + groups() - 1; }
  JAXMG_PORTABLE Wave wave(Index w) const {
    const Index last = groups() - 1, g = w < last ? last - w : 0, t = w - last + g;
    const Index groups_left = last - g, steps_left = (steps(g) - 1 - t) / 2;
    return {g, t, 1 + (groups_left < steps_left ? groups_left : steps_left)};
  }
  // The wave that D(g, t) is in.
  JAXMG_PORTABLE Index wave_of(Index g, Index t) const { return t - g + groups() - 1; }

  // Number of diamonds in waves 0 ... w - 1. Every other wave has one diamond more while waves begin with step 0, and
  // one fewer after that.
  JAXMG_PORTABLE Index before(Index w) const {
    const Index all = groups(), longest = steps(0), rest = waves() - w;
    if (w <= all) return w + sum_of_halves(w + longest - all);
    return all * longest - all * (all - 1) / 2 - rest - sum_of_halves(rest);
  }
  JAXMG_PORTABLE Index diamonds() const { return before(waves()); }
  // Index of D(g, t) among all diamonds in wave order.
  JAXMG_PORTABLE Index place(Index g, Index t) const { return before(wave_of(g, t)) + (g < t ? g : t); }

 private:
  // 0 / 2 + 1 / 2 + ... + (m - 1) / 2, all rounded down.
  JAXMG_PORTABLE static Index sum_of_halves(Index m) { return (m - 1) * (m - 1) / 4; }
};

// Part of a diamond that is merged `levels` times from four. Its 4^levels parts are ordered by quarter, recursively:
// all parts of the first quarter come first. Quarters are numbered by their half of the sweeps, then by their half of
// the steps.
struct DiamondPart {
  Index g = 0, t = 0;  // from the first group and step of the whole

  JAXMG_PORTABLE DiamondPart(Index part, int levels) {
    for (int level = levels - 1; level >= 0; --level) {
      const Index quarter = part >> (2 * level) & 3;
      g = 2 * g + (quarter >> 1);
      t = 2 * t + (quarter & 1);
    }
  }
};

}  // namespace jaxmg
