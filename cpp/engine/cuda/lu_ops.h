// The CUDA engine's operations of LU factorisations (LuOps): kernels and, for wide or very tall matrices, cuSOLVERDn.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/arena.h"
#include "core/ceil_div.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/row_chunks.h"
#include "core/scalar.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/check.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/lu_ops.h"
#include "engine/scratch.h"

namespace jaxmg::cuda {

class CudaLuOps {
 public:
  explicit CudaLuOps(Lanes& lanes) : lanes_(lanes) {}

  template <class T>
  void getrf(Lane lane, MatrixView<T> a, std::int64_t row, std::int32_t* pivots, std::byte* scratch) {
    if (a.empty()) return;
    Arena arena(scratch, getrf_scratch_bytes(a.rows, a.columns));
    if (a.columns <= columns_at_once<T> && a.rows <= rows_at_once()) {
      getrf_by_kernel(lane, a, row, pivots, arena);
    } else {
      getrf_by_cusolver(lane, a, row, pivots, arena);
    }
  }

  // Taller panels are cuSOLVER's, which takes 1.96 ms for 65536 x 256 and 4.94 ms for 65536 x 512 (H100, f64): halves,
  // with what is between them, are faster.
  template <class T>
  std::int64_t getrf_columns(std::int64_t rows) const {
    return rows <= rows_at_once() ? columns_at_once<T> : 256;
  }

  void plan_interchanges(Lane lane, const std::int32_t* pivots, std::int64_t row, std::int64_t count, std::int64_t rows,
                         RowMoves* moves) {
    if (count == 0) return;
    launch(kernel<"plan_interchanges">(), {ceil_div(count, interchange_chunk), interchange_chunk}, lanes_.stream(lane),
           pivots, checked_int(row, "row"), checked_int(count, "pivots"), checked_int(rows, "rows"), moves);
  }

  template <class T>
  void interchange(Lane lane, Interchanges direction, const RowMoves* moves, std::int64_t count, std::int64_t row,
                   MatrixView<T> a) {
    if (a.empty() || count == 0) return;
    const int undone = direction == Interchanges::undone ? 1 : 0;
    launch(kernel<"interchange", T>(), over_batches(ceil_div(a.columns, 4), count), lanes_.stream(lane), undone, moves,
           checked_int(count, "pivots"), a.data - row, a.ld, checked_int(a.columns, "columns"));
  }

  template <class T>
  void interchange_beside(Lane lane, const std::int32_t* pivots, std::int64_t row, std::int64_t first,
                          std::int64_t count, MatrixView<T> a) {
    if (a.empty() || count == 0 || count == a.columns) return;
    launch(kernel<"interchange_beside", T>(),
           over_batches(ceil_div(first, 4) + ceil_div(a.columns - first - count, 4), count), lanes_.stream(lane),
           pivots, checked_int(row, "row"), checked_int(first, "first"), checked_int(count, "pivots"), a.data, a.ld,
           checked_int(a.rows, "rows"), checked_int(a.columns, "columns"));
  }

  template <class T>
  void interchange_chunks(Lane lane, const RowMoves* moves, std::int64_t count, std::int64_t row, RowChunks<T> a,
                          std::int64_t columns) {
    if (count == 0 || columns == 0) return;
    launch(kernel<"interchange_chunks", T>(), over_batches(ceil_div(columns, 4), count), lanes_.stream(lane), moves,
           checked_int(count, "pivots"), checked_int(row, "row"), a.data, checked_int(a.rows, "rows"),
           checked_int(a.columns, "columns"), checked_int(a.chunk, "chunk"), checked_int(columns, "columns"));
  }

  void number(Lane lane, std::int64_t count, std::int32_t* places) {
    launch(kernel<"number">(), grid_for(count, 256), lanes_.stream(lane), places, checked_int(count, "rows"));
  }

  void place(Lane lane, const RowMoves* moves, std::int64_t count, std::int32_t* places) {
    if (count == 0) return;
    launch(kernel<"place">(), {1, interchange_chunk}, lanes_.stream(lane), moves, checked_int(count, "pivots"), places);
  }

  void invert(Lane lane, const std::int32_t* places, std::int64_t row, std::int64_t count, std::int32_t* origins) {
    if (count == 0) return;
    launch(kernel<"invert">(), grid_for(count, 256), lanes_.stream(lane), places, checked_int(row, "row"),
           checked_int(row + count, "rows"), origins);
  }

  // Thread blocks take a few columns at a time, whose numbers stay in the cache: a number is read with its neighbours.
  template <class T>
  void gather_rows(Lane lane, MatrixView<T> from, const std::int32_t* origins, std::int64_t row, MatrixView<T> to) {
    if (to.empty()) return;
    constexpr unsigned threads = 256;
    Grid grid{ceil_div(to.rows, 8 * threads), threads};
    grid.y = std::min<std::int64_t>(to.columns, 65535);
    launch(kernel<"gather_rows", T>(), grid, lanes_.stream(lane), from.data - row, from.ld, origins + row, to.data,
           to.ld, checked_int(to.rows, "rows"), checked_int(to.columns, "columns"));
  }

  template <class T>
  void gather_columns(Lane lane, MatrixView<T> from, const std::int32_t* places, MatrixView<T> to) {
    if (to.empty()) return;
    launch(kernel<"gather_columns", T>(), grid_of_columns(to.columns, 256), lanes_.stream(lane), from.data, from.ld,
           places, to.data, to.ld, checked_int(to.rows, "rows"), checked_int(to.columns, "columns"));
  }

  template <class T>
  void check_pivots(Lane lane, MatrixView<T> a, std::int64_t row, std::int32_t* info) {
    if (a.empty()) return;
    launch(kernel<"check_pivots", T>(), {1, 1024}, lanes_.stream(lane), a.data, a.ld + 1,
           checked_int(std::min(a.rows, a.columns), "n"), checked_int(row, "row"), info);
  }

  template <class T>
  void conjugate(Lane lane, MatrixView<T> a) {
    if constexpr (is_complex<T>) {
      if (a.empty()) return;
      launch(kernel<"conjugate", T>(), over_rows(a), lanes_.stream(lane), a.data, a.ld, checked_int(a.rows, "rows"),
             checked_int(a.columns, "columns"));
    }
  }

 private:
  // Of the kernel in getrf_kernel.h: a thread block on each multiprocessor, at most.
  template <class T>
  static constexpr std::int64_t columns_at_once = sizeof(T) == 16 ? lu_columns / 2 : lu_columns;
  static std::int64_t blocks_at_once() {
    int device = 0, multiprocessors = 0;
    JAXMG_CHECK(cudaGetDevice(&device));
    JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
    return std::min(multiprocessors, lu_blocks);
  }
  static std::int64_t rows_at_once() { return blocks_at_once() * lu_threads; }

  // Threads of a block. Small blocks agree on their candidates sooner, and leave more of a multiprocessor to concurrent
  // updates. A 4096 x 32 panel takes 63, 70 and 79 us with 128, 256 and 512 threads, and a 16384 x 32 one 73, 73 and 85
  // us (H100, f64).
  static unsigned threads_for(std::int64_t rows) {
    unsigned threads = 128;
    while (threads < lu_threads && rows > blocks_at_once() / 2 * threads) threads *= 2;
    return threads;
  }

  template <class T>
  void getrf_by_kernel(Lane lane, MatrixView<T> a, std::int64_t row, std::int32_t* pivots, Arena& arena) {
    const unsigned threads = threads_for(a.rows);
    const std::int64_t blocks = ceil_div(a.rows, threads), bytes = lu_slots_bytes(blocks);
    PanelLu p{};
    p.a = a.data;
    p.ld = a.ld;
    p.slots = arena.take<std::byte>(bytes);
    p.pivots = pivots;
    p.m = checked_int(a.rows, "m");
    p.n = checked_int(a.columns, "n");
    p.row = checked_int(row, "row");
    const cudaStream_t stream = lanes_.stream(lane);
    JAXMG_CHECK(cudaMemsetAsync(p.slots, 0, static_cast<std::size_t>(bytes), stream));
    launch_cooperative(kernel<"getrf", T>(), {blocks, threads}, 0, stream, p);
  }

  template <class T>
  void getrf_by_cusolver(Lane lane, MatrixView<T> a, std::int64_t row, std::int32_t* pivots, Arena& arena) {
    const int m = checked_int(a.rows, "m"), n = checked_int(a.columns, "n"), lda = leading(a);
    cusolverDnHandle_t solver = lanes_.solver(lane);
    int elements = 0;
    JAXMG_CHECK(getrf_buffer_size(solver, m, n, a.data, lda, &elements));
    auto* const info = arena.take<std::int32_t>(1);
    auto* const not_finite = arena.take<std::int32_t>(1);
    auto* const work = arena.take<T>(elements);  // throws if it is more than was planned
    // The library may find no pivot in a column with NaN, replace the column by zeros and report no failure.
    const cudaStream_t stream = lanes_.stream(lane);
    JAXMG_CHECK(cudaMemsetAsync(not_finite, 0x7f, sizeof(std::int32_t), stream));
    launch(kernel<"find_not_finite", T>(), over_rows(a), stream, a.data, a.ld, m, n, not_finite);
    JAXMG_CHECK(cuda::getrf(solver, m, n, a.data, lda, work, pivots, info));
    launch(kernel<"spread_not_finite", T>(), {1, 256}, stream, not_finite, a.data, a.ld + 1, std::min(m, n));
    launch(kernel<"number_pivots">(), grid_for(n, 256), stream, pivots, checked_int(row, "row"), n, m);
  }

  // A thread block for each batch of columns, with a thread for each interchange of a chunk.
  static Grid over_batches(std::int64_t batches, std::int64_t count) {
    return grid_of_columns(batches,
                           static_cast<unsigned>(std::min<std::int64_t>(interchange_chunk, ceil_div(count, 32) * 32)));
  }

  // A row of thread blocks for each column, and more where columns are few or long.
  template <class T>
  static Grid over_rows(MatrixView<T> a) {
    Grid grid = grid_of_columns(a.columns, 256);
    grid.y = std::clamp<std::int64_t>(a.rows / 2048, 1, 64);
    return grid;
  }

  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
