// The CUDA engine's operations of polar and singular value decompositions (SvdOps).
#pragma once

#include <cstdint>

#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/svd_ops.h"

namespace jaxmg::cuda {

class CudaSvdOps {
 public:
  explicit CudaSvdOps(Lanes& lanes) : lanes_(lanes) {}

  template <class T>
  void scale_and_shift(Lane lane, Real<T> alpha, MatrixView<T> a, Real<T> shift, MatrixView<T> b) {
    if (b.empty()) return;
    launch(kernel<"scale_and_shift", Real<T>>(), grid_of_columns(b.columns, 256), lanes_.stream(lane), alpha, a.data,
           a.ld * reals<T>, shift, b.data, b.ld * reals<T>, checked_int(b.rows * reals<T>, "rows"),
           checked_int(b.columns, "columns"), reals<T>);
  }

  template <class T>
  void combine(Lane lane, Real<T> alpha, MatrixView<T> a, Real<T> beta, MatrixView<T> b) {
    if (b.empty()) return;
    launch(kernel<"combine", Real<T>>(), grid_of_columns(b.columns, 256), lanes_.stream(lane), alpha, a.data,
           a.ld * reals<T>, beta, b.data, b.ld * reals<T>, checked_int(b.rows * reals<T>, "rows"),
           checked_int(b.columns, "columns"));
  }

  template <class T>
  void measure_columns(Lane lane, MatrixView<T> a, Real<T>* diagonal, Real<T>* below) {
    if (a.empty()) return;
    launch(kernel<"measure_columns", Real<T>>(), grid_of_columns(a.columns, 256), lanes_.stream(lane), a.data,
           a.ld * reals<T>, checked_int(a.rows * reals<T>, "rows"), checked_int(a.columns, "columns"), reals<T>,
           diagonal, below);
  }

  template <class T>
  void add_noise(Lane lane, Real<T> size, std::int64_t row, std::int64_t column, MatrixView<T> a) {
    if (a.empty()) return;
    const auto part = is_complex<T> ? size * static_cast<Real<T>>(0.70710678118654752) : size;
    launch(kernel<"add_noise", Real<T>>(), grid_of_columns(a.columns, 256), lanes_.stream(lane), part, row, column,
           a.data, a.ld * reals<T>, checked_int(a.rows * reals<T>, "rows"), checked_int(a.columns, "columns"),
           reals<T>);
  }

 private:
  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
