// Least squares of a tall matrix A, whose rows are divided among the ranks and stay as they are, for few right-hand
// sides: by corrected seminormal equations (seminormal.h) where R of a Gram matrix suffices (tsqr.h), whose trial makes
// their first step; otherwise by Q and R.
//
//   A = Q R,  y = Q^H w,  r = w - Q y,  R x = y
//
// Columns of M, n x m, are rows of A; everything is conjugated.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/qr/seminormal.h"
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
struct GetslsWorkspace {
  TsqrWorkspace<T> factor;
  GramTrialWorkspace<T> trial;
  SeminormalWorkspace<T> solve;
  MatrixView<T> q, r;

  GetslsWorkspace(Arena& arena, const TallRows& rows, std::int64_t sides, std::int64_t tile, std::int64_t leaf)
      : factor(arena, rows, tile, leaf),
        trial(arena, rows, sides),
        solve(arena, rows, sides),
        q(arena.matrix<T>(rows.n, rows.shard)),
        r(arena.matrix<T>(rows.n, rows.n)) {}
};

template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && CholeskyOps<E, T> && PanelQrOps<E, T> &&
           ScalingOps<E, T> && SvdOps<E, T> && ResidualOps<E, T>
class Getsls {
 public:
  Getsls(E& engine, const TallRows& rows, MatrixView<T> a, GetslsWorkspace<T>& workspace)
      : e_(engine), rows_(rows), a_(a), w_(workspace) {}

  // For own rows of w (shard x k): x (n x k) and the squared norms of the residuals on every rank. Returns R^T; the
  // elements above its diagonal are undefined.
  MatrixView<T> run(MatrixView<T> w, MatrixView<T> x, Real<T>* squares);

 private:
  static constexpr Lane lane = Lane::panel;

  std::vector<double> solve_explicitly(MatrixView<T> w, MatrixView<T> x);

  E& e_;
  TallRows rows_;
  MatrixView<T> a_;
  GetslsWorkspace<T>& w_;
};

template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && CholeskyOps<E, T> && PanelQrOps<E, T> &&
           ScalingOps<E, T> && SvdOps<E, T> && ResidualOps<E, T>
MatrixView<T> Getsls<T, E>::run(MatrixView<T> w, MatrixView<T> x, Real<T>* squares) {
  Steps steps = steps_of<Real<T>>();
  Tsqr<T, E> tsqr(e_, rows_, true, w_.q, w_.r, w_.factor);
  auto r = w_.r;
  std::vector<double> found;
  if (tsqr.run_for_least_squares(a_, w, w_.trial, steps)) {
    r = tsqr.sufficient();
    e_.copy(lane, w_.trial.solutions.block(0, 0, rows_.n, x.columns), x);
    found = Seminormal<T, E>(e_, rows_, a_, r, w_.solve)
                .improve(w, w_.trial.products.block(0, 0, rows_.n, x.columns), steps, x, w_.trial.rest);
  } else {
    found = solve_explicitly(w, x);
  }
  const std::vector<Real<T>> rounded(found.begin(), found.end());
  e_.store(lane, rounded.data(), x.columns, squares);
  e_.join();
  return r;
}

template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && CholeskyOps<E, T> && PanelQrOps<E, T> &&
           ScalingOps<E, T> && SvdOps<E, T> && ResidualOps<E, T>
std::vector<double> Getsls<T, E>::solve_explicitly(MatrixView<T> w, MatrixView<T> x) {
  const std::int64_t own = rows_.rows(e_.rank()), count = x.columns;
  const auto m = w_.q.block(0, 0, rows_.n, own), rest = w_.trial.rest.block(0, 0, own, count);
  const auto y = w_.solve.correction, of_y = y.block(0, 0, rows_.n, count);
  const Terms<T> terms{w_.solve.terms};
  e_.zero(lane, x);
  std::vector<double> squares;
  // Of the residual w, the products y; of the residual w - Q y, the norms.
  for (const auto& right : {w.block(0, 0, own, count), rest}) {
    e_.residual_products(lane, m, x, right, rest, w_.solve.scratch, terms.of_rank(e_.rank(), y));
    e_.zero(lane, y);
    subtract_sum(e_, lane, terms, y);
    if (e_.size() > 1) e_.exchange(lane, {make_block(0, all_ranks, y, y)});
    squares = column_norms(e_, lane, y).below;
    e_.subtract(lane, {of_y}, x);
  }
  e_.trsm(lane, Side::left, Uplo::lower, Op::conj_transpose, Diag::non_unit, w_.r, x);
  for (double& square : squares) square = -square;
  return squares;
}

}  // namespace jaxmg
