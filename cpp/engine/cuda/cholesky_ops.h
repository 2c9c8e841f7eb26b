// The CUDA engine's operations of Cholesky factorisations (CholeskyOps): kernels, and cuSOLVERDn for large orders. Also
// products with Hermitian matrices (HermitianProductOps).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/ceil_div.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cholesky_ops.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/check.h"
#include "engine/cuda/diagonal_blocks.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/hermitian_product_ops.h"
#include "layout/tile_columns.h"

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

  // One launch: the elements lie in different pages of memory, and a thread block alone would wait long for each tile.
  template <class T>
  void check_diagonal(Lane lane, const TileColumns& layout, int rank, MatrixView<T> l, std::int32_t* info) {
    if (l.empty()) return;
    launch(kernel<"check_diagonal", Real<T>>(), grid_for(layout.shard(), 64), lanes_.stream(lane), l.data,
           static_cast<long long>(l.ld) * reals<T>, reals<T>, checked_int(layout.order(), "n"),
           checked_int(layout.shard(), "the shard"), checked_int(layout.tile(), "the tile"),
           checked_int(layout.full_slots(), "full tiles"), layout.ranks(), rank, info);
  }

  template <class T>
  void hermitian_product(Lane lane, std::int64_t first, MatrixView<T> a, MatrixView<T> x, MatrixView<T> y,
                         const HermitianProductWorkspace<T>& w) {
    if (a.rows == 0) return;
    const HermitianProduct p{a.data,
                             a.ld,
                             x.data,
                             y.data,
                             w.of_rows.data,
                             w.of_columns.data,
                             checked_int(a.rows, "n"),
                             checked_int(first, "the first column"),
                             checked_int(a.columns, "columns")};
    const std::int64_t strips = hermitian_strips(a.rows, hermitian_strip<sizeof(T)>);
    const cudaStream_t stream = lanes_.stream(lane);
    if (a.columns > 0) {
      constexpr std::int64_t shared = hermitian_threads / 32 * hermitian_strip<sizeof(T)> * std::int64_t{sizeof(T)};
      launch(kernel<"hermitian_sums", T>(), {strips, hermitian_threads, hermitian_chunks(a.columns), shared}, stream,
             p);
    }
    launch(kernel<"add_hermitian_sums", T>(), {ceil_div(a.rows, std::int64_t{32}), hermitian_threads}, stream, p);
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
