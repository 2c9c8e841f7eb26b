// The host engine's operations on tall matrices (ResidualOps).
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/host/blas_ops.h"
#include "engine/tall_ops.h"

namespace jaxmg {

class HostTallOps {
 public:
  // By blocks of rows that stay in the cache between the two products.
  template <class T>
  void residual_products(Lane lane, MatrixView<T> m, MatrixView<T> x, MatrixView<T> w, MatrixView<T> r, T*,
                         MatrixView<T> g) {
    HostBlasOps blas;
    blas.zero(lane, g);
    if (m.empty() || x.empty()) return;
    const std::int64_t step = std::max<std::int64_t>(1, cached / (m.rows * static_cast<std::int64_t>(sizeof(T))));
    for (std::int64_t row = 0; row < m.columns; row += step) {
      const std::int64_t count = std::min(step, m.columns - row);
      const auto part = m.block(0, row, m.rows, count), rest = r.block(row, 0, count, r.columns);
      if (w.columns > 0 && w.data != r.data) {
        blas.copy(lane, w.block(row, 0, count, w.columns), rest.block(0, 0, count, w.columns));
      }
      blas.zero(lane, rest.block(0, w.columns, count, r.columns - w.columns));
      blas.gemm(lane, Op::conj_transpose, Op::none, T(-1), part, x, rest);
      blas.gemm(lane, Op::none, Op::none, T(1), part, rest, g.block(0, 0, m.rows, g.columns));
      for (std::int64_t k = 0; k < rest.columns; ++k) {
        for (std::int64_t i = 0; i < count; ++i) *g.at(m.rows, k) += std::norm(*rest.at(i, k));
      }
    }
  }

 private:
  static constexpr std::int64_t cached = 1 << 18;
};

}  // namespace jaxmg
