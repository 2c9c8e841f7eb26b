// Corrected seminormal equations: least squares of a tall matrix A, whose rows are divided among the ranks, by A and an
// approximate R (Bjorck, "Stability analysis of the method of semi-normal equations for linear least squares problems",
// Linear Algebra Appl. 88/89, 1987). Solves the augmented system
//
//   r + A x = w,  A^H r = v
//
// by corrections, where each step reads A once:
//
//   r = w - A x,  R^H R dx = A^H r - v,  x = x + dx
//
// A step multiplies the error of x by ||I - R^-H A^H A R^-1|| at most. Residuals are formed with A itself: steps shrink
// until rounding errors in A^H r, as large as by QR, stop them. The iteration ends when the next step would
// be below eps times the first one, as the ratio of the last two predicts, or when steps do not shrink any more.
//
// Columns of M, n x m, are rows of A; everything is conjugated.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algorithms/qr/steps.h"
#include "algorithms/qr/tall_sums.h"
#include "algorithms/qr/tsqr.h"
#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/tall_ops.h"

namespace jaxmg {

template <class T>
struct SeminormalWorkspace {
  MatrixView<T> terms;       // of all ranks, side by side
  MatrixView<T> correction;  // R dx; below, squared norms of residuals
  T* scratch;

  SeminormalWorkspace(Arena& arena, const TallRows& rows, std::int64_t columns)
      : terms(arena.matrix<T>(rows.n + 1, columns * rows.ranks)),
        correction(arena.matrix<T>(rows.n + 1, columns)),
        scratch(arena.take<T>(residual_scratch(rows.shard, rows.n, columns))) {}
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && ResidualOps<E, T>
class Seminormal {
 public:
  // `a` (n x shard) and `r` (n x n, R^T) are only read.
  Seminormal(E& engine, const TallRows& rows, MatrixView<T> a, MatrixView<T> r, SeminormalWorkspace<T>& workspace)
      : e_(engine),
        n_(rows.n),
        rows_(rows.rows(engine.rank())),
        m_(a.block(0, 0, rows.n, rows_)),
        r_(r),
        w_(workspace) {}

  // For own rows of w and of the residual (shard x k), and v and x (n x k) on every rank.
  void solve(MatrixView<T> w, MatrixView<T> v, MatrixView<T> x, MatrixView<T> rest);

  // The same for v = 0, from an x on and R dx of its next step (n x k), the last of `steps`. The residual is only
  // formed where a step needs it. Returns its squared norms.
  std::vector<double> improve(MatrixView<T> w, MatrixView<T> step, Steps& steps, MatrixView<T> x, MatrixView<T> rest);

 private:
  static constexpr Lane lane = Lane::panel;
  static constexpr int most_steps = 20;

  // r = w - A x.
  void form_residual(MatrixView<T> w, MatrixView<T> x, MatrixView<T> rest) {
    e_.residual_products(lane, m_, x, w.block(0, 0, rows_, x.columns), rest.block(0, 0, rows_, x.columns), w_.scratch,
                         Terms<T>{w_.terms}.of_rank(e_.rank(), w_.correction));
  }

  // y = R^-H (M r - v), the same on every rank.
  void find_step(MatrixView<T> v, Steps& steps) {
    const auto y = w_.correction, of_y = y.block(0, 0, n_, y.columns);
    e_.zero(lane, y);
    if (!v.empty()) e_.copy(lane, v, of_y);
    subtract_sum(e_, lane, Terms<T>{w_.terms}, y);  // v - M r
    e_.trsm(lane, Side::left, Uplo::lower, Op::none, Diag::non_unit, r_, of_y);
    if (e_.size() > 1) e_.exchange(lane, {make_block(0, all_ranks, y, y)});
    const ColumnNorms found = column_norms(e_, lane, y);
    steps.add(found.norms, found.below);
  }

  // x = x - R^-1 y
  void make_step(MatrixView<T> y, MatrixView<T> x) {
    e_.trsm(lane, Side::left, Uplo::lower, Op::conj_transpose, Diag::non_unit, r_, y);
    e_.subtract(lane, {y}, x);
  }

  E& e_;
  std::int64_t n_, rows_;
  MatrixView<T> m_, r_;
  SeminormalWorkspace<T>& w_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && ResidualOps<E, T>
void Seminormal<T, E>::solve(MatrixView<T> w, MatrixView<T> v, MatrixView<T> x, MatrixView<T> rest) {
  Steps steps = steps_of<Real<T>>();
  e_.join();
  e_.zero(lane, x);
  e_.zero(lane, rest);
  for (int step = 0;; ++step) {
    form_residual(w, x, rest);
    if (!steps.improves() || step == most_steps) break;
    find_step(v, steps);
    make_step(w_.correction.block(0, 0, n_, x.columns), x);
  }
  e_.join();
}

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && ResidualOps<E, T>
std::vector<double> Seminormal<T, E>::improve(MatrixView<T> w, MatrixView<T> step, Steps& steps, MatrixView<T> x,
                                              MatrixView<T> rest) {
  e_.join();
  make_step(step, x);
  for (int count = 1; steps.improves() && count < most_steps; ++count) {
    form_residual(w, x, rest);
    find_step({}, steps);
    make_step(w_.correction.block(0, 0, n_, x.columns), x);
  }
  auto squares = steps.squares_after();
  if (!steps.knows_squares_after()) {
    form_residual(w, x, rest);
    find_step({}, steps);
    squares = steps.squares_before();
  }
  e_.join();
  return squares;
}

}  // namespace jaxmg
