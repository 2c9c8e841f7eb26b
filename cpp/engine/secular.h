// The arithmetic of one level of divide and conquer. Merge number k joins two neighbouring subproblems,
//
//   [T1 0; 0 T2] + rho v v^T = Q (D + rho z z^T) Q^T,
//
// and after deflation leaves the eigenproblem of D + rho z z^T: `kept` poles d_0 < d_1 < ..., no z_j zero, rho > 0. Its
// eigenvalues are the roots of the secular equation
//
//   f(lambda) = 1 / rho + sum over j of z_j^2 / (d_j - lambda) = 0,   one in each (d_j, d_j+1), one beyond the last,
//
// its eigenvectors (zhat_j / (d_j - lambda))_j, normalised, with the vector zhat for which the computed roots are
// exact (Gu and Eisenstat, A stable and efficient algorithm for the rank-one modification of the symmetric
// eigenproblem, SIAM J. Matrix Anal. Appl. 15, 1994).
#pragma once

#include "engine/portable.h"

namespace jaxmg {

// The rows [0, n) in `parts` nearly equal parts. Part k of Halving{n, p} is parts 2k and 2k + 1 of Halving{n, 2p}.
struct Halving {
  Index n;
  Index parts;

  JAXMG_PORTABLE Index begin(Index k) const { return k * n / parts; }
  JAXMG_PORTABLE Index end(Index k) const { return begin(k + 1); }
  JAXMG_PORTABLE Index middle(Index k) const { return (2 * k + 1) * n / (2 * parts); }
  JAXMG_PORTABLE Index part_of(Index i) const { return ((i + 1) * parts - 1) / n; }
  // The row of Q that contains z_i: the last of the upper or the first of the lower subproblem.
  JAXMG_PORTABLE Index cut_row(Index i) const {
    const Index m = middle(part_of(i));
    return i < m ? m - 1 : m;
  }
};

// All merges of a level. Arrays of n are indexed by eigenvalue: number i of merge k is at begin(k) + i.
template <class Real>
struct MergeLevel {
  Halving merges;
  // Written by deflation, for each merge:
  int* kept;
  Real* rho;
  // The kept poles and their z, ascending, followed by the deflated eigenvalues, ascending.
  Real* d;
  Real* z;
  // Kept poles, ordered by the rows of Q in which their columns are nonzero: upper rows only, all, lower rows only.
  int* order;

  // Written by the secular solver: root i is d[origin] + tau, where origin is the nearer of its poles.
  int* origin;
  Real* tau;
  Real* value;  // the eigenvalues, deflated ones included
  Real* zhat;
};

// Chains of rotations that move columns of Q from their positions after the last level to their positions in this
// level. A chain is a column and the columns it is successively rotated with: rotate the running column with the next,
//
//   column i = c_i running + s_i next,  running = c_i next - s_i running;
//
// its final value is the chain's last column.
template <class Real>
struct ColumnChains {
  int count;
  int* begin;  // count + 1 places in the arrays below
  int* source;
  int* target;
  Real* cosine;
  Real* sine;
};

// Lanes form sums together, each over every stride-th term: one lane on the host, the threads of a warp on a GPU.
struct OneLane {
  int first = 0, stride = 1;
  template <class Real>
  JAXMG_PORTABLE Real sum(Real x) const {
    return x;
  }
  template <class Real>
  JAXMG_PORTABLE Real product(Real x) const {
    return x;
  }
};

// d_j - lambda, to full relative precision: lambda is nearest to the pole its distance tau is measured from.
template <class Real>
JAXMG_PORTABLE Real pole_distance(const Real* d, int j, int origin, Real tau) {
  return (d[j] - d[origin]) - tau;
}

template <class Real>
struct Secular {
  Real psi, dpsi;  // sum over the poles up to `split`, and its derivative
  Real phi, dphi;  // the same for the poles beyond
};

template <class Real, class Lanes>
JAXMG_PORTABLE Secular<Real> secular(int kept, const Real* d, const Real* z, int split, int origin, Real tau,
                                     const Lanes& lanes) {
  Secular<Real> at{};
  for (int j = lanes.first; j < kept; j += lanes.stride) {
    const Real t = z[j] / pole_distance(d, j, origin, tau);
    if (j <= split) {
      at.psi += z[j] * t;
      at.dpsi += t * t;
    } else {
      at.phi += z[j] * t;
      at.dphi += t * t;
    }
  }
  return {lanes.sum(at.psi), lanes.sum(at.dpsi), lanes.sum(at.phi), lanes.sum(at.dphi)};
}

// The secular equation without the terms of the poles p and p + 1.
template <class Real, class Lanes>
JAXMG_PORTABLE Real secular_without(int kept, const Real* d, const Real* z, Real rho, int p, int origin, Real tau,
                                    const Lanes& lanes) {
  Real rest = 0;
  for (int j = lanes.first; j < kept; j += lanes.stride) {
    if (j != p && j != p + 1) rest += z[j] * z[j] / pole_distance(d, j, origin, tau);
  }
  return 1 / rho + lanes.sum(rest);
}

// A point between low and high, one of which may be the pole at 0. Roots can be closer to a pole than to any other
// number by many orders of magnitude, therefore wide intervals are bisected in the exponent.
template <class Real>
JAXMG_PORTABLE Real between(Real low, Real high) {
  if (low == 0) return high / 16;
  if (high == 0) return low / 16;
  if (low > 0 && high > 4 * low) return sqrt(low) * sqrt(high);
  if (high < 0 && low < 4 * high) return -sqrt(-low) * sqrt(-high);
  return (low + high) / 2;
}

// The root of c x^2 - a x + b with the given sign of the square root, without cancellation.
template <class Real>
JAXMG_PORTABLE Real quadratic_root(Real c, Real a, Real b, bool minus) {
  const Real root = sqrt(fabs(a * a - 4 * b * c));
  if (minus) return a <= 0 ? (a - root) / (2 * c) : 2 * b / (a + root);
  return a >= 0 ? (a + root) / (2 * c) : 2 * b / (a - root);
}

template <class Real>
struct Root {
  int origin;
  Real tau;
  bool converged;
};

// Root number i. Each step replaces the sums over the poles on either side by simple rational functions with the poles
// next to the root (R.-C. Li, Solving secular equations stably and efficiently, LAPACK Working Note 89: the "middle
// way" and, where that is slow, "fixed weight"); a bracket is maintained, and halved if a step would leave it or if
// convergence is too slow.
template <class Real, class Lanes>
JAXMG_PORTABLE Root<Real> secular_root(int kept, const Real* d, const Real* z, Real rho, int i, const Lanes& lanes) {
  if (kept == 1) return {0, rho * z[0] * z[0], true};
  const bool last = i + 1 == kept;
  const int p = last ? i - 1 : i, q = p + 1;
  const Real gap = d[q] - d[p], zp = z[p] * z[p], zq = z[q] * z[q];

  // The value in the middle of the interval gives the half with the root, and therefore the nearest pole. The first
  // guess takes the terms of the two poles exactly, and evaluates all others at the middle.
  int origin;
  Real low, high, tau;
  if (!last) {
    const Real rest = secular_without(kept, d, z, rho, p, p, gap / 2, lanes);
    if (rest + 2 * (zq - zp) / gap >= 0) {
      origin = p;
      low = 0;
      high = gap / 2;
      tau = quadratic_root(rest, rest * gap + zp + zq, zp * gap, true);
    } else {
      origin = q;
      low = -gap / 2;
      high = 0;
      tau = quadratic_root(rest, zp + zq - rest * gap, -zq * gap, true);
    }
  } else {
    Real squares = 0;
    for (int j = lanes.first; j < kept; j += lanes.stride) squares += z[j] * z[j];
    origin = q;
    low = 0;
    high = rho * lanes.sum(squares) * (1 + 8 * unit_roundoff<Real>());
    const Real middle = high / 2, rest = secular_without(kept, d, z, rho, p, q, middle, lanes);
    (rest - zp / (gap + middle) - zq / middle <= 0 ? low : high) = middle;
    tau = quadratic_root(rest, zp + zq - rest * gap, -zq * gap, false);
  }
  if (!(tau > low && tau < high)) tau = between(low, high);

  constexpr Real eps = unit_roundoff<Real>();
  constexpr int limit = 400;  // more steps than halving alone would take
  Real former = 0;
  bool fixed_weight = false;
  int slow_steps = 0;
  for (int step = 0; step < limit; ++step) {
    const Secular<Real> at = secular(kept, d, z, p, origin, tau, lanes);
    const Real f = 1 / rho + at.psi + at.phi, df = at.dpsi + at.dphi;
    // Rounding errors of f, and its change when tau changes by eps.
    if (fabs(f) <= eps * (2 / rho + 8 * (fabs(at.psi) + fabs(at.phi)) + fabs(tau) * df)) return {origin, tau, true};
    if (!(fabs(f) >= 0)) break;  // NaN
    (f < 0 ? low : high) = tau;
    const bool slow = step > 0 && fabs(f) > fabs(former) / 10;
    former = f;
    if (slow) {
      fixed_weight = !fixed_weight;
      ++slow_steps;
    }

    // c + r_p / (dp - eta) + r_q / (dq - eta) = 0 for the step eta.
    const Real dp = pole_distance(d, p, origin, tau), dq = pole_distance(d, q, origin, tau);
    Real c;
    if (!fixed_weight) {
      c = f - dp * at.dpsi - dq * at.dphi;
    } else if (origin == p) {
      c = f - dq * df + gap * (z[p] / dp) * (z[p] / dp);
    } else {
      c = f - dp * df - gap * (z[q] / dq) * (z[q] / dq);
    }
    if (last) c = fabs(c);
    const Real a = (dp + dq) * f - dp * dq * df, b = dp * dq * f;
    Real next = tau + (c == 0 ? b / a : quadratic_root(c, a, b, !last));
    if (!((next - tau) * f < 0)) next = tau - f / df;
    if (!(next > low && next < high) || (slow && slow_steps % 3 == 0)) next = between(low, high);
    const bool closed = fabs(next - tau) <= 2 * eps * fabs(tau) || !(next > low && next < high);
    if (closed) return {origin, tau, true};
    tau = next;
  }
  return {origin, tau, false};
}

// zhat_j. By interlacing every factor of the product but the last one lies between 0 and 1, and no order of them
// underflows:
//
//   zhat_j^2 = prod over i < j of (d_j - lambda_i) / (d_j - d_i)
//            * prod over i >= j of (lambda_i - d_j) / (d_i+1 - d_j),   rho for the d_kept that is not there.
template <class Real, class Lanes>
JAXMG_PORTABLE Real secular_weight(int kept, const Real* d, const Real* z, Real rho, const int* origin, const Real* tau,
                                   int j, const Lanes& lanes) {
  Real product = 1;
  for (int i = lanes.first; i < kept; i += lanes.stride) {
    const Real distance = pole_distance(d, j, origin[i], tau[i]);
    const Real pole = i < j ? d[j] - d[i] : i + 1 < kept ? d[j] - d[i + 1] : -rho;
    product *= distance / pole;
  }
  return copysign(sqrt(lanes.product(product)), z[j]);
}

// The norm of (zhat_j / (d_j - lambda))_j for one root.
template <class Real, class Lanes>
JAXMG_PORTABLE Real secular_norm(int kept, const Real* d, const Real* zhat, int origin, Real tau, const Lanes& lanes) {
  Real sum = 0;
  for (int j = lanes.first; j < kept; j += lanes.stride) {
    const Real entry = zhat[j] / pole_distance(d, j, origin, tau);
    sum += entry * entry;
  }
  return sqrt(lanes.sum(sum));
}

}  // namespace jaxmg
