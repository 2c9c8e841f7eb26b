// Weights of the dynamically weighted Halley iteration for the unitary polar factor,
//
//   X <- X (a I + b X^H X) (I + c X^H X)^-1 = (b / c) X + (a - b / c) X (I + c X^H X)^-1,
//
// which maps singular values in [l, 1] as close to 1 as a function of this form can (Nakatsukasa, Bai and Gygi, SIAM J.
// Matrix Anal. Appl. 31, 2010).
//
// The weight c bounds the condition of the matrix that Cholesky's method factors. It is capped: with c up to 1e4 or 10
// n a step is backward stable, whereas the optimal weights of an ill-conditioned matrix need a pivoted QR
// factorisation. Small singular values then grow by a factor of up to 2 sqrt(1 + c) in a step, instead of at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

namespace jaxmg {

struct PolarWeights {
  double a, b, c;

  // The singular value that x becomes.
  double image(double x) const { return x * (a + b * x * x) / (1 + c * x * x); }
};

// The cap for matrices of order n. The last bound keeps rounding errors of I + c X^H X, of c sqrt(n) eps, below 1/64.
template <class R>
double largest_weight(std::int64_t n) {
  const auto order = static_cast<double>(n), eps = static_cast<double>(std::numeric_limits<R>::epsilon());
  return std::min({1e4, std::max(10 * order, 30.0), 1 / (64 * std::sqrt(order) * eps)});
}

// The weights for singular values in [l, 1], or for an unknown l.
inline PolarWeights polar_weights(std::optional<double> l, double largest) {
  const double root = std::sqrt(1 + largest);
  const PolarWeights capped{2 * root - 1, (root - 1) * (root - 1), largest};
  if (!l) return capped;
  if (*l >= 1) return {3, 1, 3};
  const double l2 = *l * *l;
  const double d = std::cbrt(4 * (1 - l2) / (l2 * l2)), q = std::sqrt(1 + d);
  const double a = q + std::sqrt(2 - d + 2 * (2 - l2) / (l2 * q)), b = (a - 1) * (a - 1) / 4, c = a + b - 1;
  if (!(c <= largest)) return capped;
  return {a, b, c};
}

}  // namespace jaxmg
