// The CUDA engine's QR factorisation of panels (PanelQrOps), by the kernel in geqrt_kernel.h.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

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
  explicit CudaPanelQrOps(const Lanes& lanes) : lanes_(lanes) {}

  template <class T>
  void geqrt(Lane lane, MatrixView<T> a, MatrixView<T> t, T* scratch) {
    if (a.empty()) return;
    PanelQr q{};
    q.a = a.data;
    q.ld = a.ld;
    q.t = t.data;
    q.ldt = t.ld;
    q.scratch = scratch;
    q.m = checked_int(a.rows, "m");
    q.n = checked_int(a.columns, "n");
    const Shape shape(q, sizeof(T));
    q.rows = shape.rows;
    q.in_shared = shape.in_shared ? 1 : 0;
    q.arrived = reinterpret_cast<unsigned*>(scratch + 2 * q.n * (shape.blocks + 1));
    const cudaStream_t stream = lanes_.stream(lane);
    JAXMG_CHECK(cudaMemsetAsync(q.arrived, 0, sizeof(unsigned), stream));
    const CUkernel geqrt = kernel<"geqrt", T>();
    // The same value for panels of all shapes: a smaller one would make a launch by another thread fail.
    JAXMG_CHECK(Driver::instance().kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                        static_cast<int>(shape.most_shared_bytes), geqrt,
                                                        shape.device));
    launch_cooperative(geqrt, {shape.blocks, 512}, shape.shared_bytes, stream, q);
  }

 private:
  // Division of the rows of a panel among thread blocks.
  struct Shape {
    int device = 0;
    int rows;        // of a thread block
    bool in_shared;  // whether these rows fit into shared memory, beside two columns
    std::int64_t blocks, shared_bytes, most_shared_bytes;

    Shape(const PanelQr& q, std::int64_t scalar_bytes) {
      if (q.n > qr_columns) {
        throw Error(ErrorCode::invalid_argument, "a panel of " + std::to_string(q.n) +
                                                     " columns is too wide: panels have at most " +
                                                     std::to_string(qr_columns));
      }
      int multiprocessors = 0, shared = 0;
      JAXMG_CHECK(cudaGetDevice(&device));
      JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
      JAXMG_CHECK(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
      const std::int64_t most = std::min<std::int64_t>(multiprocessors, geqrt_blocks);
      // The kernel's own arrays are three numbers a column.
      const std::int64_t budget = shared - 3 * qr_columns * scalar_bytes - 1024;
      most_shared_bytes = budget;
      const std::int64_t fitting = budget / (scalar_bytes * (q.n + 2)) / 32 * 32;
      // Use half of the multiprocessors, and leave the other half to concurrent updates. A block takes more rows than
      // fit into shared memory only if all blocks must.
      const auto rows_of = [&](std::int64_t count) { return (q.m + 32 * count - 1) / (32 * count) * 32; };
      const std::int64_t each =
          std::max(std::clamp<std::int64_t>(rows_of(most / 2), 64, std::max<std::int64_t>(64, fitting)), rows_of(most));
      rows = checked_int(each, "rows");
      in_shared = each <= fitting;
      blocks = (q.m + each - 1) / each;
      shared_bytes = each * scalar_bytes * (in_shared ? q.n + 2 : 2);
      if (shared_bytes > budget) {
        throw Error(ErrorCode::invalid_argument,
                    "a panel of " + std::to_string(q.m) + " rows is too tall for this GPU");
      }
    }
  };

  const Lanes& lanes_;
};

}  // namespace jaxmg::cuda
