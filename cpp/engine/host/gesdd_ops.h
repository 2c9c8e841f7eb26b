// The host engine's singular value decomposition (GesddOps): LAPACK's gesdd.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/gesdd_ops.h"
#include "engine/host/blas.h"
#include "engine/host/blas_ops.h"
#include "engine/scratch.h"

namespace jaxmg {

class HostGesddOps {
 public:
  template <class T>
  void gesdd(Lane, MatrixView<T> a, Real<T>* s, MatrixView<T> u, MatrixView<T> vh, Arena memory, std::int32_t* info) {
    const bool vectors = !u.empty();
    const LapackGesddWorkspace<T> work(memory, std::min(a.rows, a.columns), std::max(a.rows, a.columns), vectors);
    const int rows = checked_int(a.rows, "n"), columns = checked_int(a.columns, "m"), lda = leading_dimension(a),
              ldu = vectors ? leading_dimension(u) : 1, ldvt = vectors ? leading_dimension(vh) : 1,
              lwork = checked_int(work.elements, "lwork");
    int failed = 0;
    const char* const job = vectors ? "S" : "N";
    if constexpr (is_complex<T>) {
      Blas<T>::instance().gesdd(job, &rows, &columns, a.data, &lda, s, u.data, &ldu, vh.data, &ldvt, work.work, &lwork,
                                work.rwork, work.iwork, &failed);
    } else {
      Blas<T>::instance().gesdd(job, &rows, &columns, a.data, &lda, s, u.data, &ldu, vh.data, &ldvt, work.work, &lwork,
                                work.iwork, &failed);
    }
    if (failed > 0) *info = std::min<std::int32_t>(*info, failed);
  }
};

}  // namespace jaxmg
