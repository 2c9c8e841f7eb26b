// LU factorisation of a panel on one rank, by recursion: left half, update of the right half, right half. The engine's
// getrf, which works column by column, is given narrow panels, and the rest are products (Toledo, "Locality of
// reference in LU decomposition with partial pivoting", SIAM J. Matrix Anal. Appl. 18, 1997).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/ceil_div.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/lu_ops.h"

namespace jaxmg {

template <class T, class E>
  requires BlasOps<E, T> && LuOps<E, T>
class GetrfPanel {
 public:
  // A's first row has number `row`, its last is the last of the matrix. Its columns are factored `leaf` at once.
  GetrfPanel(E& engine, Lane lane, MatrixView<T> a, std::int64_t row, std::int64_t leaf, std::int32_t* pivots,
             std::byte* scratch)
      : e_(engine), lane_(lane), a_(a), row_(row), leaf_(leaf), pivots_(pivots), scratch_(scratch) {}

  void run() { factor(0, a_.columns); }

 private:
  void factor(std::int64_t begin, std::int64_t end) {
    if (end - begin <= leaf_) {
      factor_leaf(begin, end);
      return;
    }
    // Whole leaves to the left.
    const std::int64_t left = ceil_div(end - begin, 2 * leaf_) * leaf_, middle = begin + left, right = end - middle;
    factor(begin, middle);
    const auto u12 = a_.block(begin, middle, left, right);
    e_.trsm(lane_, Side::left, Uplo::lower, Op::none, Diag::unit, a_.block(begin, begin, left, left), u12);
    e_.gemm(lane_, Op::none, Op::none, T(-1), a_.block(middle, begin, a_.rows - middle, left), u12,
            a_.block(middle, middle, a_.rows - middle, right));
    factor(middle, end);
  }

  // With the interchanges in all other columns, also in columns that are not updated yet.
  void factor_leaf(std::int64_t begin, std::int64_t end) {
    const std::int64_t width = end - begin;
    e_.getrf(lane_, a_.block(begin, begin, a_.rows - begin, width), row_ + begin, pivots_ + begin, scratch_);
    if (width < a_.columns) e_.interchange_beside(lane_, pivots_, row_, begin, width, a_);
  }

  E& e_;
  Lane lane_;
  MatrixView<T> a_;
  std::int64_t row_, leaf_;
  std::int32_t* pivots_;
  std::byte* scratch_;
};

}  // namespace jaxmg
