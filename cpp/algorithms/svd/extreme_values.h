// Estimates of extreme singular values by a few steps on a few pseudo-random vectors.
//
//   ||B||_2           power iteration, v <- B^H B v
//   lambda_min(A)     inverse iteration with A = L L^H, v <- L^-H L^-1 v
//
// Ratios of norms of successive vectors are lower bounds of ||B||_2^2 and of 1 / lambda_min. Decisions follow from
// them, and must be the same on every rank: all ranks receive the same bits of each vector, which one rank computes.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/triangular/trsm_few.h"
#include "core/arena.h"
#include "core/larger.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/svd_ops.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

inline constexpr std::int64_t probe_vectors = 4;
inline constexpr int power_steps = 6, inverse_steps = 4;

template <class T>
struct ExtremeValuesWorkspace {
  MatrixView<T> vectors;  // before the last step, and after it; side by side
  MatrixView<T> product;  // B v
  MatrixView<T> terms;    // of each rank
  TrsmFewWorkspace<T> sweeps;

  ExtremeValuesWorkspace(Arena& arena, const TileColumns& layout)
      : vectors(arena.matrix<T>(layout.order(), 2 * probe_vectors)),
        product(arena.matrix<T>(layout.order(), probe_vectors)),
        terms(arena.matrix<T>(layout.order(), probe_vectors * layout.ranks())),
        sweeps(arena, layout, probe_vectors) {}
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && SvdOps<E, T>
class ExtremeValues {
 public:
  ExtremeValues(E& engine, const TileColumns& layout, ExtremeValuesWorkspace<T>& workspace)
      : e_(engine), layout_(layout), w_(workspace) {}

  // A lower bound of ||B||_2, usually within a few per cent. `frobenius` is ||B||_F.
  double largest(MatrixView<T> b, double frobenius);
  // An upper bound of the least eigenvalue of L L^H, usually within a few per cent; or a bound that is not above
  // `enough`, as soon as a step gives one. NaN if L has NaN.
  double smallest(MatrixView<T> factor, double enough);

 private:
  static constexpr Lane lane = Lane::panel;

  MatrixView<T> before() const { return w_.vectors.block(0, 0, layout_.order(), probe_vectors); }
  MatrixView<T> now() const { return w_.vectors.block(0, probe_vectors, layout_.order(), probe_vectors); }
  MatrixView<T> term(int rank) const { return w_.terms.block(0, rank * probe_vectors, layout_.order(), probe_vectors); }
  MatrixView<T> rows(MatrixView<T> m, std::int64_t t) const {
    return m.block(layout_.begin(t), 0, layout_.width(t), m.columns);
  }

  void begin() {
    e_.zero(lane, now());
    e_.add_noise(lane, Real<T>(1), 0, 0, now());
    e_.join();
  }

  // The largest ratio of the norms of a vector after and before the last step. NaN if one of them is.
  double growth() {
    const std::size_t n = static_cast<std::size_t>(layout_.order()), count = static_cast<std::size_t>(probe_vectors);
    std::vector<T> all(2 * n * count);
    e_.join();
    e_.fetch(lane, w_.vectors.data, static_cast<std::int64_t>(all.size()), all.data());
    double most = 0;
    for (std::size_t k = 0; k < count; ++k) {
      most = larger_or_nan(most, norm(&all[(count + k) * n], n) / norm(&all[k * n], n));
    }
    return most;
  }
  static double norm(const T* x, std::size_t n) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double re = static_cast<double>(std::real(x[i])), im = static_cast<double>(std::imag(x[i]));
      sum += re * re + im * im;
    }
    return std::sqrt(sum);
  }

  // v <- alpha B^H B v: B v is summed on rank 0.
  void power_step(const TiledShard<T>& b, T alpha) {
    const std::int64_t n = layout_.order();
    const MatrixView<T> sum = e_.size() > 1 ? term(e_.rank()) : w_.product;
    e_.zero(lane, sum);
    for (const std::int64_t t : layout_.tiles_of(e_.rank())) {
      e_.gemm(lane, Op::none, Op::none, T(1), b.tile(t, 0, n), rows(now(), t), sum);
    }
    if (e_.size() > 1) {
      std::vector<Block> gather;
      std::vector<MatrixView<T>> terms;
      for (int r = 0; r < e_.size(); ++r) {
        if (r > 0) gather.push_back(make_block(r, 0, term(r), term(r)));
        terms.push_back(term(r));
      }
      e_.exchange(lane, gather);
      if (e_.rank() == 0) {
        e_.zero(lane, w_.product);
        e_.subtract(lane, terms, w_.product);  // -B v has the same norm
      }
      e_.exchange(lane, {make_block(0, all_ranks, w_.product, w_.product)});
    }
    std::vector<Block> broadcast;
    for (std::int64_t t = 0; t < layout_.count(); ++t) {
      broadcast.push_back(make_block(layout_.owner(t), all_ranks, rows(now(), t), rows(now(), t)));
    }
    for (const std::int64_t t : layout_.tiles_of(e_.rank())) {
      e_.zero(lane, rows(now(), t));
      e_.gemm(lane, Op::conj_transpose, Op::none, alpha, b.tile(t, 0, n), w_.product, rows(now(), t));
    }
    if (e_.size() > 1) e_.exchange(lane, broadcast);
  }

  E& e_;
  const TileColumns& layout_;
  ExtremeValuesWorkspace<T>& w_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && SvdOps<E, T>
double ExtremeValues<T, E>::largest(MatrixView<T> b, double frobenius) {
  const TiledShard<T> own{layout_, b, e_.rank()};
  begin();
  // B^H B / ||B||_F^2 has a norm from 1 / n to 1: no vector over- or underflows.
  const auto alpha = static_cast<Real<T>>(1 / (frobenius * frobenius));
  for (int step = 0; step < power_steps; ++step) {
    e_.copy(lane, now(), before());
    power_step(own, T(alpha));
  }
  return frobenius * std::sqrt(growth());
}

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && SvdOps<E, T>
double ExtremeValues<T, E>::smallest(MatrixView<T> factor, double enough) {
  begin();
  TrsmFew<T, E> sweeps(e_, layout_, factor, now(), w_.sweeps);
  for (int step = 1;; ++step) {
    e_.copy(lane, now(), before());
    e_.join();
    sweeps.solve({Uplo::lower, Op::none, Diag::non_unit});
    sweeps.solve({Uplo::lower, Op::conj_transpose, Diag::non_unit});
    const double bound = 1 / growth();
    if (!(bound > enough) || step == inverse_steps) return bound;
  }
}

}  // namespace jaxmg
