// The host engine's eigensolver (HeevdOps): LAPACK's syevd and heevd.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/heevd_ops.h"
#include "engine/host/blas.h"
#include "engine/host/blas_ops.h"
#include "engine/scratch.h"

namespace jaxmg {

class HostHeevdOps {
 public:
  template <class T>
  bool heevd_fits(std::int64_t, bool) const {
    return true;
  }

  template <class T>
  void heevd(Lane, bool vectors, MatrixView<T> a, Real<T>* w, Arena memory, std::int32_t* info) {
    if (a.empty()) return;
    const LapackHeevdWorkspace<T> work(memory, a.rows, vectors);
    const int n = checked_int(a.rows, "n"), lda = leading_dimension(a);
    const int lwork = checked_int(work.elements, "lwork"), liwork = checked_int(work.integers, "liwork");
    int failed = 0;
    const char* const job = vectors ? "V" : "N";
    if constexpr (is_complex<T>) {
      const int lrwork = checked_int(work.reals, "lrwork");
      Blas<T>::instance().heevd(job, "L", &n, a.data, &lda, w, work.work, &lwork, work.rwork, &lrwork, work.iwork,
                                &liwork, &failed);
    } else {
      Blas<T>::instance().heevd(job, "L", &n, a.data, &lda, w, work.work, &lwork, work.iwork, &liwork, &failed);
    }
    if (failed > 0) *info = std::min<std::int32_t>(*info, failed);
  }
};

}  // namespace jaxmg
