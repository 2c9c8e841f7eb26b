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

namespace jaxmg {

class HostPanelQrOps {
 public:
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
};

}  // namespace jaxmg
