// Shared steps of eigenvalue problems and of singular value and polar decompositions, served by a solver of
// block-cyclic matrices.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/eigen/divide_and_conquer.h"
#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/moves/block_cyclic.h"
#include "algorithms/moves/share_entries.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/scaling_ops.h"
#include "routines/served/cusolvermp/solver.h"

namespace jaxmg {

// Steps of decompositions, in the lane `panel`.
template <class T, class E>
class DecompositionSteps {
 public:
  DecompositionSteps(E& engine, const SolverWorkspace& common, const ScalingWorkspace<T>& scaling)
      : e_(engine), info_(common.info), own_(common.info + engine.rank()), scaling_(scaling) {
    e_.set_info(lane, own_, no_failure);
  }

  // A = scale A, out of the reach of over- and underflow. A matrix with NaN or infinities, for which the solver's
  // behaviour is undefined, becomes zero.
  void scale(const BlockCyclicMatrix<T>& a) {
    std::vector<MatrixView<T>> own;
    if (const auto part = a.part(e_.rank()); !part.empty()) own.push_back(part);
    scale_matrix<T>(e_, lane, own, scaling_.norms, scaling_.scale, own_);
  }
  // Records the solver's info, unless a failure is already known.
  void found(std::int32_t info) {
    if (info > 0 && !known_failure()) e_.set_info(lane, own_, info);
  }
  // Columns of a matrix in blocks, contiguous on each rank, zero beyond the last column.
  void to_columns(const BlockCyclicMatrix<T>& from, MatrixView<T> to) {
    to_columns(from, {0, from.layout.columns.n}, to);
  }
  void to_columns(const BlockCyclicMatrix<T>& from, EigenvectorRange wanted, MatrixView<T> to) {
    const BlockCyclicMatrix<T> columns({to.rows, wanted.count, to.rows, to.columns, {1, e_.size()}}, to.data);
    move(e_, from, columns, wanted.first);
    zero_rest(to, columns.layout.local_columns(e_.rank()));
  }
  // Columns of the adjoint. `rows` has room for as many elements as a rank's columns have.
  void to_columns_of_adjoint(const BlockCyclicMatrix<T>& from, T* rows, MatrixView<T> to) {
    const std::int64_t n = from.layout.rows.n;
    const BlockCyclicMatrix<T> in_rows(BlockCyclic::in_pieces(n, n, {e_.size(), 1}), rows);
    move(e_, from, in_rows);
    e_.join();
    const auto part = in_rows.part(e_.rank());
    if (!part.empty()) e_.conj_transpose(lane, part, to.block(0, 0, n, part.rows));
    zero_rest(to, part.rows);
  }
  // Results become NaN after a failure on any rank.
  void conclude(std::int32_t* status, const auto&... results) {
    share_entries(e_, lane, info_);
    (e_.conclude(lane, info_, results, status), ...);
    e_.join();
  }

 private:
  static constexpr Lane lane = Lane::panel;

  void zero_rest(MatrixView<T> to, std::int64_t own) {
    if (own < to.columns) e_.zero(lane, to.block(0, own, to.rows, to.columns - own));
  }
  bool known_failure() {
    std::int32_t known = 0;
    e_.fetch(lane, own_, 1, &known);
    return known != no_failure;
  }

  E& e_;
  std::int32_t *info_, *own_;
  const ScalingWorkspace<T>& scaling_;
};

}  // namespace jaxmg
