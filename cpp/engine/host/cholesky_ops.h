// The host engine's operations of Cholesky factorisations (CholeskyOps).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cholesky_ops.h"
#include "engine/host/blas.h"
#include "engine/host/blas_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

class HostCholeskyOps {
 public:
  template <class T>
  void potrf(Lane, MatrixView<T> a, std::int32_t* failed) {
    if (a.empty()) return;
    const int n = checked_int(a.rows, "n"), lda = leading_dimension(a);
    Blas<T>::instance().potrf("L", &n, a.data, &lda, failed);
  }

  // Not every LAPACK reports NaN or infinite pivots, but they appear on the diagonal of the factor.
  template <class T>
  void check_factor(Lane, MatrixView<T> l, const std::int32_t* failed, std::int64_t row, std::int32_t* info) {
    std::int64_t first = *failed > 0 ? *failed : l.rows + 1;
    for (std::int64_t i = 0; i + 1 < first; ++i) {
      const Real<T> pivot = std::real(*l.at(i, i));
      if (!(pivot > 0) || !std::isfinite(pivot)) first = i + 1;
    }
    if (first <= l.rows) *info = std::min(*info, checked_int(row + first, "info"));
  }

  template <class T>
  void check_diagonal(Lane lane, const TileColumns& layout, int rank, MatrixView<T> l, std::int32_t* info) {
    const std::int32_t failed = 0;
    for (const std::int64_t t : layout.tiles_of(rank)) {
      check_factor(lane, l.block(layout.begin(t), layout.local_offset(t), layout.width(t), layout.width(t)), &failed,
                   layout.begin(t), info);
    }
  }
};

}  // namespace jaxmg
