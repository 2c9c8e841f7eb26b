// The CUDA engine's operations of symmetric tridiagonal eigenproblems (TridiagonalOps), by the kernels in
// tridiagonal_kernels.h.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/matrix_view.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/engine.h"
#include "engine/secular.h"
#include "engine/tridiagonal.h"
#include "engine/tridiagonal_ops.h"

namespace jaxmg::cuda {

class CudaTridiagonalOps {
 public:
  explicit CudaTridiagonalOps(Lanes& lanes) : lanes_(lanes) {}

  // A warp solves a leaf, and its shared memory limits the size.
  static constexpr std::int64_t leaf_rows = largest_leaf;

  template <class R>
  void solve_leaves(Lane lane, Halving leaves, R* d, const R* e, std::int64_t row, MatrixView<R> q,
                    std::int32_t* info) {
    if (q.empty()) return;
    const std::int64_t first = leaves.part_of(row), last = leaves.part_of(row + q.rows - 1);
    launch(kernel<"solve_leaves", R>(), {last - first + 1, 32}, lanes_.stream(lane), leaves, first, d, e, row, q.rows,
           q.data, q.ld, info);
  }

  template <class R>
  void take_cut_rows(Lane lane, Halving merges, std::int64_t row, MatrixView<R> q, std::int64_t first,
                     std::int64_t count, R* z) {
    if (count == 0) return;
    launch(kernel<"take_cut_rows", R>(), {(count + 255) / 256, 256}, lanes_.stream(lane), merges, row, q.data, q.ld,
           first, count, z);
  }

  template <class R>
  void rotate_columns(Lane lane, Halving merges, const ColumnChains<R>& chains, std::int64_t row, MatrixView<R> from,
                      MatrixView<R> to) {
    if (from.empty() || chains.count == 0) return;
    launch(kernel<"rotate_columns", R>(), grid_of_rows(chains.count, merges, from.rows), lanes_.stream(lane), merges,
           chains, row, from.rows, from.data, from.ld, to.data, to.ld);
  }

  template <class R>
  void solve_secular(Lane lane, const MergeLevel<R>& level, std::int64_t first, std::int64_t count,
                     std::int32_t* info) {
    if (count > 0)
      launch(kernel<"solve_secular", R>(), grid_of_warps(count), lanes_.stream(lane), level, first, count, info);
  }

  template <class R>
  void adapt_weights(Lane lane, const MergeLevel<R>& level, std::int64_t first, std::int64_t count) {
    if (count > 0) launch(kernel<"adapt_weights", R>(), grid_of_warps(count), lanes_.stream(lane), level, first, count);
  }

  template <class R>
  void keep_deflated(Lane lane, const MergeLevel<R>& level, std::int64_t row, MatrixView<R> from, MatrixView<R> to) {
    if (from.empty()) return;
    const Halving& merges = level.merges;
    const std::int64_t first = merges.begin(merges.part_of(row));
    const std::int64_t end = merges.end(merges.part_of(row + from.rows - 1));
    launch(kernel<"keep_deflated", R>(), grid_of_rows(end - first, merges, from.rows), lanes_.stream(lane), level,
           first, row, from.rows, from.data, from.ld, to.data, to.ld);
  }

  template <class R>
  void secular_vectors(Lane lane, const MergeLevel<R>& level, std::int64_t first, MatrixView<R> s) {
    if (s.empty()) return;
    const unsigned threads = s.rows <= 128 ? 32 : s.rows <= 1024 ? 128 : 256;
    launch(kernel<"secular_vectors", R>(), {s.columns, threads}, lanes_.stream(lane), level, first, s.data, s.ld);
  }

  template <class R>
  void bisect(Lane lane, std::int64_t n, const R* d, const R* squares, R low, R high, std::int64_t first,
              MatrixView<R> w) {
    if (w.empty()) return;
    launch(kernel<"bisect", R>(), {(w.columns + 31) / 32, 128}, lanes_.stream(lane), n, d, squares, low, high, first,
           w.columns, w.data, w.ld);
  }

 private:
  // A warp for each of `count` numbers.
  static Grid grid_of_warps(std::int64_t count) { return {(count + 3) / 4, 128}; }

  // A thread block in x for each of `count` columns or chains. Blocks in y cover the rows of the longest part, with
  // whole warps and at most 256 threads.
  static Grid grid_of_rows(std::int64_t count, Halving parts, std::int64_t own_rows) {
    const std::int64_t longest = (parts.n + parts.parts - 1) / parts.parts, rows = std::min(longest, own_rows);
    const std::int64_t threads = std::min<std::int64_t>(256, (rows + 31) / 32 * 32);
    return {count, static_cast<unsigned>(threads), (rows + threads - 1) / threads};
  }

  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
