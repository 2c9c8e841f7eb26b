// The CUDA engine's operations from band to tridiagonal form and back (BandOps), by the kernels in chase_kernel.h.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/batch.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/band_ops.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/check.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/reflectors.h"

namespace jaxmg::cuda {

class CudaBandOps {
 public:
  explicit CudaBandOps(Lanes& lanes) : lanes_(lanes) {}

  // Half-bandwidths for which kernels exist.
  template <class T>
  static std::vector<std::int64_t> bandwidths() {
    if constexpr (sizeof(T) == 16) {
      return {32};  // wider blocks do not fit into registers
    } else {
      return {32, 64};
    }
  }

  template <class T>
  void chase(Lane lane, MatrixView<T> band, const Reflectors<T>& reflectors, std::int32_t* progress, Real<T>* d,
             Real<T>* e, std::int32_t* info) {
    if (reflectors.n == 0) return;
    const int n = checked_int(reflectors.n, "n"), ld = checked_int(band.ld, "ld");
    const cudaStream_t stream = lanes_.stream(lane);
    if (n > 2) {
      const CUkernel chase = band_kernel<"chase_32", "chase_64", T>(reflectors.b);
      JAXMG_CHECK(cudaMemsetAsync(progress, 0, static_cast<std::size_t>(n) * sizeof(int), stream));
      launch_cooperative(chase, {std::min(n - 2, blocks_at_once(chase, chase_threads)), chase_threads}, 0, stream,
                         Chase{band.data, reflectors.data, progress, info, n, checked_int(reflectors.first, "first"),
                               checked_int(reflectors.sweeps, "sweeps")});
    }
    launch(kernel<"real_tridiagonal", T>(), {1, 256}, stream, band.data, ld, n, d, e, reflectors.phases);
  }

  template <class T>
  void form_diamonds(Lane lane, const Reflectors<T>& reflectors, const std::vector<Wave>& waves, int levels,
                     Batch<T> parts) {
    const CUkernel form_diamonds = band_kernel<"form_diamonds_32", "form_diamonds_64", T>(reflectors.b);
    DiamondBatch batch{};
    batch.reflectors = reflectors.data;
    batch.q = parts.first.data;
    batch.skipped = reflectors.skipped;
    batch.levels = levels;
    batch.n = checked_int(reflectors.n, "n");
    int used = 0;
    std::int64_t next = 0;
    for (std::size_t w = 0; w < waves.size(); ++w) {
      batch.g[used] = static_cast<int>(waves[w].g);
      batch.t[used] = static_cast<int>(waves[w].t);
      batch.count[used] = static_cast<int>(waves[w].count);
      batch.first[used++] = next;
      next += waves[w].count << (2 * levels);
      if (used == diamond_waves || w + 1 == waves.size()) {
        const int longest = *std::max_element(batch.count, batch.count + used) << (2 * levels);
        launch(form_diamonds, {longest, static_cast<unsigned>(8 * reflectors.b), used}, lanes_.stream(lane), batch);
        used = 0;
      }
    }
  }

  template <class T>
  void multiply_each(Lane lane, Batch<T> a, Batch<T> b, Batch<T> c) {
    if (c.first.empty() || c.count == 0) return;
    JAXMG_CHECK(multiply_batched(lanes_.blas(lane), checked_int(c.first.rows, "m"), checked_int(c.first.columns, "n"),
                                 checked_int(a.first.columns, "k"), a.first.data, leading(a.first), a.stride,
                                 b.first.data, leading(b.first), b.stride, c.first.data, leading(c.first), c.stride,
                                 checked_int(c.count, "count")));
  }

  template <class T>
  void merge_corners(Lane lane, Batch<T> parts, Batch<T> q, Batch<T> y) {
    if (q.count == 0) return;
    const int h = checked_int(parts.first.rows / 2, "h");
    launch(kernel<"merge_corners", T>(), {q.count, 256, std::max(1, h * h / 4096)}, lanes_.stream(lane),
           parts.first.data, q.first.data, y.first.data, h);
  }

  template <class T>
  void scale_rows(Lane lane, MatrixView<T> factors, MatrixView<T> a) {
    if (a.empty()) return;
    launch(kernel<"scale_rows", T>(), grid_for(a.rows * a.columns, 256), lanes_.stream(lane), factors.data, a.data,
           a.ld, checked_int(a.rows, "rows"), checked_int(a.columns, "columns"));
  }

 private:
  // The kernel for half-bandwidth b.
  template <KernelName narrow, KernelName wide, class T>
  static CUkernel band_kernel(std::int64_t b) {
    const auto supported = bandwidths<T>();
    if (std::find(supported.begin(), supported.end(), b) == supported.end()) {
      throw Error(ErrorCode::internal, "no kernel is compiled for half-bandwidth " + std::to_string(b));
    }
    return b == 32 ? kernel<narrow, T>() : kernel<wide, T>();
  }

  // Thread blocks that the current device runs at once.
  static int blocks_at_once(CUkernel kernel, int threads) {
    int device = 0, multiprocessors = 0, blocks = 0;
    JAXMG_CHECK(cudaGetDevice(&device));
    JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    JAXMG_CHECK(
        Driver::instance().occupancy_max_active_blocks(&blocks, reinterpret_cast<CUfunction>(kernel), threads, 0));
    return blocks * multiprocessors;
  }

  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
