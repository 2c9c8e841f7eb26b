// The CUDA engine's QR factorisation of panels and two-sided updates (PanelQrOps), by the kernels in geqrt_kernel.h and
// two_sided_kernel.h.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/ceil_div.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "engine/cuda/check.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/panel_qr_ops.h"
#include "engine/scratch.h"

namespace jaxmg::cuda {

class CudaPanelQrOps {
 public:
  explicit CudaPanelQrOps(Lanes& lanes) : lanes_(lanes) {}

  // CholeskyQR of narrow panels takes at most `passes`, before the kernel goes on column by column.
  template <class T>
  void geqrt(Lane lane, MatrixView<T> a, MatrixView<T> t, T* scratch, int passes = most_passes) {
    if (a.empty()) return;
    PanelQr q{};
    q.a = a.data;
    q.ld = a.ld;
    q.t = t.data;
    q.ldt = t.ld;
    q.scratch = scratch;
    q.m = checked_int(a.rows, "m");
    q.n = checked_int(a.columns, "n");
    const bool narrow = q.n >= fewest_gram_columns && q.n <= gram_columns<sizeof(T)> && q.m >= q.n;
    Shape<T> shape(q, narrow && passes > 0);
    if (!shape.in_shared) shape = Shape<T>(q, false);
    q.rows = shape.rows;
    q.in_shared = shape.in_shared ? 1 : 0;
    q.passes = shape.gram ? passes : 0;
    q.arrived = reinterpret_cast<unsigned*>(scratch + geqrt_scratch(q.n) - 16);
    const cudaStream_t stream = lanes_.stream(lane);
    JAXMG_CHECK(cudaMemsetAsync(q.arrived, 0, sizeof(unsigned), stream));
    const CUkernel geqrt = kernel<"geqrt", T>();
    // The same value for panels of all shapes: a smaller one would make a launch by another thread fail.
    JAXMG_CHECK(Driver::instance().kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                        static_cast<int>(shape.most_shared_bytes), geqrt,
                                                        shape.device));
    launch_cooperative(geqrt, {shape.blocks, qr_threads}, shape.shared_bytes, stream, q);
  }

  template <class T>
  void two_sided(Lane lane, MatrixView<T> v, MatrixView<T> t, MatrixView<T> w, T* scratch) {
    if (w.empty()) return;
    TwoSided q{};
    q.v = v.data;
    q.ldv = v.ld;
    q.t = t.data;
    q.ldt = t.ld;
    q.w = w.data;
    q.ldw = w.ld;
    q.scratch = scratch;
    q.arrived = reinterpret_cast<unsigned*>(scratch + two_sided_scratch(w.columns) - 16);
    q.m = checked_int(w.rows, "m");
    q.n = checked_int(w.columns, "n");
    const Multiprocessors device;
    const auto bytes = [&](int rows) { return static_cast<std::int64_t>(sizeof(T)) * two_sided_shared(q.n, rows); };
    q.rows = 8;
    if (q.n > two_sided_columns || bytes(q.rows) > device.shared_bytes) {
      throw Error(ErrorCode::internal, "a two-sided update of " + std::to_string(q.n) + " columns is too wide");
    }
    // Small chunks where there are multiprocessors for all.
    while (q.rows < 128 && bytes(2 * q.rows) <= device.shared_bytes && (q.rows < 64 || q.m > q.rows * device.count)) {
      q.rows *= 2;
    }
    const cudaStream_t stream = lanes_.stream(lane);
    JAXMG_CHECK(cudaMemsetAsync(q.arrived, 0, sizeof(unsigned), stream));
    const CUkernel two_sided = kernel<"two_sided", T>();
    JAXMG_CHECK(Driver::instance().kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                        static_cast<int>(device.shared_bytes), two_sided, device.id));
    launch_cooperative(two_sided, {std::min(ceil_div(q.m, q.rows), device.count), qr_threads}, bytes(q.rows), stream,
                       q);
  }

  // CholeskyQR takes as many columns as it can, if their rows fit into the shared memory of all multiprocessors.
  template <class T>
  std::int64_t geqrt_columns(std::int64_t rows) const {
    PanelQr q{};
    q.m = checked_int(rows, "m");
    q.n = gram_columns<sizeof(T)>;
    return rows >= q.n && Shape<T>(q, true).in_shared ? q.n : least_geqrt_columns;
  }

 private:
  // Ordinary panels take two passes, and singular ones up to five.
  static constexpr int most_passes = 8;
  // Fewer columns take less time one by one.
  static constexpr int fewest_gram_columns = 12;

  // Of the current device: thread blocks that cooperate, and the shared memory of one.
  struct Multiprocessors {
    int id = 0;
    std::int64_t count, shared_bytes;

    Multiprocessors() {
      int multiprocessors = 0, shared = 0;
      JAXMG_CHECK(cudaGetDevice(&id));
      JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, id));
      JAXMG_CHECK(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, id));
      count = std::min<std::int64_t>(multiprocessors, geqrt_blocks);
      shared_bytes = shared - 1024;
    }
  };

  // Division of the rows of a panel among thread blocks.
  template <class T>
  struct Shape {
    int device;
    int rows;        // of a thread block
    bool in_shared;  // whether these rows fit into shared memory, beside two columns and what CholeskyQR takes
    bool gram;       // with room for CholeskyQR
    std::int64_t blocks, shared_bytes, most_shared_bytes;

    Shape(const PanelQr& q, bool with_gram) : gram(with_gram) {
      constexpr std::int64_t scalar_bytes = sizeof(T);
      if (q.n > qr_columns) {
        throw Error(ErrorCode::invalid_argument, "a panel of " + std::to_string(q.n) +
                                                     " columns is too wide: panels have at most " +
                                                     std::to_string(qr_columns));
      }
      const Multiprocessors multiprocessors;
      device = multiprocessors.id;
      const std::int64_t most = multiprocessors.count;
      // The kernel's own arrays are three numbers a column, and five a column for CholeskyQR.
      const std::int64_t budget =
          multiprocessors.shared_bytes - scalar_bytes * (3 * qr_columns + 5 * gram_columns<scalar_bytes>);
      most_shared_bytes = budget;
      const std::int64_t beside = gram ? gram_shared<scalar_bytes>(q.n) : 0;
      // Numbers of a block with this many rows, and the rows for which there is room.
      const auto numbers = [&](std::int64_t count) {
        return 2 * count + q.n * panel_pitch(static_cast<int>(count)) + beside;
      };
      const std::int64_t fitting =
          std::max<std::int64_t>(0, (budget / scalar_bytes - beside - q.n * panel_pitch(0)) / (q.n + 2)) / 32 * 32;
      // Use half of the multiprocessors, and leave the other half to concurrent updates. A block takes more rows than
      // fit into shared memory only if all blocks must.
      const auto rows_of = [&](std::int64_t count) { return (q.m + 32 * count - 1) / (32 * count) * 32; };
      const std::int64_t each =
          std::max(std::clamp<std::int64_t>(rows_of(most / 2), 64, std::max<std::int64_t>(64, fitting)), rows_of(most));
      rows = checked_int(each, "rows");
      in_shared = each <= fitting;
      blocks = (q.m + each - 1) / each;
      shared_bytes = scalar_bytes * (in_shared ? numbers(each) : 2 * each);
      if (shared_bytes > budget) {
        throw Error(ErrorCode::invalid_argument,
                    "a panel of " + std::to_string(q.m) + " rows is too tall for this GPU");
      }
    }
  };

  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
