// The matrices that every solver is given (benchmarks/systems.py makes the same in JAX), and how wrong a result is.
//
//   A[i, j] = f(i - j) exp(0.1i (i - j))     (real types: without the phase)
//
// A is a Toeplitz matrix, so one block column `w` holds every tile of it, and tiles are filled by copies alone.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <vector>

#define CHECK(call) check(static_cast<int>(call), #call, __LINE__)

inline void check(int status, const char* call, int line) {
  if (status == 0) return;
  std::fprintf(stderr, "line %d: %.*s returned %d\n", line, 80, call, status);
  std::exit(1);
}

template <class T>
struct Real {
  using type = T;
};
template <class T>
struct Real<std::complex<T>> {
  using type = T;
};

template <class T>
constexpr cudaDataType data_type() {
  if constexpr (std::is_same_v<T, float>) return CUDA_R_32F;
  if constexpr (std::is_same_v<T, double>) return CUDA_R_64F;
  if constexpr (std::is_same_v<T, std::complex<float>>) return CUDA_C_32F;
  return CUDA_C_64F;
}

// f: what is on the diagonals.
using Diagonals = double (*)(std::int64_t);

// Elements further off the diagonal are zero, or below the least double.
constexpr std::int64_t band = 700;

// Hermitian positive definite, a smooth kernel with some noise.
inline double kernel(std::int64_t distance) {
  const double d = static_cast<double>(distance);
  return std::exp(-(d / 50) * (d / 50)) + (distance == 0 ? 0.01 : 0.0);
}

// For eigensolvers: eigenvalues as far apart as a random matrix's, where nearly all of the kernel's are equal.
inline double chirp(std::int64_t distance) {
  const double d = static_cast<double>(distance);
  return std::abs(distance) <= band ? std::cos(d * d) : 0.0;
}

template <class T>
T element(Diagonals diagonals, std::int64_t distance) {
  const double value = diagonals(distance);
  if constexpr (std::is_same_v<T, typename Real<T>::type>) {
    return static_cast<T>(value);
  } else {
    const std::complex<double> z = std::polar(1.0, 0.1 * static_cast<double>(distance)) * value;
    return T(static_cast<typename Real<T>::type>(z.real()), static_cast<typename Real<T>::type>(z.imag()));
  }
}

// On the current device: the columns [0, tile) of A and of all its shifts, rows -n .. n - 1.
template <class T>
class TestMatrix {
 public:
  TestMatrix(Diagonals diagonals, std::int64_t n, std::int64_t tile) : n_(n) {
    std::vector<T> elements(static_cast<std::size_t>(2 * n + tile));
    for (std::size_t i = 0; i < elements.size(); ++i) {
      elements[i] = element<T>(diagonals, static_cast<std::int64_t>(i) - n - tile);
    }
    T* upload = nullptr;
    CHECK(cudaMalloc(&upload, elements.size() * sizeof(T)));
    CHECK(cudaMemcpy(upload, elements.data(), elements.size() * sizeof(T), cudaMemcpyHostToDevice));
    CHECK(cudaMalloc(&w_, static_cast<std::size_t>(2 * n * tile) * sizeof(T)));
    for (std::int64_t c = 0; c < tile; ++c) {
      CHECK(cudaMemcpyAsync(w_ + 2 * n * c, upload + tile - c, static_cast<std::size_t>(2 * n) * sizeof(T),
                            cudaMemcpyDeviceToDevice));
    }
    CHECK(cudaDeviceSynchronize());
    CHECK(cudaFree(upload));
  }
  ~TestMatrix() { cudaFree(w_); }
  TestMatrix(const TestMatrix&) = delete;
  TestMatrix& operator=(const TestMatrix&) = delete;

  // to[0:rows, 0:columns] = A[row:row + rows, column:column + columns]; columns <= tile.
  void fill(T* to, std::int64_t ld, std::int64_t row, std::int64_t column, std::int64_t rows,
            std::int64_t columns) const {
    CHECK(cudaMemcpy2DAsync(to, static_cast<std::size_t>(ld) * sizeof(T), w_ + n_ + row - column,
                            static_cast<std::size_t>(2 * n_) * sizeof(T), static_cast<std::size_t>(rows) * sizeof(T),
                            static_cast<std::size_t>(columns), cudaMemcpyDeviceToDevice));
  }

 private:
  std::int64_t n_;
  T* w_ = nullptr;
};

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

// Elements from a device.
template <class T>
std::vector<T> download(const T* from, std::int64_t count) {
  std::vector<T> to(static_cast<std::size_t>(count));
  CHECK(cudaMemcpy(to.data(), from, to.size() * sizeof(T), cudaMemcpyDeviceToHost));
  return to;
}

// Column k of an n x n matrix, of a Hermitian one whose lower triangle alone counts if `triangle`. Visits, as
// blocks(visit) does, (block, its first column, number of columns) for all blocks of whole columns.
template <class T, class Blocks>
std::vector<T> column_of(std::int64_t n, std::int64_t k, bool triangle, Blocks&& blocks) {
  std::vector<T> x(static_cast<std::size_t>(n));
  blocks([&](const T* block, std::int64_t first, std::int64_t columns) {
    if (first <= k && k < first + columns) {
      const std::int64_t row = triangle ? k : 0;
      CHECK(cudaMemcpy(x.data() + row, block + row + (k - first) * n, static_cast<std::size_t>(n - row) * sizeof(T),
                       cudaMemcpyDeviceToHost));
    }
    // What is above the diagonal stands, conjugated, in row k.
    if (triangle && first < k) {
      CHECK(cudaMemcpy2D(x.data() + first, sizeof(T), block + k, static_cast<std::size_t>(n) * sizeof(T), sizeof(T),
                         static_cast<std::size_t>(std::min(columns, k - first)), cudaMemcpyDeviceToHost));
    }
  });
  if constexpr (!std::is_same_v<T, typename Real<T>::type>) {
    for (std::int64_t i = 0; triangle && i < k; ++i) {
      x[static_cast<std::size_t>(i)] = std::conj(x[static_cast<std::size_t>(i)]);
    }
  }
  return x;
}

// |A x - y| in the 2-norm, times(i) being y_i.
template <class T, class Times>
double distance_from_product(Diagonals diagonals, const std::vector<T>& x, Times&& times) {
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

// |A x - b| / (|A| |x|) in the 2-norm, for the kernel.
template <class T>
double relative_residual(const std::vector<T>& x, const T* b) {
  const double residual = distance_from_product(kernel, x, [&](std::size_t i) { return std::complex<double>(b[i]); });
  const double norm = 0.01 + std::min(50 * std::sqrt(std::acos(-1.0)), static_cast<double>(x.size()));
  return residual / (norm * std::sqrt(inner_product(x, x).real()));
}

// By how much the trace and the Frobenius norm of the chirp matrix are missed, for each eigenvalue and over the
// largest.
inline double eigenvalue_error(const std::vector<double>& values) {
  const auto n = static_cast<std::int64_t>(values.size());
  double trace = 0, squares = 0, exact_squares = static_cast<double>(n), largest = 0;
  for (const double value : values) {
    trace += value;
    squares += value * value;
    largest = std::max(largest, std::abs(value));
  }
  for (std::int64_t d = 1; d < std::min(n, band + 1); ++d) {
    exact_squares += 2 * static_cast<double>(n - d) * chirp(d) * chirp(d);
  }
  const double count = static_cast<double>(n);
  const double of_trace = std::abs(trace - count) / count;
  const double of_norm = std::abs(std::sqrt(squares) - std::sqrt(exact_squares)) / std::sqrt(count);
  return (of_trace > of_norm ? of_trace : of_norm) / largest;
}
