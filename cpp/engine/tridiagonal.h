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

// A row of T: d_i and e_{i-1}^2.
template <class Real>
struct alignas(2 * sizeof(Real)) TridiagonalRow {
  Real d, square;
};

// 1 if the sign bits of x and y differ, otherwise 0.
JAXMG_PORTABLE inline int signs_differ(double x, double y) {
#if defined(__CUDACC__)
  return static_cast<int>(static_cast<unsigned>(__double2hiint(x) ^ __double2hiint(y)) >> 31);
#else
  return std::signbit(x) != std::signbit(y) ? 1 : 0;
#endif
}
JAXMG_PORTABLE inline int signs_differ(float x, float y) {
#if defined(__CUDACC__)
  return static_cast<int>(static_cast<unsigned>(__float_as_int(x) ^ __float_as_int(y)) >> 31);
#else
  return std::signbit(x) != std::signbit(y) ? 1 : 0;
#endif
}

// Counts the eigenvalues below x without divisions. The leading minors of T - x I,
//
//   p_i = (d_i - x) p_{i-1} - e_{i-1}^2 p_{i-2},
//
// change signs where pivots p_i / p_{i-1} are negative (Barth, Martin and Wilkinson, Calculation of the eigenvalues of
// a symmetric tridiagonal matrix by the method of bisection, Numer. Math. 9, 1967). As with pivots, computed signs are
// exact for a matrix whose d_i - x and e_{i-1}^2 differ by a few roundings. Minors are rescaled by powers of two after
// every `rows` rows. In each row they grow at most by a factor of about 12 and, unless T - x I nearly falls apart,
// shrink at most by eps; otherwise, the rows are counted again by pivots. As long as the larger of two successive
// minors is not less than `least`, underflow of the other is a perturbation of less than eps in d_i.
template <class Real>
class SturmCount {
 public:
  static constexpr int rows = sizeof(Real) == 8 ? 16 : 4;

  // Rows `row[0]` ... `row[rows - 1]` come next; |d_i - x| is at most 12.
  JAXMG_PORTABLE void count(const TridiagonalRow<Real>* row, Real x) {
    Real last = minor_, before = minor_before_;
    int changes = 0;
#if defined(__CUDACC__)
#pragma unroll
#endif
    for (int i = 0; i < rows; ++i) {
      const Real next = (row[i].d - x) * last - row[i].square * before;
      changes += signs_differ(next, last);
      before = last;
      last = next;
    }
    Real size = larger_size(last, before);
    if (!(size >= least)) {
      // Infinite where the last minor but one is zero.
      Real pivot = minor_ / minor_before_;
      if (fabs(pivot) < smallest_pivot<Real>()) pivot = copysign(smallest_pivot<Real>(), pivot);
      changes = 0;
      for (int i = 0; i < rows; ++i) {
        pivot = next_pivot(pivot, row[i].d, row[i].square, x);
        changes += pivot < 0 ? 1 : 0;
      }
      last = pivot;
      before = 1;
      size = larger_size(last, before);
    }
    const Real factor = size < 1 ? scale : size > scale ? 1 / scale : Real(1);
    minor_ = factor * last;
    minor_before_ = factor * before;
    negative_ += changes;
  }

  JAXMG_PORTABLE int negative() const { return negative_; }

 private:
  static constexpr Real scale = sizeof(Real) == 8 ? Real(0x1p600) : Real(0x1p60f);
  static constexpr Real least = sizeof(Real) == 8 ? Real(0x1p-900) : Real(0x1p-100f);

  JAXMG_PORTABLE static Real larger_size(Real x, Real y) { return fabs(x) > fabs(y) ? fabs(x) : fabs(y); }

  Real minor_ = 1, minor_before_ = 1;
  int negative_ = 0;
};

// Halvings that take an interval of length 8 down to eps.
template <class Real>
JAXMG_PORTABLE constexpr int bisection_steps() {
  return sizeof(Real) == 8 ? 56 : 27;
}

}  // namespace jaxmg
