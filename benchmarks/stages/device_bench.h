// Measurement of kernels on one GPU, alone or beside products that fill it.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/matrix_view.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"
#include "matrices.h"

namespace jaxmg::benchmarks {

using testing::Matrix;

template <class T>
T* device_array(std::int64_t count) {
  void* made = nullptr;
  JAXMG_CHECK(cudaMalloc(&made, static_cast<std::size_t>(count) * sizeof(T)));
  return static_cast<T*>(made);
}

// The streams and handles of all measurements; the program's end releases them.
class Bench {
 public:
  // Measures work in `given`, or in a stream of its own.
  explicit Bench(bool busy, cudaStream_t given = nullptr) : stream(given), busy_(busy) {
    int least = 0, greatest = 0;
    JAXMG_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    if (stream == nullptr) JAXMG_CHECK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
    JAXMG_CHECK(cudaStreamCreateWithPriority(&bulk_, cudaStreamNonBlocking, least));
    JAXMG_CHECK(cublasCreate(&blas));
    JAXMG_CHECK(cublasSetStream(blas, stream));
    JAXMG_CHECK(cublasCreate(&bulk_blas_));
    JAXMG_CHECK(cusolverDnCreate(&solver));
    JAXMG_CHECK(cusolverDnSetStream(solver, stream));
    JAXMG_CHECK(cudaEventCreate(&begin_));
    JAXMG_CHECK(cudaEventCreate(&end_));
    JAXMG_CHECK(cudaMemset(product_ = device_array<double>(3 * bulk_order * bulk_order), 0,
                           sizeof(double) * 3 * bulk_order * bulk_order));
  }

  // Microseconds of work(), each time after prepare().
  template <class Prepare, class Work>
  double measure(Prepare&& prepare, Work&& work) {
    std::vector<double> samples;
    for (int repeat = 0; repeat < 8; ++repeat) {
      // The host enqueues all work before it begins: launches do not count. In a busy run products go on meanwhile.
      multiply(busy_ ? bulk_ : stream);
      prepare();
      JAXMG_CHECK(cudaEventRecord(begin_, stream));
      work();
      JAXMG_CHECK(cudaEventRecord(end_, stream));
      JAXMG_CHECK(cudaDeviceSynchronize());
      float milliseconds = 0;
      JAXMG_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_));
      if (repeat > 0) samples.push_back(1e3 * milliseconds);  // the first run includes loading
    }
    std::sort(samples.begin(), samples.end());
    return samples[samples.size() / 2];
  }

  cudaStream_t stream;
  cublasHandle_t blas{};
  cusolverDnHandle_t solver{};

 private:
  static constexpr std::int64_t bulk_order = 4096;

  void multiply(cudaStream_t in) {
    const double one = 1;
    const int n = bulk_order, k = busy_ ? 4096 : 1024;
    double *const a = product_, *const b = a + bulk_order * bulk_order, *const c = b + bulk_order * bulk_order;
    JAXMG_CHECK(cublasSetStream(bulk_blas_, in));
    JAXMG_CHECK(cuda::gemm(bulk_blas_, Op::none, Op::none, n, n, k, &one, a, n, b, n, &one, c, n));
  }

  bool busy_;
  cudaStream_t bulk_{};
  cublasHandle_t bulk_blas_{};
  cudaEvent_t begin_{}, end_{};
  double* product_ = nullptr;
};

template <class T>
struct OnDevice {
  MatrixView<T> view;

  explicit OnDevice(const Matrix<T>& from) : OnDevice(from.rows(), from.columns()) { upload(from); }
  OnDevice(std::int64_t rows, std::int64_t columns) : view{device_array<T>(rows * columns), rows, columns, rows} {}
  ~OnDevice() { cudaFree(view.data); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  std::size_t bytes() const { return static_cast<std::size_t>(view.rows * view.columns) * sizeof(T); }
  void upload(const Matrix<T>& from) { JAXMG_CHECK(cudaMemcpy(view.data, from.data(), bytes(), cudaMemcpyDefault)); }
  void copy(const OnDevice& from, cudaStream_t stream) {
    JAXMG_CHECK(cudaMemcpyAsync(view.data, from.view.data, bytes(), cudaMemcpyDefault, stream));
  }
  Matrix<T> download() const {
    Matrix<T> to(view.rows, view.columns);
    JAXMG_CHECK(cudaMemcpy(to.data(), view.data, bytes(), cudaMemcpyDefault));
    return to;
  }
};

}  // namespace jaxmg::benchmarks
