// The host engine's QR factorisation of panels (PanelQrOps).
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "core/error.h"
#include "core/matrix_view.h"
#include "engine/host/blas.h"
#include "engine/host/blas_ops.h"
#include "engine/panel_qr_ops.h"
#include "engine/scratch.h"

namespace jaxmg {

class HostPanelQrOps {
 public:
  template <class T>
  std::int64_t geqrt_columns(std::int64_t) const {
    return least_geqrt_columns;
  }

  template <class T>
  void geqrt(Lane, MatrixView<T> a, MatrixView<T> t, T*) {
    if (a.empty()) return;
    const int m = checked_int(a.rows, "m"), n = checked_int(a.columns, "n"), k = std::min(m, n);
    const int lda = leading_dimension(a), ldt = leading_dimension(t);
    const int lwork = 32 * n;  // ILAENV's block size for geqrf is 32
    std::vector<T> tau(static_cast<std::size_t>(k)), work(static_cast<std::size_t>(lwork));
    int info = 0;
    Blas<T>::instance().geqrf(&m, &n, a.data, &lda, tau.data(), work.data(), &lwork, &info);
    HostBlasOps().zero(Lane::panel, t);
    Blas<T>::instance().larft("F", "C", &m, &k, a.data, &lda, tau.data(), t.data, &ldt);
  }

  template <class T>
  void two_sided(Lane lane, MatrixView<T> v, MatrixView<T> t, MatrixView<T> w, T*) {
    HostBlasOps blas;
    const std::int64_t n = w.columns;
    std::vector<T> of_z(static_cast<std::size_t>(w.rows * n)), of_p(static_cast<std::size_t>(n * n)), of_s(of_p);
    const MatrixView<T> z{of_z.data(), w.rows, n, w.rows}, p{of_p.data(), n, n, n}, s{of_s.data(), n, n, n};
    blas.copy(lane, w, z);
    blas.product(lane, Op::none, Op::none, T(1), z, t, w);
    blas.product(lane, Op::conj_transpose, Op::none, T(1), v, w, p);
    blas.product(lane, Op::conj_transpose, Op::none, T(1), t, p, s);
    blas.gemm(lane, Op::none, Op::none, T(-0.5), v, s, w);
  }
};

}  // namespace jaxmg
