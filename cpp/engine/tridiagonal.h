// Small symmetric eigenproblems, and counts of the eigenvalues of tridiagonal matrices with elements of at most 1.
#pragma once

#include "engine/portable.h"

namespace jaxmg {

// Jacobi's method for the smallest parts of divide and conquer. QL iteration takes a tenth of the arithmetic, which
// does not matter here. It stagnates, however, on some graded matrices, where the shift underflows on its way through
// the matrix (in single precision, elements from 1e-24 to 1 are enough). Jacobi's rotations always converge.

// The largest order that a warp can hold.
inline constexpr int largest_leaf = 32;
// Sweep limit; about eight sweeps are needed.
inline constexpr int jacobi_sweeps = 30;

// Round-robin tournament of a sweep: in round t of n - 1 each of n (even) indices is paired with another one. Gives the
// indices of pair k < n / 2.
struct JacobiPair {
  int p, q;
};
JAXMG_PORTABLE inline JacobiPair jacobi_pair(int n, int t, int k) {
  const int around = n - 1;
  const int p = k == 0 ? around : (t + k) % around, q = (t - k + around) % around;
  return p < q ? JacobiPair{p, q} : JacobiPair{q, p};
}

template <class Real>
struct Rotation {
  Real c = 1, s = 0;
  bool turns = false;
};

// [c -s; s c] [app apq; apq aqq] [c s; -s c] is diagonal, by the smaller of two angles (Golub and Van Loan, Matrix
// Computations, section 8.5). Elements up to `negligible` count as zero.
template <class Real>
JAXMG_PORTABLE Rotation<Real> jacobi_rotation(Real app, Real apq, Real aqq, Real negligible) {
  if (!(fabs(apq) > negligible)) return {};
  const Real tau = (aqq - app) / (2 * apq);
  const Real t = copysign(1 / (fabs(tau) + sqrt(1 + tau * tau)), tau);
  const Real c = 1 / sqrt(1 + t * t);
  return {c, c * t, true};
}

// [x y] = [x y] [c s; -s c].
template <class Real>
JAXMG_PORTABLE void rotate(const Rotation<Real>& r, Real& x, Real& y) {
  const Real left = x, right = y;
  x = r.c * left - r.s * right;
  y = r.s * left + r.c * right;
}

// The size below which elements of a matrix with largest element `largest` are negligible.
template <class Real>
JAXMG_PORTABLE Real jacobi_negligible(Real largest) {
  return unit_roundoff<Real>() / 4 * largest;
}

// One step of a Sturm count. The number of eigenvalues less than x is the number of negative pivots of T - x I = L D
// L^T (Demmel, Dhillon and Ren, On the correctness of some bisection-like parallel eigenvalue algorithms in floating
// point arithmetic, ETNA 3, 1995). Returns the pivot of row i from the pivot before it; `square` is e_{i-1}^2.
template <class Real>
JAXMG_PORTABLE Real next_pivot(Real pivot, Real d, Real square, Real x) {
  const Real next = d - x - square / pivot;
  return fabs(next) < smallest_pivot<Real>() ? -smallest_pivot<Real>() : next;
}

// Halvings that take an interval of length 8 down to eps.
template <class Real>
JAXMG_PORTABLE constexpr int bisection_steps() {
  return sizeof(Real) == 8 ? 56 : 27;
}

}  // namespace jaxmg
