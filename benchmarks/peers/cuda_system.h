// The test matrices and results in the memory of GPUs.
//
// The matrices are Toeplitz matrices, so one block column `w` holds every tile, and tiles are filled by copies alone.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <vector>

#include "test_system.h"

#define CHECK(call) check(static_cast<int>(call), #call, __LINE__)

inline void check(int status, const char* call, int line) {
  if (status == 0) return;
  std::fprintf(stderr, "line %d: %.*s returned %d\n", line, 80, call, status);
  // Not exit(): it unloads CUDA under the other ranks' threads, whose failures would hide this one.
  std::_Exit(1);
}

template <class T>
constexpr cudaDataType data_type() {
  if constexpr (std::is_same_v<T, float>) return CUDA_R_32F;
  if constexpr (std::is_same_v<T, double>) return CUDA_R_64F;
  if constexpr (std::is_same_v<T, std::complex<float>>) return CUDA_C_32F;
  return CUDA_C_64F;
}

// On the current device: the columns [0, tile) of A and of all its shifts, rows -n .. n - 1.
template <class T>
class TestMatrix {
 public:
  TestMatrix(const Diagonals& diagonals, std::int64_t n, std::int64_t tile) : n_(n) {
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
