// The CUDA engine's operations from band to tridiagonal form and back (BandOps), by the kernels in chase_kernel.h and
// waves_kernel.h.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "core/batch.h"
#include "core/ceil_div.h"
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

  // Scalar types for which apply_waves() exists.
  template <class T>
  static constexpr bool applies_waves = std::is_same_v<T, double>;

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
  void apply_waves(Lane lane, const Reflectors<T>& reflectors, std::int64_t begin, std::int64_t end, T* blocks,
                   std::int32_t* progress, MatrixView<T> z) {
    if constexpr (!applies_waves<T>) {
      throw Error(ErrorCode::internal, "waves are applied in place in double precision only");
    } else {
      if (begin >= end || z.empty()) return;
      const DiamondGrid grid = reflectors.grid();
      WaveRange range{};
      range.reflectors = reflectors.data;
      range.blocks = blocks;
      range.z = z.data;
      range.ldz = z.ld;
      range.progress = progress;
      range.skipped = reflectors.skipped;
      range.first = grid.before(begin);
      range.n = checked_int(reflectors.n, "n");
      range.columns = checked_int(z.columns, "columns");
      range.begin = checked_int(begin, "begin");
      range.end = checked_int(end, "end");
      range.first_group = range.n;
      range.last_group = -1;
      for (std::int64_t w = begin; w < end; ++w) {
        const Wave wave = grid.wave(w);
        range.first_group = std::min(range.first_group, checked_int(wave.g, "group"));
        range.last_group = std::max(range.last_group, checked_int(wave.g + wave.count - 1, "group"));
      }
      range.aligned = z.ld % 2 == 0 && reinterpret_cast<std::uintptr_t>(z.data) % 16 == 0 ? 1 : 0;
      const std::int64_t slabs = ceil_div(z.columns, std::int64_t{waves_columns});
      const std::int64_t tasks = slabs * (range.last_group - range.first_group + 1);
      int device = 0, multiprocessors = 0, major = 0;
      JAXMG_CHECK(cudaGetDevice(&device));
      JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
      JAXMG_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
      range.depth = groups_together;
      range.width = std::max(1, multiprocessors / groups_together);
      const cudaStream_t stream = lanes_.stream(lane);
      JAXMG_CHECK(cudaMemsetAsync(progress, 0, sizeof(int) * static_cast<std::size_t>(1 + tasks * (waves_threads / 32)),
                                  stream));
      launch(band_kernel<"form_blocks_32", "form_blocks_64">(reflectors.b),
             {grid.before(end) - range.first, wy_sweeps * wy_sweeps, reflectors.b / wy_sweeps}, stream, range);
      const CUkernel apply = band_kernel<"apply_waves_32", "apply_waves_64">(reflectors.b);
      const int bytes = waves_shared_bytes(static_cast<int>(reflectors.b), major >= 9);
      JAXMG_CHECK(Driver::instance().kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes, apply,
                                                          device));
      launch(apply, {std::min<std::int64_t>(tasks, multiprocessors), waves_threads, 1, bytes}, stream, range);
    }
  }

  template <class T>
  void scale_rows(Lane lane, MatrixView<T> factors, MatrixView<T> a) {
    if (a.empty()) return;
    launch(kernel<"scale_rows", T>(), grid_for(a.rows * a.columns, 256), lanes_.stream(lane), factors.data, a.data,
           a.ld, checked_int(a.rows, "rows"), checked_int(a.columns, "columns"));
  }

 private:
  // Groups of sweeps that follow each other down a slab of Z. Rows pass from one to the next in the L2 cache: the more
  // groups, the fewer passes through the memory. One H100 takes 285, 286 and 287 ms with 2, 4 and 8 groups (n = 16384).
  static constexpr int groups_together = 2;

  // The kernel for half-bandwidth b: of scalars T, or for one type only.
  template <KernelName narrow, KernelName wide, class T>
  static CUkernel band_kernel(std::int64_t b) {
    check_bandwidth<T>(b);
    return b == 32 ? kernel<narrow, T>() : kernel<wide, T>();
  }
  template <KernelName narrow, KernelName wide>
  static CUkernel band_kernel(std::int64_t b) {
    check_bandwidth<double>(b);
    return b == 32 ? kernel<narrow>() : kernel<wide>();
  }
  template <class T>
  static void check_bandwidth(std::int64_t b) {
    const auto supported = bandwidths<T>();
    if (std::find(supported.begin(), supported.end(), b) != supported.end()) return;
    throw Error(ErrorCode::internal, "no kernel is compiled for half-bandwidth " + std::to_string(b));
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
