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
#include <limits>
#include <vector>

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
  MatrixView<T> terms;  // of all ranks, side by side
  MatrixView<T> correction;
  T* scratch;

  SeminormalWorkspace(Arena& arena, const TallRows& rows, std::int64_t columns)
      : terms(arena.matrix<T>(rows.n, columns * rows.ranks)),
        correction(arena.matrix<T>(rows.n, columns)),
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

 private:
  static constexpr Lane lane = Lane::panel;
  static constexpr int most_steps = 20;

  MatrixView<T> own_term(std::int64_t count) const { return w_.terms.block(0, e_.rank() * count, n_, count); }

  // y = R^-H (M r - v), the same on every rank.
  void find_step(MatrixView<T> v) {
    const auto y = w_.correction;
    e_.copy(lane, v, y);
    subtract_sum(e_, lane, w_.terms, y);  // v - M r
    e_.trsm(lane, Side::left, Uplo::lower, Op::none, Diag::non_unit, r_, y);
    if (e_.size() > 1) e_.exchange(lane, {make_block(0, all_ranks, y, y)});
  }

  E& e_;
  std::int64_t n_, rows_;
  MatrixView<T> m_, r_;
  SeminormalWorkspace<T>& w_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && ResidualOps<E, T>
void Seminormal<T, E>::solve(MatrixView<T> w, MatrixView<T> v, MatrixView<T> x, MatrixView<T> rest) {
  const std::int64_t count = v.columns;
  const auto own_w = w.block(0, 0, rows_, count), own_rest = rest.block(0, 0, rows_, count);
  e_.join();
  e_.zero(lane, x);
  e_.zero(lane, rest);
  std::vector<double> first, before;
  bool improves = true;
  for (int step = 0;; ++step) {
    e_.residual_products(lane, m_, x, own_w, own_rest, w_.scratch, own_term(count));
    if (!improves || step == most_steps) break;
    find_step(v);
    const auto found = column_norms(e_, lane, w_.correction);
    if (step == 0) first = found;
    improves = false;
    for (std::size_t k = 0; k < found.size(); ++k) {
      double next = found[k];
      if (step > 0) next *= found[k] <= before[k] / 2 ? found[k] / before[k] : 0;
      improves |= next > static_cast<double>(std::numeric_limits<Real<T>>::epsilon()) * first[k];
    }
    before = found;
    e_.trsm(lane, Side::left, Uplo::lower, Op::conj_transpose, Diag::non_unit, r_, w_.correction);
    e_.subtract(lane, {w_.correction}, x);
  }
  e_.join();
}

}  // namespace jaxmg
