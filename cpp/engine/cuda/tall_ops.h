// The CUDA engine's operations on tall matrices (ResidualOps, RoundedGramOps).
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include "core/arithmetic.h"
#include "core/ceil_div.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/check.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/tall_ops.h"

namespace jaxmg::cuda {

class CudaTallOps {
 public:
  explicit CudaTallOps(Lanes& lanes) : lanes_(lanes) {}

  // By one kernel, which reads M once; of too many rows of M by two products.
  template <class T>
  void residual_products(Lane lane, MatrixView<T> m, MatrixView<T> x, MatrixView<T> w, MatrixView<T> r, T* scratch,
                         MatrixView<T> g) {
    CudaBlasOps blas(lanes_);
    if (m.empty() || x.empty()) {
      blas.zero(lane, g);
      return;
    }
    const std::int64_t threads = threads_for<T>(m.rows);
    if (threads > row_pass_threads || x.columns > most_vectors) {
      if (w.columns > 0 && w.data != r.data) blas.copy(lane, w, r.block(0, 0, r.rows, w.columns));
      blas.zero(lane, r.block(0, w.columns, r.rows, r.columns - w.columns));
      blas.gemm(lane, Op::conj_transpose, Op::none, T(-1), m, x, r);
      blas.product(lane, Op::none, Op::none, T(1), m, r, g.block(0, 0, m.rows, g.columns));
      // Norms alone: of a matrix without columns, R is the residual.
      pass(lane, m.block(0, 0, 0, m.columns), x.block(0, 0, 0, x.columns), r, {}, scratch,
           g.block(m.rows, 0, 1, g.columns));
    } else {
      pass(lane, m, x, w, r, scratch, g);
    }
  }

  template <std::same_as<float> T>
  void rounded_gram(Lane lane, const RoundedGramSizes& sizes, MatrixView<T> m, MatrixView<T> w, float* scales,
                    MatrixView<Half> halves, float* partials, MatrixView<T> gram, float* scratch, MatrixView<T> g) {
    const cudaStream_t stream = lanes_.stream(lane);
    const int n = checked_int(m.rows, "n");
    launch(kernel<"scales_for_half">(), {ceil_div(m.rows, std::int64_t{32}), 256}, stream, m.data, m.ld, m.columns, n,
           scales);
    const std::int64_t at_once = sizes.at_once();
    std::int64_t blocks = 0;
    for (std::int64_t row = 0; row < m.columns; row += at_once) {
      const std::int64_t count = std::min(at_once, m.columns - row);
      const auto of_w = w.block(w.columns > 0 ? row : 0, 0, count, w.columns);
      const std::int64_t used = round_rows(stream, m.block(0, row, m.rows, count), of_w, scales, halves,
                                           sizes.most_products(), row > 0, scratch);
      blocks = std::max(blocks, used);
      add_products(lane, sizes, halves, count, row > 0, partials);
    }
    if (w.columns > 0) {
      launch(kernel<"add_sums", T>(), {ceil_div(m.rows, std::int64_t{32}), 256}, stream, scratch,
             static_cast<int>(blocks), n, 1, g.data, g.ld);
    }
    for (std::int64_t j = 0; j < m.rows; j += sizes.width) {
      const std::int64_t height = m.rows - j, width = std::min(sizes.width, height);
      launch(kernel<"add_partials">(), grid_for(height * width, 256), stream, partials,
             static_cast<int>(sizes.products(j)), static_cast<int>(height), static_cast<int>(width), scales + j,
             gram.at(j, j), gram.ld);
      partials += sizes.products(j) * height * width;
    }
  }

 private:
  // More right-hand sides than kernels pass over the matrix for.
  static constexpr std::int64_t most_vectors = 2 * residual_vectors;

  // Threads of a block that passes over rows of n elements; more than row_pass_threads if it cannot.
  template <class T>
  static std::int64_t threads_for(std::int64_t n) {
    return std::max<std::int64_t>(1, ceil_div(n, std::int64_t{32} * row_pass_columns<sizeof(T)>)) * 32;
  }

  template <class T>
  void pass(Lane lane, MatrixView<T> m, MatrixView<T> x, MatrixView<T> w, MatrixView<T> r, T* scratch,
            MatrixView<T> g) {
    const std::int64_t threads = threads_for<T>(m.rows);
    const std::int64_t on_one = std::clamp<std::int64_t>(row_pass_threads / threads, 1, 4);
    const std::int64_t blocks = std::min(residual_blocks(m.columns), on_one * multiprocessors());
    for (std::int64_t first = 0; first < x.columns; first += residual_vectors) {
      const std::int64_t count = x.columns == 1 ? 1 : std::min(residual_vectors, x.columns - first);
      const auto to = g.block(0, first, g.rows, count);
      RowPass p{};
      p.a = m.data;
      p.ld = m.ld;
      p.x = x.at(0, first);
      p.ldx = x.ld;
      p.right = static_cast<int>(std::clamp<std::int64_t>(w.columns - first, 0, count));
      if (p.right > 0) p.w = w.at(0, first);
      p.ldw = w.ld;
      if (!r.empty()) p.r = r.at(0, first);
      p.ldr = r.ld;
      p.sums = scratch;
      p.m = m.columns;
      p.n = checked_int(m.rows, "n");
      p.columns = static_cast<int>(count);
      launch(x.columns == 1 ? kernel<"residual_products_1", T>() : kernel<"residual_products_4", T>(),
             {blocks, static_cast<unsigned>(threads)}, lanes_.stream(lane), p);
      launch(kernel<"add_sums", T>(), {ceil_div((m.rows + 1) * count, std::int64_t{32}), 256}, lanes_.stream(lane),
             scratch, static_cast<int>(blocks), p.n + 1, p.columns, to.data, to.ld);
    }
  }

  // The `beyond` rows after the last one become zero. With W, each thread block writes a sum of products with it, or
  // adds it to its earlier one; returns the number of thread blocks.
  std::int64_t round_rows(cudaStream_t stream, MatrixView<float> m, MatrixView<float> w, const float* scales,
                          MatrixView<Half> halves, std::int64_t beyond, bool adds, float* sums) {
    const std::int64_t vector = m.rows % 4 == 0 && m.ld % 4 == 0 ? 4 : 1;
    unsigned group = 32;
    while (group < 256 && group * vector < m.rows) group *= 2;
    const bool with_sums = w.columns > 0;
    const std::int64_t blocks =
        std::min({ceil_div(m.columns, std::int64_t{256 / group}), 4 * multiprocessors(), residual_blocks(m.columns)});
    launch(kernel<"round_rows">(), {blocks, 256}, stream, m.data, m.ld, m.columns, static_cast<int>(m.rows), scales,
           halves.data, halves.ld, static_cast<int>(group), static_cast<int>(vector), with_sums ? w.data : nullptr,
           with_sums ? sums : nullptr, static_cast<int>(adds));
    JAXMG_CHECK(cudaMemsetAsync(halves.at(0, m.columns), 0, static_cast<std::size_t>(beyond * halves.ld) * sizeof(Half),
                                stream));
    return blocks;
  }

  void add_products(Lane lane, const RoundedGramSizes& sizes, MatrixView<Half> halves, std::int64_t rows, bool adds,
                    float* partials) {
    const float one = 1, beta = adds ? 1 : 0;
    for (std::int64_t j = 0; j < sizes.n; j += sizes.width) {
      const std::int64_t height = sizes.n - j, width = std::min(sizes.width, height), batch = sizes.products(j);
      const std::int64_t depth = ceil_div(rows, batch);
      const int ld = checked_int(halves.ld, "leading dimension");
      JAXMG_CHECK(cublasGemmStridedBatchedEx(
          lanes_.blas(lane), CUBLAS_OP_N, CUBLAS_OP_T, checked_int(height, "m"), checked_int(width, "n"),
          checked_int(depth, "k"), &one, halves.at(j, 0), CUDA_R_16F, ld, depth * halves.ld, halves.at(j, 0),
          CUDA_R_16F, ld, depth * halves.ld, &beta, partials, CUDA_R_32F, checked_int(height, "m"), height * width,
          checked_int(batch, "batch"), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
      partials += batch * height * width;
    }
  }

  static std::int64_t multiprocessors() {
    int device = 0, count = 0;
    JAXMG_CHECK(cudaGetDevice(&device));
    JAXMG_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
    return count;
  }

  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
