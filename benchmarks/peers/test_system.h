// Test matrices of all solvers (the same as in benchmarks/systems.py), and residuals of results.
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

// Elements further off the diagonal are zero, or below the least double.
constexpr std::int64_t band = 700;

// Hermitian positive definite, a smooth kernel with some noise.
inline double kernel(std::int64_t distance) {
  const double d = static_cast<double>(distance);
  return std::exp(-(d / 50) * (d / 50)) + (distance == 0 ? 0.01 : 0.0);
}

// For LU: pseudo-random numbers in [-1, 1).
inline double noise(std::int64_t distance) {
  const double x = std::sin(static_cast<double>(distance) * 12.9898 + 1) * 43758.5453;
  return 2 * (x - std::floor(x)) - 1;
}

// For eigensolvers: eigenvalues spaced as in a random matrix, while nearly all eigenvalues of the kernel are equal.
inline double chirp(std::int64_t distance) {
  const double d = static_cast<double>(distance);
  return std::abs(distance) <= band ? std::cos(d * d) : 0.0;
}

// The same with its ends joined, f(n - d) = f(d): A is similar to a circulant matrix, whose eigenvalues are known.
inline Diagonals wrapped_chirp(std::int64_t n) {
  return [n](std::int64_t distance) { return chirp(std::min(std::abs(distance), n - std::abs(distance))); };
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

// |A x - y| in the 2-norm, times(i) being y_i.
template <class T, class Times>
double distance_from_product(const Diagonals& diagonals, const std::vector<T>& x, Times&& times) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::complex<double>> elements;
  for (std::int64_t d = -band; d <= band; ++d) elements.push_back(std::complex<double>(element<T>(diagonals, d)));
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::complex<double> y = -times(static_cast<std::size_t>(i));
    for (std::int64_t j = std::max<std::int64_t>(0, i - band); j < std::min(n, i + band + 1); ++j) {
      y += elements[static_cast<std::size_t>(i - j + band)] * std::complex<double>(x[static_cast<std::size_t>(j)]);
    }
    sum += std::norm(y);
  }
  return std::sqrt(sum);
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

// Estimates |A x - b| / (|A| |x|) in the 2-norm for the noise from about 1024 rows, with |A| = |A|_F / sqrt(n).
template <class T>
double relative_residual_of_noise(const std::vector<T>& x, const T* b) {
  const auto n = static_cast<std::int64_t>(x.size());
  const std::int64_t step = std::max<std::int64_t>(1, n / 1024);
  double sum = 0;
  for (std::int64_t i = 0; i < n; i += step) {
    std::complex<double> y = -std::complex<double>(b[i]);
    for (std::int64_t j = 0; j < n; ++j) {
      y += std::complex<double>(element<T>(noise, i - j)) * std::complex<double>(x[static_cast<std::size_t>(j)]);
    }
    sum += std::norm(y);
  }
  const double norm = std::sqrt(static_cast<double>(n) / 3);
  return std::sqrt(static_cast<double>(step) * sum) / (norm * std::sqrt(inner_product(x, x).real()));
}

// |A x - b| / (|A| |x|) in the 2-norm, for the kernel.
template <class T>
double relative_residual(const std::vector<T>& x, const T* b) {
  const double residual = distance_from_product(kernel, x, [&](std::size_t i) { return std::complex<double>(b[i]); });
  const double norm = 0.01 + std::min(50 * std::sqrt(std::acos(-1.0)), static_cast<double>(x.size()));
  return residual / (norm * std::sqrt(inner_product(x, x).real()));
}

// |λ - λ'| over the largest |λ|, in the maximum norm, λ' being the eigenvalues of the wrapped chirp of order n: the
// discrete Fourier transform of its first column. Both ascend.
inline double eigenvalue_error(const std::vector<double>& values) {
  const auto n = static_cast<std::int64_t>(values.size());
  std::vector<double> cosines, exact;
  for (std::int64_t k = 0; k < n; ++k) {
    cosines.push_back(std::cos(2 * std::acos(-1.0) * static_cast<double>(k) / static_cast<double>(n)));
  }
  for (std::int64_t k = 0; k < n; ++k) {
    double sum = 0;
    for (std::int64_t d = -std::min(band, (n - 1) / 2); d <= std::min(band, n / 2); ++d) {
      sum += chirp(d) * cosines[static_cast<std::size_t>(std::abs(d) * k % n)];
    }
    exact.push_back(sum);
  }
  std::sort(exact.begin(), exact.end());
  double error = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double own = std::abs(values[i] - exact[i]);
    if (own > error || std::isnan(own)) error = own;  // NaN stays
  }
  return error / std::max(std::abs(exact.front()), std::abs(exact.back()));
}
