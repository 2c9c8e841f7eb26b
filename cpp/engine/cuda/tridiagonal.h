// The CUDA engine's part in symmetric tridiagonal eigenproblems, see TridiagonalEngine.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/check.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/transport.h"
#include "engine/engine.h"
#include "engine/secular.h"
#include "engine/tridiagonal.h"
#include "engine/tridiagonal_ops.h"

namespace jaxmg::cuda {

class CudaTridiagonal {
 public:
  CudaTridiagonal(const Lanes& lanes, Transport& transport) : lanes_(lanes), transport_(transport) {}

  // What the lane still does may wait for other ranks. That they are gone is noticed by the transport, not by a call of
  // CUDA, so that has the first turn.
  template <class T>
  void fetch(Lane lane, const T* from, std::int64_t count, T* to) {
    if (count == 0) return;
    const cudaStream_t stream = lanes_.stream(lane);
    transport_.complete(stream);
    JAXMG_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost, stream));
    JAXMG_CHECK(cudaStreamSynchronize(stream));
  }

  // Pageable memory has been read when the call returns.
  template <class T>
  void store(Lane lane, const T* from, std::int64_t count, T* to) {
    if (count == 0) return;
    const cudaStream_t stream = lanes_.stream(lane);
    JAXMG_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyHostToDevice, stream));
  }

  // A warp solves a leaf; what it holds in shared memory sets the limit.
  static constexpr std::int64_t leaf_rows = largest_leaf;

  template <class R>
  void solve_leaves(Lane lane, Halving leaves, R* d, const R* e, std::int64_t row, MatrixView<R> q,
                    std::int32_t* info) {
    if (q.empty()) return;
    const std::int64_t first = leaves.part_of(row), last = leaves.part_of(row + q.rows - 1);
    launch_solve_leaves(leaves, first, last - first + 1, d, e, row, q, info, lanes_.stream(lane));
  }

  template <class R>
  void take_cut_rows(Lane lane, Halving merges, std::int64_t row, MatrixView<R> q, std::int64_t first,
                     std::int64_t count, R* z) {
    if (count > 0) launch_take_cut_rows(merges, row, q, first, count, z, lanes_.stream(lane));
  }

  template <class R>
  void rotate_columns(Lane lane, Halving merges, const ColumnChains<R>& chains, std::int64_t row, MatrixView<R> from,
                      MatrixView<R> to) {
    if (!from.empty() && chains.count > 0) launch_rotate_columns(merges, chains, row, from, to, lanes_.stream(lane));
  }

  template <class R>
  void solve_secular(Lane lane, const MergeLevel<R>& level, std::int64_t first, std::int64_t count,
                     std::int32_t* info) {
    if (count > 0) launch_solve_secular(level, first, count, info, lanes_.stream(lane));
  }

  template <class R>
  void adapt_weights(Lane lane, const MergeLevel<R>& level, std::int64_t first, std::int64_t count) {
    if (count > 0) launch_adapt_weights(level, first, count, lanes_.stream(lane));
  }

  template <class R>
  void keep_deflated(Lane lane, const MergeLevel<R>& level, std::int64_t row, MatrixView<R> from, MatrixView<R> to) {
    if (from.empty()) return;
    const Halving& merges = level.merges;
    const std::int64_t column = merges.begin(merges.part_of(row));
    const std::int64_t end = merges.end(merges.part_of(row + from.rows - 1));
    launch_keep_deflated(level, column, end - column, row, from, to, lanes_.stream(lane));
  }

  template <class R>
  void secular_vectors(Lane lane, const MergeLevel<R>& level, std::int64_t first, MatrixView<R> s) {
    if (!s.empty()) launch_secular_vectors(level, first, s, lanes_.stream(lane));
  }

  template <class R>
  void bisect(Lane lane, std::int64_t n, const R* d, const R* squares, R low, R high, std::int64_t first,
              MatrixView<R> w) {
    if (!w.empty()) launch_bisect(n, d, squares, low, high, first, w, lanes_.stream(lane));
  }

  template <class T>
  void widen(Lane lane, MatrixView<Real<T>> from, MatrixView<T> to) {
    static_assert(is_complex<T>, "a real matrix is copied");
    if (!from.empty()) launch_widen(from, reinterpret_cast<Real<T>*>(to.data), to.ld, lanes_.stream(lane));
  }

 private:
  const Lanes& lanes_;
  Transport& transport_;
};

}  // namespace jaxmg::cuda
