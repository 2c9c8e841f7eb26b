// The CUDA engine's operations of Cholesky factorisations (CholeskyOps): kernels, and cuSOLVERDn for large orders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cholesky_ops.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/check.h"
#include "engine/cuda/diagonal_blocks.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"

namespace jaxmg::cuda {

class CudaCholeskyOps {
 public:
  // `workspace` is for potrf, of `workspace_bytes`.
  CudaCholeskyOps(Lanes& lanes, std::byte* workspace, std::int64_t workspace_bytes)
      : lanes_(lanes), workspace_(workspace), workspace_bytes_(workspace_bytes) {}

  template <class T>
  void potrf(Lane lane, MatrixView<T> a, std::int32_t* failed) {
    if (a.empty()) return;
    if (a.rows <= largest_own_potrf<T>) {
      check_workspace(a.rows, progress_bytes<T>(a.rows));
      own_potrf(lanes_.stream(lane), a, failed, workspace_);
      return;
    }
    const int n = checked_int(a.rows, "n"), lda = leading(a);
    cusolverDnHandle_t solver = lanes_.solver(lane);
    int elements = 0;
    JAXMG_CHECK(potrf_buffer_size(solver, n, a.data, lda, &elements));
    check_workspace(n, elements * static_cast<std::int64_t>(sizeof(T)));
    JAXMG_CHECK(cuda::potrf(solver, n, a.data, lda, reinterpret_cast<T*>(workspace_), elements, failed));
  }

  template <class T>
  void check_factor(Lane lane, MatrixView<T> l, const std::int32_t* failed, std::int64_t row, std::int32_t* info) {
    if (l.empty()) return;
    launch(kernel<"check_factor", Real<T>>(), {1, 1024}, lanes_.stream(lane), l.data, (l.ld + 1) * reals<T>,
           checked_int(l.rows, "n"), checked_int(row, "row"), failed, info);
  }

 private:
  void check_workspace(std::int64_t n, std::int64_t bytes) const {
    if (bytes <= workspace_bytes_) return;
    throw Error(ErrorCode::internal, "potrf of order " + std::to_string(n) + " needs " + std::to_string(bytes) +
                                         " bytes of workspace, but " + std::to_string(workspace_bytes_) +
                                         " were planned");
  }

  Lanes& lanes_;
  std::byte* workspace_;
  std::int64_t workspace_bytes_;
};

}  // namespace jaxmg::cuda
