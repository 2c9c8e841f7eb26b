// Pseudo-random matrices that are functions of the indices alone: the same for any number of ranks, on every device.
#pragma once

#include "engine/portable.h"

namespace jaxmg {

// A bijection of 64-bit words whose outputs for consecutive inputs look independent (splitmix64; Steele, Lea and Flood,
// OOPSLA 2014).
JAXMG_PORTABLE inline unsigned long long scrambled(unsigned long long x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// The real (part 0) or imaginary (part 1) part of element (i, j), of mean 0 and variance 1: the sum of three uniform
// numbers, close to normal. Only additions and exact products: every device computes the same bits.
template <class Real>
JAXMG_PORTABLE Real noise(Index i, Index j, int part) {
  const auto row = static_cast<unsigned long long>(i), column = static_cast<unsigned long long>(j);
  const unsigned long long word = scrambled(scrambled(2 * row + static_cast<unsigned long long>(part)) + column);
  const unsigned long long mask = (1ULL << 21) - 1;
  const long long sum = static_cast<long long>((word & mask) + (word >> 21 & mask) + (word >> 42 & mask));
  // The variance of a uniform number between 0 and 1 is 1/12: the sum of three has the standard deviation 1/2.
  return 2 * (static_cast<Real>(2 * sum + 3 - 3 * (1LL << 21)) / static_cast<Real>(1LL << 22));
}

}  // namespace jaxmg
