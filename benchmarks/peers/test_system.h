// The system that every solver is given (benchmarks/systems.py makes the same one in JAX), and how it is timed.
//
//   A[i, j] = exp(-((i - j) / 50)^2) exp(0.1i (i - j)) + 0.01 [i = j]     (real types: without the phase)
//
// A is a Toeplitz matrix, so one block column `w` holds every tile of it, and tiles are filled by copies alone.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
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

template <class T>
T element(std::int64_t distance) {
  const double d = static_cast<double>(distance);
  const double value = std::exp(-(d / 50) * (d / 50)) + (distance == 0 ? 0.01 : 0.0);
  if constexpr (std::is_same_v<T, typename Real<T>::type>) {
    return static_cast<T>(value);
  } else {
    const std::complex<double> z = std::polar(value, 0.1 * d);
    return T(static_cast<typename Real<T>::type>(z.real()), static_cast<typename Real<T>::type>(z.imag()));
  }
}

// On the current device: the columns [0, tile) of A and of all its shifts, rows -n .. n - 1.
template <class T>
class TestMatrix {
 public:
  TestMatrix(std::int64_t n, std::int64_t tile) : n_(n) {
    std::vector<T> diagonals(static_cast<std::size_t>(2 * n + tile));
    for (std::size_t i = 0; i < diagonals.size(); ++i) {
      diagonals[i] = element<T>(static_cast<std::int64_t>(i) - n - tile);
    }
    T* upload = nullptr;
    CHECK(cudaMalloc(&upload, diagonals.size() * sizeof(T)));
    CHECK(cudaMemcpy(upload, diagonals.data(), diagonals.size() * sizeof(T), cudaMemcpyHostToDevice));
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
    value = static_cast<T>(static_cast<double>(state >> 11) / 4503599627370496.0 - 1);
  }
  return b;
}

// |A x - b| / (|A| |x|) in the 2-norm. Elements further than 700 off the diagonal are below the least double.
template <class T>
double relative_residual(std::int64_t n, const T* x, const T* b) {
  constexpr std::int64_t band = 700;
  std::vector<T> diagonals;
  for (std::int64_t d = -band; d <= band; ++d) diagonals.push_back(element<T>(d));
  double residual = 0, solution = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::complex<double> sum = -std::complex<double>(b[i]);
    for (std::int64_t j = std::max<std::int64_t>(0, i - band); j < std::min(n, i + band + 1); ++j) {
      sum += std::complex<double>(diagonals[static_cast<std::size_t>(i - j + band)]) * std::complex<double>(x[j]);
    }
    residual += std::norm(sum);
    solution += std::norm(std::complex<double>(x[i]));
  }
  const double norm = 0.01 + std::min(50 * std::sqrt(std::acos(-1.0)), static_cast<double>(n));
  return std::sqrt(residual) / (norm * std::sqrt(solution));
}

struct Arguments {
  std::int64_t n, nrhs;
  std::string dtype;
  int devices, repeats;
};

inline Arguments parse(int count, char** values) {
  if (count != 6) {
    std::fprintf(stderr, "usage: %s N DTYPE NRHS DEVICES REPEATS\n", values[0]);
    std::exit(2);
  }
  return {std::atoll(values[1]), std::atoll(values[3]), values[2], std::atoi(values[4]), std::atoi(values[5])};
}

struct Timing {
  std::int64_t tile = 0;
  double first = 0, residual = 0;
  std::vector<double> potrf, potrs;

  double total() const {
    std::vector<double> sums;
    for (std::size_t i = 0; i < potrf.size(); ++i) sums.push_back(potrf[i] + potrs[i]);
    std::sort(sums.begin(), sums.end());
    return sums[sums.size() / 2];
  }
};

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline void print_list(const char* name, const std::vector<double>& values) {
  std::printf("\"%s\": [", name);
  for (std::size_t i = 0; i < values.size(); ++i) std::printf("%s%.6g", i > 0 ? ", " : "", values[i]);
  std::printf("], ");
}

// One line of JSON, the best of several tile sizes.
inline void print(const std::vector<Timing>& timings) {
  const auto best = std::min_element(timings.begin(), timings.end(),
                                     [](const Timing& a, const Timing& b) { return a.total() < b.total(); });
  std::printf("{");
  print_list("potrf", best->potrf);
  print_list("potrs", best->potrs);
  std::printf("\"tile\": %lld, \"first_call\": %.6g, ", static_cast<long long>(best->tile), timings.front().first);
  if (std::isfinite(best->residual)) {
    std::printf("\"residual\": %.3g}\n", best->residual);
  } else {
    std::printf("\"residual\": null}\n");
  }
}

// Calls run<T>(arguments) for the type named.
#define DISPATCH(run, arguments)                                            \
  (arguments.dtype == "float32"      ? run<float>(arguments)                \
   : arguments.dtype == "float64"    ? run<double>(arguments)               \
   : arguments.dtype == "complex64"  ? run<std::complex<float>>(arguments)  \
   : arguments.dtype == "complex128" ? run<std::complex<double>>(arguments) \
                                     : (std::fprintf(stderr, "unknown dtype\n"), 2))
