// Dense test matrices of all solvers (the same as in systems.py of jaxmg._tools.bench), and residuals of results.
//
//   A[i, j] = f(i - j) exp(0.1i (i - j))     (real types: without the phase)
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

template <class T>
struct Real {
  using type = T;
};
template <class T>
struct Real<std::complex<T>> {
  using type = T;
};

// f: values of the diagonals.
using Diagonals = std::function<double(std::int64_t)>;

// Pseudo-random numbers in [-1, 1).
inline double noise(std::int64_t distance) {
  const double x = std::sin(static_cast<double>(distance) * 12.9898 + 1) * 43758.5453;
  return 2 * (x - std::floor(x)) - 1;
}

inline double hermitian_noise(std::int64_t distance) { return noise(std::abs(distance)); }

// At least half of the norm of the positive definite matrix.
inline double diagonal_of_positive_noise(std::int64_t n) {
  return 2 * std::sqrt(static_cast<double>(n) * std::log(static_cast<double>(n + 1)));
}

// Hermitian noise with a diagonal above its norm.
inline Diagonals positive_noise(std::int64_t n) {
  const double diagonal = diagonal_of_positive_noise(n);
  return [diagonal](std::int64_t distance) { return distance == 0 ? diagonal : hermitian_noise(distance); };
}

template <class T>
T element(const Diagonals& diagonals, std::int64_t distance) {
  const double value = diagonals(distance);
  if constexpr (std::is_same_v<T, typename Real<T>::type>) {
    return static_cast<T>(value);
  } else {
    const std::complex<double> z = std::polar(1.0, 0.1 * static_cast<double>(distance)) * value;
    return T(static_cast<typename Real<T>::type>(z.real()), static_cast<typename Real<T>::type>(z.imag()));
  }
}

// Column-major n x nrhs, in [-1, 1].
template <class T>
std::vector<T> right_hand_sides(std::int64_t n, std::int64_t nrhs) {
  std::vector<T> b(static_cast<std::size_t>(n * nrhs));
  std::uint64_t state = 1;
  for (T& value : b) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<typename Real<T>::type>(static_cast<double>(state >> 11) / 4503599627370496.0 - 1);
  }
  return b;
}

// Estimates |A x - y| in the 2-norm from about 1024 rows, times(i) being y_i.
template <class T, class Times>
double distance_from_product(const Diagonals& diagonals, const std::vector<T>& x, Times&& times) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::complex<double>> elements;
  for (std::int64_t d = 1 - n; d < n; ++d) elements.emplace_back(element<T>(diagonals, d));
  const std::int64_t step = std::max<std::int64_t>(1, n / 1024);
  double sum = 0;
  for (std::int64_t i = 0; i < n; i += step) {
    std::complex<double> y = -std::complex<double>(times(static_cast<std::size_t>(i)));
    for (std::int64_t j = 0; j < n; ++j) {
      y += elements[static_cast<std::size_t>(i - j + n - 1)] * std::complex<double>(x[static_cast<std::size_t>(j)]);
    }
    sum += std::norm(y);
  }
  return std::sqrt(static_cast<double>(step) * sum);
}

// x^H y
template <class T>
std::complex<double> inner_product(const std::vector<T>& x, const std::vector<T>& y) {
  std::complex<double> sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += std::conj(std::complex<double>(x[i])) * std::complex<double>(y[i]);
  }
  return sum;
}

// |A x - b| / (|A| |x|) in the 2-norm, for a matrix with this (lower bound of the) norm.
template <class T>
double relative_residual(const Diagonals& diagonals, double norm, const std::vector<T>& x, const T* b) {
  const double residual = distance_from_product(diagonals, x, [&](std::size_t i) { return b[i]; });
  return residual / (norm * std::sqrt(inner_product(x, x).real()));
}

// The larger error of the sum and of the 2-norm of the eigenvalues of Hermitian noise: they are the trace of A and
// |A|_F. Relative to |A|_F.
inline double eigenvalue_error(const std::vector<double>& values) {
  const auto n = static_cast<std::int64_t>(values.size());
  double squares = 0, sum = 0, exact = static_cast<double>(n) * std::pow(hermitian_noise(0), 2);
  for (const double value : values) {
    squares += value * value;
    sum += value;
  }
  for (std::int64_t d = 1; d < n; ++d) exact += 2 * static_cast<double>(n - d) * std::pow(hermitian_noise(d), 2);
  const double norm = std::sqrt(exact);
  const double of_norm = std::abs(std::sqrt(squares) - norm);
  const double of_sum = std::abs(sum - static_cast<double>(n) * hermitian_noise(0));
  return (of_norm > of_sum ? of_norm : of_sum) / norm;  // NaN stays
}
