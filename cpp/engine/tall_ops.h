// Engine operations on a tall matrix A of n columns that lies by rows: columns of M, n x m, are the conjugated rows of
// A.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arithmetic.h"
#include "core/ceil_div.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"

namespace jaxmg {

// Scratch of `residual_products` and `rounded_gram` for m rows: a sum for each thread block and right-hand side, of
// which 4 are processed at once.
inline constexpr std::int64_t residual_vectors = 4;
inline constexpr std::int64_t residual_blocks(std::int64_t m) {
  return std::clamp<std::int64_t>(ceil_div(m, 64), 1, 640);
}
inline constexpr std::int64_t residual_scratch(std::int64_t m, std::int64_t n, std::int64_t columns) {
  return residual_blocks(m) * (n + 1) * std::min(columns, residual_vectors);
}

template <class E, class T>
concept ResidualOps = LaneOps<E> && requires(E& e, Lane lane, MatrixView<T> a, T* scratch) {
  // R = W - M^H X and, in n + 1 rows, G = [M R; the squared norms of the columns of R]. W may be R, and may have fewer
  // columns: the others are zero.
  e.residual_products(lane, a /*m*/, a /*x*/, a /*w*/, a /*r*/, scratch, a /*g*/);
};

// A Gram matrix of numbers rounded to FP16, which has 11 bits like TF32, and products at more than twice the speed:
// 10^6 rows of 1024 numbers take 2.2 ms to round and 1.9 ms to multiply, and 9.8 ms to multiply in TF32 (H100). Powers
// of two scale the columns of A, by the largest elements of some rows. Much larger elements of other rows become
// infinite, and the Gram matrix infinite or NaN.
//
// Tensor cores round sums towards zero. The relative error of a diagonal element grows with the number of terms: of
// 31,000 rows it was 1.2e-4, which lets ||E|| of tsqr.h exceed its limit for conditions from 10 on.
// Rows are therefore divided among several products, whose sums are added in float32; their thread blocks, of 128 x 256
// elements, also fill a GPU.
struct RoundedGramSizes {
  static constexpr std::int64_t width = 256, height = 128, thread_blocks = 528, depth = 4096, most_rows = 1 << 18;

  std::int64_t n, m;  // m: the largest number of rows of a rank

  std::int64_t pitch() const { return ceil_div(n, std::int64_t{8}) * 8; }  // of a row in FP16
  // Rows that are rounded at once.
  std::int64_t at_once() const { return ceil_div(m, ceil_div(m, most_rows)); }
  std::int64_t most_products() const { return std::min(thread_blocks, ceil_div(at_once(), depth)); }
  // Products of the block columns from column j on.
  std::int64_t products(std::int64_t j) const {
    return std::clamp<std::int64_t>(thread_blocks / ceil_div(n - j, height), 1, most_products());
  }
  std::int64_t partials() const {
    std::int64_t count = 0;
    for (std::int64_t j = 0; j < n; j += width) count += products(j) * (n - j) * std::min(width, n - j);
    return count;
  }
  // Rows in FP16. Products read beyond the last one, where they are zero.
  std::int64_t rows() const { return at_once() + most_products(); }
};

template <class E, class T>
concept RoundedGramOps = requires(E& e, Lane lane, const RoundedGramSizes& sizes, MatrixView<T> a, T* scratch,
                                  Real<T>* scales, MatrixView<Half> halves) {
  // The lower triangle of -M M^H, where M has at least one column, and G = -M W in full precision; W has one column, or
  // none.
  e.rounded_gram(lane, sizes, a /*m*/, a /*w*/, scales /*n*/, halves, scales /*partials*/, a /*gram*/, scratch,
                 a /*g*/);
};

}  // namespace jaxmg
