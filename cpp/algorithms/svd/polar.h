// Unitary polar factor of a square matrix in tile columns, B = U H with H Hermitian and positive semidefinite.
//
//   X = B / alpha,  W = X^H X                         alpha about ||B||_2
//   repeat until W is near I:
//     L L^H = I + c W                                 the weights a, b, c by the least singular value (weights.h)
//     X = (b / c) X + (a - b / c) X L^-H L^-1
//     W = X^H X
//   U = X (3 I - W) / 2                               one Newton-Schulz step
//
// This is the QDWH iteration by Cholesky factors (Nakatsukasa, Bai and Gygi, SIAM J. Matrix Anal. Appl. 31, 2010) with
// a capped weight. With optimal weights an ill-conditioned B would need a QR factorisation with column pivoting for
// backward stability (Nakatsukasa and Higham, SIAM J. Matrix Anal. Appl. 33, 2012); with the cap it needs a few steps
// more, and every step is matrix products, a Cholesky factorisation and triangular solves.
//
// The least singular value is measured by inverse iteration with the same Cholesky factor, as soon as it is large
// enough to be seen. As long as it is not, B may be singular: after two steps noise of the size of rounding errors is
// added to X, once. Directions without a singular value then grow like all others, and complete U to a unitary matrix.
// H is computed from B itself, without the noise.
//
// Rows of X are independent in the triangular solves: every rank solves for its own columns of X^H. The adjoint before
// and after the solves costs one pass each.
//
// The host decides when to stop and which weights to use. It waits for the engine two or three times a step, each time
// for values that are the same on all ranks: one rank computed them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "algorithms/cholesky/potrf.h"
#include "algorithms/moves/adjoint_columns.h"
#include "algorithms/moves/mirror.h"
#include "algorithms/moves/share_entries.h"
#include "algorithms/svd/extreme_values.h"
#include "algorithms/svd/products.h"
#include "algorithms/svd/weights.h"
#include "algorithms/triangular/trsm_many.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "core/staged_arena.h"
#include "engine/cholesky_ops.h"
#include "engine/engine.h"
#include "engine/svd_ops.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class E, class T>
concept PolarOps = BlasOps<E, T> && ExchangeOps<E> && StatusOps<E, T> && CholeskyOps<E, T> && SvdOps<E, T>;

// The pieces of the stages share their memory.
template <class T>
struct PolarWorkspace {
  MatrixView<T> x, w;    // n by shard
  Real<T>* measures;     // of the columns of a matrix: n diagonal elements, n sums
  std::int32_t* failed;  // an entry for each rank
  ProductsWorkspace<T> products;
  MirrorWorkspace<T> adjoint;
  PotrfWorkspace<T> factoring;
  TrsmManyWorkspace<T> solving;
  ExtremeValuesWorkspace<T> extremes;

  PolarWorkspace(StagedArena& memory, MatrixView<T> x, MatrixView<T> w, Real<T>* measures, std::int32_t* failed,
                 const TileColumns& layout, std::int64_t depth, std::int64_t slots)
      : x(x),
        w(w),
        measures(measures),
        failed(failed),
        products(memory.stage<ProductsWorkspace<T>>(layout, depth, slots)),
        adjoint(memory.stage<MirrorWorkspace<T>>(layout, depth, slots)),
        factoring(memory.stage<PotrfWorkspace<T>>(layout, depth, slots)),
        solving(memory.stage<TrsmManyWorkspace<T>>(layout, depth, slots)),
        extremes(memory.stage<ExtremeValuesWorkspace<T>>(layout)) {}
};

template <class T, class E>
  requires PolarOps<E, T>
class Polar {
 public:
  using R = Real<T>;
  static constexpr int most_steps = 30;

  // `b` and `y`, scratch, are this rank's columns (n by shard), as are x and w of the workspace. B has its largest
  // element between 1/2 and 2, or is zero.
  Polar(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> b, MatrixView<T> y,
        PolarWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        depth_(depth),
        n_(layout.order()),
        b_(b),
        y_(y),
        w_(workspace),
        products_(engine, layout, depth, workspace.products) {}

  // X = B / alpha and the lower triangle of W = X^H X, for an alpha close to ||B||_2. Returns alpha, 0 for B = 0.
  double start();
  // Factors I + c W, in Y, and returns a lower bound of the least singular value of X, usually half of it; nothing if
  // it is below about 1 / sqrt(c), or unknown because the factorisation failed.
  std::optional<double> least_singular_value(double c);
  // X = U, after start(), for singular values of X in [least, 1]. Returns whether the iteration converged.
  bool iterate(std::optional<double> least);
  // start() and iterate(); U = I for B = 0.
  bool factor();
  // X = I.
  void set_identity();
  // W = sign (U^H B + B^H U) / 2 for U in X: both triangles of the Hermitian factor H, times `sign`.
  void hermitian_factor(int sign);
  // C = alpha (P^H Q + Q^H P), both triangles.
  void hermitian_product(R alpha, MatrixView<T> p, MatrixView<T> q, MatrixView<T> c);

  // Pieces that other algorithms on the same workspace use.

  // C = X^H X, its lower triangle.
  void gram(MatrixView<T> x, MatrixView<T> c);
  // L L^H = A in place, for the lower triangle of A. Returns whether A is positive definite.
  bool factor_in_place(MatrixView<T> a);
  // B = A^H.
  void adjoint(MatrixView<T> a, MatrixView<T> b) { adjoint_columns(e_, layout_, depth_, a, b, w_.adjoint); }
  // X = op(L)^-1 X in own columns, by the sweep with `op`.
  void solve(MatrixView<T> factor, Op op, MatrixView<T> x);
  // The upper triangle becomes the adjoint of the lower one.
  void mirror_lower(MatrixView<T> a) { mirror(e_, layout_, depth_, a, w_.adjoint); }
  // C = A B for the columns of B and C, distributed in any way.
  void multiply(MatrixView<T> a, MatrixView<T> b, MatrixView<T> c);
  void zero(MatrixView<T> a) {
    for (const Span& span : own()) e_.zero(lane, a.block(0, span.begin, n_, span.width));
    e_.join();
  }

  // Diagonal elements and the sums of squares below them, of all columns.
  struct Measures {
    std::vector<R> diagonal, below;

    double below_norm() const {
      double sum = 0;
      for (const R x : below) sum += static_cast<double>(x);
      return std::sqrt(sum);
    }
  };
  Measures measure(MatrixView<T> a);

 private:
  static constexpr Lane lane = Lane::panel;

  std::vector<Span> own() const { return layout_.spans(e_.rank(), 0, layout_.count()); }
  // Calls visit(t, rows from the diagonal down) for own tile columns of a matrix.
  template <class Visit>
  void each_own(MatrixView<T> a, Visit&& visit) const {
    const TiledShard<T> shard{layout_, a, e_.rank()};
    for (const std::int64_t t : layout_.tiles_of(e_.rank())) visit(t, shard.tile(t, layout_.begin(t), n_));
  }

  // Y = L for L L^H = I + c W.
  bool factor_weighted(double c) {
    const TiledShard<T> to{layout_, y_, e_.rank()};
    each_own(w_.w, [&](std::int64_t t, MatrixView<T> from) {
      e_.scale_and_shift(lane, static_cast<R>(c), from, R(1), to.tile(t, layout_.begin(t), n_));
    });
    e_.join();
    const bool definite = factor_in_place(y_);
    factored_ = definite ? c : 0;
    return definite;
  }

  // X = (b / c) X + (a - b / c) X L^-H L^-1 with L in Y. W and Y are scratch.
  void update(const PolarWeights& weights) {
    adjoint(w_.x, w_.w);
    solve(y_, Op::none, w_.w);
    solve(y_, Op::conj_transpose, w_.w);
    adjoint(w_.w, y_);
    factored_ = 0;
    combine(weights.a - weights.b / weights.c, y_, weights.b / weights.c, w_.x);
  }

  // B = alpha A + beta B.
  void combine(double alpha, MatrixView<T> a, double beta, MatrixView<T> b) {
    for (const Span& span : own()) {
      e_.combine(lane, static_cast<R>(alpha), a.block(0, span.begin, n_, span.width), static_cast<R>(beta),
                 b.block(0, span.begin, n_, span.width));
    }
    e_.join();
  }

  // X = X + eps max(sqrt(n), 4) G for a random G with ||G||_2 about 1.
  void add_noise() {
    const double root = std::sqrt(static_cast<double>(n_)),
                 eps = static_cast<double>(std::numeric_limits<R>::epsilon());
    const auto size = static_cast<R>(eps * std::max(root, 4.0) / (2 * root));
    const TiledShard<T> x{layout_, w_.x, e_.rank()};
    for (const std::int64_t t : layout_.tiles_of(e_.rank())) {
      e_.add_noise(lane, size, 0, layout_.begin(t), x.tile(t, 0, n_));
    }
    e_.join();
  }

  // ||W - I||_F.
  double distance() {
    const Measures m = measure(w_.w);
    double sum = 0;
    for (std::size_t j = 0; j < m.diagonal.size(); ++j) {
      const double d = static_cast<double>(m.diagonal[j]) - 1;
      sum += d * d + 2 * static_cast<double>(m.below[j]);
    }
    return std::sqrt(sum);
  }

  // X = X (3 I - W) / 2.
  void newton_schulz() {
    mirror_lower(w_.w);
    zero(y_);
    products_.product(T(static_cast<R>(-0.5)), w_.x, w_.w, y_);
    combine(1, y_, 1.5, w_.x);
  }

  E& e_;
  const TileColumns& layout_;
  std::int64_t depth_, n_;
  MatrixView<T> b_, y_;
  PolarWorkspace<T>& w_;
  Products<T, E> products_;
  double factored_ = 0;  // c, where Y holds the factor of I + c W
};

template <class T, class E>
  requires PolarOps<E, T>
void Polar<T, E>::gram(MatrixView<T> x, MatrixView<T> c) {
  zero(c);
  products_.adjoint_product(T(1), x, x, c);
}

template <class T, class E>
  requires PolarOps<E, T>
bool Polar<T, E>::factor_in_place(MatrixView<T> a) {
  e_.set_info(lane, w_.failed + e_.rank(), no_failure);
  e_.join();
  Potrf<T, E>(e_, layout_, depth_, a, {}, w_.factoring, w_.failed + e_.rank()).run();
  share_entries(e_, lane, w_.failed);
  std::vector<std::int32_t> all(static_cast<std::size_t>(e_.size()));
  e_.fetch(lane, w_.failed, e_.size(), all.data());
  return std::all_of(all.begin(), all.end(), [](std::int32_t entry) { return entry == no_failure; });
}

template <class T, class E>
  requires PolarOps<E, T>
void Polar<T, E>::solve(MatrixView<T> factor, Op op, MatrixView<T> x) {
  // All columns of the shard are solved at once: own tiles are contiguous.
  const std::vector<Span> columns = own();
  const MatrixView<T> solved = columns.empty() ? MatrixView<T>{x.data, n_, 0, x.ld}
                                               : x.block(0, 0, n_, columns.back().begin + columns.back().width);
  if (e_.size() == 1) {
    e_.trsm(lane, Side::left, Uplo::lower, op, Diag::non_unit, factor.block(0, 0, n_, n_), solved);
    e_.join();
  } else {
    TrsmMany<T, E>(e_, layout_, depth_, factor, solved, w_.solving).solve({Uplo::lower, op, Diag::non_unit});
  }
}

template <class T, class E>
  requires PolarOps<E, T>
void Polar<T, E>::multiply(MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
  e_.zero(lane, c);
  e_.join();
  products_.product(T(1), a, b, c);
}

template <class T, class E>
  requires PolarOps<E, T>
typename Polar<T, E>::Measures Polar<T, E>::measure(MatrixView<T> a) {
  const auto n = static_cast<std::size_t>(n_);
  each_own(a, [&](std::int64_t t, MatrixView<T> column) {
    e_.measure_columns(lane, column, w_.measures + layout_.begin(t), w_.measures + n_ + layout_.begin(t));
  });
  if (e_.size() > 1) {
    std::vector<Block> broadcast;
    const MatrixView<R> both{w_.measures, n_, 2, n_};
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      const auto rows = both.block(layout_.begin(t), 0, layout_.width(t), 2);
      broadcast.push_back(make_block(layout_.owner(t), all_ranks, rows, rows));
    }
    e_.exchange(lane, broadcast);
  }
  std::vector<R> all(2 * n);
  e_.fetch(lane, w_.measures, 2 * n_, all.data());
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(n);
  return {{all.begin(), middle}, {middle, all.end()}};
}

template <class T, class E>
  requires PolarOps<E, T>
double Polar<T, E>::start() {
  gram(b_, w_.w);
  factored_ = 0;
  double trace = 0;
  for (const R square : measure(w_.w).diagonal) trace += static_cast<double>(square);
  if (trace == 0) return 0;
  const double frobenius = std::sqrt(trace);
  // The estimate is a lower bound, and X may slightly exceed 1 in norm.
  const double alpha = std::min(frobenius, 1.1 * ExtremeValues<T, E>(e_, layout_, w_.extremes).largest(b_, frobenius));
  for (const Span& span : own()) {
    const auto x = w_.x.block(0, span.begin, n_, span.width), w = w_.w.block(0, span.begin, n_, span.width);
    e_.scale_and_shift(lane, static_cast<R>(1 / alpha), b_.block(0, span.begin, n_, span.width), R(0), x);
    e_.scale_and_shift(lane, static_cast<R>(1 / (alpha * alpha)), w, R(0), w);
  }
  e_.join();
  return alpha;
}

template <class T, class E>
  requires PolarOps<E, T>
std::optional<double> Polar<T, E>::least_singular_value(double c) {
  if (!factor_weighted(c)) return std::nullopt;
  constexpr double visible = 2;
  const double least = ExtremeValues<T, E>(e_, layout_, w_.extremes).smallest(y_, visible);
  if (!(least > visible)) return std::nullopt;
  return 0.5 * std::sqrt((least - 1) / c);
}

template <class T, class E>
  requires PolarOps<E, T>
bool Polar<T, E>::iterate(std::optional<double> least) {
  const double near = 3 * std::sqrt(static_cast<double>(std::numeric_limits<R>::epsilon()));
  const double cap = largest_weight<R>(n_);
  for (int step = 0; step <= most_steps; ++step) {
    const double left = distance();
    if (!std::isfinite(left)) return false;
    if (left < near) {
      newton_schulz();
      return true;
    }
    if (step == most_steps) return false;
    if (!least) least = least_singular_value(cap);
    PolarWeights weights = polar_weights(least, cap);
    // Within the cap rounding errors do not make I + c W indefinite. If they did, a smaller weight would be possible.
    for (int attempt = 0; weights.c != factored_ && !factor_weighted(weights.c); ++attempt) {
      if (attempt == 2) return false;
      weights = polar_weights(std::nullopt, weights.c / 10);
    }
    update(weights);
    if (least) least = std::min(1.0, weights.image(*least));
    if (step == 1 && !least) add_noise();
    gram(w_.x, w_.w);
  }
  return false;
}

template <class T, class E>
  requires PolarOps<E, T>
bool Polar<T, E>::factor() {
  if (start() > 0) return iterate(std::nullopt);
  set_identity();
  return true;
}

template <class T, class E>
  requires PolarOps<E, T>
void Polar<T, E>::set_identity() {
  zero(w_.x);
  const TiledShard<T> x{layout_, w_.x, e_.rank()};
  for (const std::int64_t t : layout_.tiles_of(e_.rank())) e_.identity(lane, x.diagonal(t));
  e_.join();
}

template <class T, class E>
  requires PolarOps<E, T>
void Polar<T, E>::hermitian_product(R alpha, MatrixView<T> p, MatrixView<T> q, MatrixView<T> c) {
  zero(c);
  products_.adjoint_product(T(alpha), p, q, c);
  products_.adjoint_product(T(alpha), q, p, c);
  mirror_lower(c);
}

template <class T, class E>
  requires PolarOps<E, T>
void Polar<T, E>::hermitian_factor(int sign) {
  hermitian_product(static_cast<R>(sign * 0.5), w_.x, b_, w_.w);
}

}  // namespace jaxmg
