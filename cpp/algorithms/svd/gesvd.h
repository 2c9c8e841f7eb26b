// Singular values and vectors of a square matrix in tile columns, B = U diag(s) V^H, by the polar decomposition:
//
//   B = P H               polar.h
//   H = V diag(s) V^H     eigen/syevd.h, of -H, whose ascending eigenvalues are the singular values in descending order
//   U = P V
//
// U and V are orthogonal to working precision whatever the condition or rank of B: they are products of unitary
// matrices (Higham and Papadimitriou, Parallel Computing 20, 1994; Nakatsukasa and Higham, SIAM J. Sci. Comput. 35,
// 2013).
//
// If the condition of B is at most 10 n, the usual case of a random matrix, half of the work is saved:
//
//   B^H B = V diag(l) V^H
//   (B V)^H (B V) = L L^H     L is nearly diagonal
//   U = B V L^-H,  s = diag(L)
//
// Columns of B V are orthogonal to about eps cond^2, hence one Cholesky factorisation makes U orthogonal to eps; it is
// invariant to the scaling of the columns. B = U L^H V^H exactly, up to rounding: the elements of L below its diagonal
// are the residual, which is checked. In single precision the condition cannot be measured that far, and U is computed
// from P.
//
// Singular values alone are square roots of the eigenvalues l of B^H B if the condition is at most n: their error is
// about eps cond ||B||. Up to 10 n they are diag(L) as above, without U, where the workspace has room for V: an
// eigenproblem with vectors takes less time than a polar decomposition. Otherwise they are the eigenvalues of H.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "algorithms/eigen/syevd.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/moves/share_entries.h"
#include "algorithms/svd/polar.h"
#include "algorithms/svd/unit_scale.h"
#include "core/arena.h"
#include "core/ceil_div.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "core/staged_arena.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// The status if the polar iteration does not converge, beyond every status of the eigensolver.
inline constexpr std::int32_t polar_not_converged(std::int64_t n) { return static_cast<std::int32_t>(n + 2); }

template <class T>
struct GesvdWorkspace {
  using R = Real<T>;

  std::int32_t *info, *failed;  // an entry for each rank
  std::int32_t* status;         // the eigensolver's
  R* norms;
  R* factor;
  R *measures, *eigenvalues;
  MatrixView<T> x, w, y;
  StagedArena memory;
  PolarWorkspace<T> polar;
  // In the memory of polar's stages.
  std::optional<SyevdWorkspace<T>> of_values, of_vectors;

  // If `vectors`, the caller has memory for y. `values_by_vectors`: eigenvectors are also computed for singular values
  // alone, where that is faster.
  GesvdWorkspace(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots,
                 const SyevdBlocking& blocking, bool vectors, bool values_by_vectors)
      : info(arena.take<std::int32_t>(layout.ranks())),
        failed(arena.take<std::int32_t>(layout.ranks())),
        status(arena.take<std::int32_t>(1)),
        norms(arena.take<R>(layout.ranks())),
        factor(arena.take<R>(1)),
        measures(arena.take<R>(2 * layout.order())),
        eigenvalues(arena.take<R>(layout.order())),
        x(arena.matrix<T>(layout.order(), layout.shard())),
        w(arena.matrix<T>(layout.order(), layout.shard())),
        y(vectors ? MatrixView<T>{} : arena.matrix<T>(layout.order(), layout.shard())),
        memory(arena),
        polar(memory, x, w, measures, failed, layout, depth, slots) {
    if (!vectors) of_values.emplace(arena, layout, blocking, 0);
    if (vectors || values_by_vectors) of_vectors.emplace(arena, layout, blocking, layout.shard());
  }

  std::int64_t bytes() const {
    return std::max({memory.bytes(), of_values ? of_values->bytes : 0, of_vectors ? of_vectors->bytes : 0});
  }
};

template <class T, class E>
  requires PolarOps<E, T> && EigenOps<T, E>
class Gesvd {
 public:
  using R = Real<T>;

  // `a` is this rank's n rows by shard of the matrix in tile columns, and is overwritten. `s` (n) receives the singular
  // values in descending order, on every rank; `u` and `v` (n by shard; both empty for singular values alone) receive
  // the singular vectors number r shard and following on rank r. `status` is the same on all ranks; where it is not 0
  // (`not_finite`, the eigensolver's, or polar_not_converged) all results are NaN.
  Gesvd(E& engine, const TileColumns& layout, std::int64_t depth, const SyevdBlocking& blocking, MatrixView<T> a, R* s,
        MatrixView<T> u, MatrixView<T> v, std::int32_t* status, GesvdWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        blocking_(blocking),
        n_(layout.order()),
        a_(a),
        values_{s, n_, 1, n_},
        u_(u),
        v_(v),
        y_(u.empty() ? workspace.y : u),
        status_(status),
        w_(workspace),
        polar_(engine, layout, depth, a, y_, workspace.polar) {}

  void run();

 private:
  static constexpr Lane lane = Lane::panel;
  static constexpr bool measures_condition = std::is_same_v<R, double>;

  // Returns LAPACK's info.
  std::int32_t decompose();

  // W = V diag(w) V^H for the Hermitian matrix in W, both triangles; w on the host, no vectors if V is empty.
  std::int32_t solve_eigenproblem(std::vector<R>& w, MatrixView<T> v) {
    [[maybe_unused]] const typename E::Range range("eigenproblem");
    Syevd<T, E>(e_, layout_, blocking_, w_.w, w_.eigenvalues, v, {{0, v.empty() ? 0 : n_}, nullptr, nullptr}, w_.status,
                v.empty() ? *w_.of_values : *w_.of_vectors)
        .run([](const char*) {});
    std::int32_t status = 0;
    w.resize(static_cast<std::size_t>(n_));
    e_.fetch(lane, w_.status, 1, &status);
    e_.fetch(lane, w_.eigenvalues, n_, w.data());
    return status;
  }

  // W = -W, both triangles.
  void negate_gram() {
    for (const Span& span : layout_.spans(e_.rank(), 0, layout_.count())) {
      const auto w = w_.w.block(0, span.begin, n_, span.width);
      e_.scale_and_shift(lane, R(-1), w, R(0), w);
    }
    e_.join();
    polar_.mirror_lower(w_.w);
  }

  // W = L and s = diag(L), for the columns X V or B V. Returns false if L is not nearly diagonal.
  bool factor_columns(MatrixView<T> columns, std::vector<R>& s);
  // U and s from V, for singular values of X = B / alpha. Returns false if the singular values are not accurate enough.
  bool complete_vectors(double alpha, std::vector<R>& s);
  // s of B from V in Y, with the same result.
  bool complete_values(std::vector<R>& s);
  // Puts the singular values in descending order, and columns of U and V with them.
  void sort(std::vector<R>& s);

  // The memory of a matrix of the workspace, rounded up as arenas do.
  Arena memory_of(MatrixView<T> matrix) const {
    const std::int64_t bytes = n_ * layout_.shard() * static_cast<std::int64_t>(sizeof(T));
    return {matrix.data, ceil_div(bytes, Arena::alignment) * Arena::alignment};
  }

  // Stores 2^exponent s.
  void store_values(const std::vector<R>& s, int exponent) {
    std::vector<R> scaled;
    for (const R value : s) scaled.push_back(std::ldexp(value, exponent));
    e_.store(lane, scaled.data(), n_, values_.data);
  }

  void conclude(std::int32_t info) {
    e_.set_info(lane, w_.info + e_.rank(), info == 0 ? no_failure : info);
    share_entries(e_, lane, w_.info);
    e_.conclude(lane, w_.info, values_, status_);
    if (!u_.empty()) e_.conclude(lane, w_.info, u_, status_);
    if (!v_.empty()) e_.conclude(lane, w_.info, v_, status_);
    e_.join();
  }

  E& e_;
  const TileColumns& layout_;
  const SyevdBlocking& blocking_;
  std::int64_t n_;
  MatrixView<T> a_;
  MatrixView<R> values_;
  MatrixView<T> u_, v_, y_;
  std::int32_t* status_;
  GesvdWorkspace<T>& w_;
  Polar<T, E> polar_;
};

template <class T, class E>
  requires PolarOps<E, T> && EigenOps<T, E>
void Gesvd<T, E>::run() {
  conclude(decompose());
}

template <class T, class E>
  requires PolarOps<E, T> && EigenOps<T, E>
std::int32_t Gesvd<T, E>::decompose() {
  const std::optional<int> exponent = scale_to_unit(e_, lane, layout_, a_, w_.norms, w_.factor);
  e_.join();
  if (!exponent) return not_finite;
  const bool vectors = !u_.empty();
  const auto order = static_cast<double>(n_), eps = static_cast<double>(std::numeric_limits<R>::epsilon());
  std::vector<R> w;
  double alpha = polar_.start();
  std::optional<double> least;
  if (measures_condition && alpha > 0) {
    least = polar_.least_singular_value(1 / (64 * std::sqrt(order) * eps));
    // `least` is half the estimate.
    const double condition = least ? 0.5 / *least : std::numeric_limits<double>::infinity();
    if (!vectors && condition <= order) {
      negate_gram();
      if (const std::int32_t status = solve_eigenproblem(w, {}); status != 0) return status;
      for (R& value : w) value = static_cast<R>(alpha) * std::sqrt(std::max(-value, R(0)));
      store_values(w, *exponent);
      return 0;
    }
    if (w_.of_vectors && condition <= 10 * order) {
      negate_gram();
      if (const std::int32_t status = solve_eigenproblem(w, vectors ? v_ : y_); status != 0) return status;
      if (vectors ? complete_vectors(alpha, w) : complete_values(w)) {
        store_values(w, *exponent);
        return 0;
      }
      alpha = polar_.start();
    }
  }
  if (alpha == 0) {
    polar_.set_identity();
  } else if (!polar_.iterate(least)) {
    return polar_not_converged(n_);
  }
  polar_.hermitian_factor(-1);
  if (const std::int32_t status = solve_eigenproblem(w, v_); status != 0) return status;
  for (R& value : w) value = std::max(-value, R(0));
  if (vectors) polar_.multiply(w_.x, v_, u_);
  store_values(w, *exponent);
  return 0;
}

template <class T, class E>
  requires PolarOps<E, T> && EigenOps<T, E>
bool Gesvd<T, E>::factor_columns(MatrixView<T> columns, std::vector<R>& s) {
  polar_.gram(columns, w_.w);
  if (!polar_.factor_in_place(w_.w)) return false;
  const auto measured = polar_.measure(w_.w);
  s = measured.diagonal;
  const auto largest = static_cast<double>(*std::max_element(s.begin(), s.end()));
  const double eps = static_cast<double>(std::numeric_limits<R>::epsilon());
  return measured.below_norm() <= 10 * static_cast<double>(n_) * eps * largest;
}

template <class T, class E>
  requires PolarOps<E, T> && EigenOps<T, E>
bool Gesvd<T, E>::complete_values(std::vector<R>& s) {
  [[maybe_unused]] const typename E::Range range("norms of columns");
  polar_.multiply(a_, y_, w_.x);
  redistribute(e_, layout_, w_.x, memory_of(w_.w), false);
  if (!factor_columns(w_.x, s)) return false;
  std::sort(s.begin(), s.end(), std::greater<>());
  return true;
}

template <class T, class E>
  requires PolarOps<E, T> && EigenOps<T, E>
bool Gesvd<T, E>::complete_vectors(double alpha, std::vector<R>& s) {
  [[maybe_unused]] const typename E::Range range("left vectors");
  polar_.multiply(w_.x, v_, u_);
  redistribute(e_, layout_, u_, memory_of(w_.x), false);
  if (!factor_columns(u_, s)) return false;
  polar_.adjoint(u_, w_.x);
  polar_.solve(w_.w, Op::none, w_.x);
  polar_.adjoint(w_.x, u_);
  redistribute(e_, layout_, u_, memory_of(w_.x), true);
  for (R& value : s) value *= static_cast<R>(alpha);
  sort(s);
  return true;
}

template <class T, class E>
  requires PolarOps<E, T> && EigenOps<T, E>
void Gesvd<T, E>::sort(std::vector<R>& s) {
  std::vector<std::size_t> order(s.size());
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](std::size_t i) { return std::pair(s[i] >= 0 ? -s[i] : R(1), i); };  // NaN last
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return key(i) < key(j); });
  const std::vector<R> unsorted = s;
  std::vector<Block> moves;
  const std::int64_t shard = layout_.shard();
  for (std::size_t j = 0; j < s.size(); ++j) {
    if (order[j] == j) continue;
    s[j] = unsorted[order[j]];
    const auto from = static_cast<std::int64_t>(order[j]), to = static_cast<std::int64_t>(j);
    for (const auto& [copy, vectors] : {std::pair{w_.x, u_}, std::pair{w_.w, v_}}) {
      moves.push_back(make_block(static_cast<int>(from / shard), static_cast<int>(to / shard),
                                 copy.block(0, from % shard, n_, 1), vectors.block(0, to % shard, n_, 1)));
    }
  }
  if (moves.empty()) return;
  e_.copy(lane, u_, w_.x);
  e_.copy(lane, v_, w_.w);
  e_.exchange(lane, moves);
  e_.join();
}

}  // namespace jaxmg
