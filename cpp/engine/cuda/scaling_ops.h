// The CUDA engine's operations that scale matrices (ScalingOps, EquilibrationOps), except choose_scale, which combines
// all ranks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/equilibration_ops.h"
#include "engine/scaling_ops.h"

namespace jaxmg::cuda {

class CudaScalingOps {
 public:
  explicit CudaScalingOps(Lanes& lanes) : lanes_(lanes) {}

  // Short columns without gaps are read as fewer long ones: a thread block reads a column at a time.
  template <class T>
  void largest(Lane lane, MatrixView<T> a, Real<T>* norm) {
    if (a.empty()) return;
    const std::int64_t joined = a.ld == a.rows ? std::clamp<std::int64_t>(2048 / a.rows, 1, a.columns) : 1;
    const std::int64_t count = a.columns / joined, rest = a.columns - count * joined;
    largest_of_columns(lane, MatrixView<T>{a.data, a.rows * joined, count, a.ld * joined}, norm);
    if (rest > 0) largest_of_columns(lane, a.block(0, count * joined, a.rows, rest), norm);
  }

  template <class T>
  void multiply(Lane lane, const Real<T>* scale, MatrixView<T> a) {
    if (a.empty()) return;
    launch(kernel<"multiply", Real<T>>(), grid_of_columns(a.columns, 256), lanes_.stream(lane), scale, a.data,
           a.ld * reals<T>, checked_int(a.rows * reals<T>, "rows"), checked_int(a.columns, "columns"));
  }

  template <class T>
  void divide(Lane lane, const Real<T>* scale, MatrixView<T> a) {
    divide_upper(lane, scale, a.rows, a);
  }

  template <class T>
  void divide_upper(Lane lane, const Real<T>* scale, std::int64_t row, MatrixView<T> a) {
    if (a.empty()) return;
    launch(kernel<"divide_upper", Real<T>>(), grid_of_columns(a.columns, 256), lanes_.stream(lane), scale, a.data,
           a.ld * reals<T>, checked_int(a.rows * reals<T>, "rows"), checked_int(a.columns, "columns"),
           checked_int(std::min(row, a.rows), "row"), checked_int(reals<T>, "reals"));
  }

  template <class T>
  void equilibrate(Lane lane, const Equilibrated<T>& a, MatrixView<Single<T>> to, MatrixView<Real<T>> of_rows,
                   MatrixView<Real<T>> of_columns, const EquilibrationWorkspace<T>& w) {
    const Equilibration p{a.m.data,
                          a.m.ld,
                          a.rows.data,
                          a.columns.data,
                          a.shift.data,
                          to.data,
                          to.ld,
                          w.of_rows.data,
                          w.of_columns.data,
                          of_rows.data,
                          of_columns.data,
                          checked_int(a.m.rows, "n"),
                          checked_int(a.first, "the first column"),
                          checked_int(a.m.columns, "columns"),
                          a.lower ? 1 : 0};
    constexpr std::int64_t strip = hermitian_strip<sizeof(Real<T>)>;
    const cudaStream_t stream = lanes_.stream(lane);
    if (a.m.columns > 0) {
      launch(kernel<"equilibrate", T>(),
             {hermitian_strips(a.m.rows, strip), hermitian_threads, hermitian_chunks(a.m.columns)}, stream, p);
    }
    launch(kernel<"add_equilibration_sums", Real<T>>(), grid_for(a.m.rows + a.m.columns, 256), stream, p);
  }

 private:
  template <class T>
  void largest_of_columns(Lane lane, MatrixView<T> a, Real<T>* norm) {
    launch(kernel<"largest", Real<T>>(), grid_of_columns(a.columns, 256), lanes_.stream(lane), a.data, a.ld * reals<T>,
           checked_int(a.rows * reals<T>, "rows"), checked_int(a.columns, "columns"), norm);
  }

  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
