// Both polar factors of a square matrix of any scale in tile columns: B = U H, or B = H U with another H.
//
// The first H is the mean of U^H B and its adjoint. The other one is the mean of B U^H and its adjoint, by products of
// the adjoints of U and of B.
#pragma once

#include <cstdint>
#include <optional>

#include "algorithms/moves/share_entries.h"
#include "algorithms/svd/polar.h"
#include "algorithms/svd/unit_scale.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "core/staged_arena.h"
#include "engine/engine.h"
#include "engine/scaling_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct PolarFactorsWorkspace {
  std::int32_t *info, *failed;  // an entry for each rank
  Real<T>*norms, *factor, *measures;
  MatrixView<T> x, w, y;
  StagedArena memory;
  PolarWorkspace<T> polar;

  // If `factor_h`, the caller has memory for y.
  PolarFactorsWorkspace(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots, bool factor_h)
      : info(arena.take<std::int32_t>(layout.ranks())),
        failed(arena.take<std::int32_t>(layout.ranks())),
        norms(arena.take<Real<T>>(layout.ranks())),
        factor(arena.take<Real<T>>(1)),
        measures(arena.take<Real<T>>(2 * layout.order())),
        x(arena.matrix<T>(layout.order(), layout.shard())),
        w(arena.matrix<T>(layout.order(), layout.shard())),
        y(factor_h ? MatrixView<T>{} : arena.matrix<T>(layout.order(), layout.shard())),
        memory(arena),
        polar(memory, x, w, measures, failed, layout, depth, slots) {}
};

template <class T, class E>
  requires PolarOps<E, T> && ScalingOps<E, T>
class PolarFactors {
 public:
  // `a`, this rank's n rows by shard of B, becomes U; `h`, of the same size or empty, becomes H, on the left if `left`.
  // `status` is the same on all ranks: 0, `not_finite`, or 1 if the iteration did not converge; unless it is 0, both
  // factors are NaN.
  PolarFactors(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MatrixView<T> h, bool left,
               std::int32_t* status, PolarFactorsWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        a_(a),
        h_(h),
        y_(h.empty() ? workspace.y : h),
        left_(left),
        status_(status),
        w_(workspace),
        polar_(engine, layout, depth, a, y_, workspace.polar) {}

  void run();

 private:
  static constexpr Lane lane = Lane::panel;

  std::int32_t factor() {
    const std::optional<int> exponent = scale_to_unit(e_, lane, layout_, a_, w_.norms, w_.factor);
    e_.join();
    if (!exponent) return not_finite;
    if (!polar_.factor()) return 1;
    if (!h_.empty()) {
      const MatrixView<T> h = hermitian_factor();
      multiply_by_power(e_, lane, layout_, h, *exponent, w_.factor);
      e_.join();
      e_.zero(lane, h_);
      copy_own(h, h_);
    }
    copy_own(w_.x, a_);
    e_.join();
    return 0;
  }

  // H, in W or in A.
  MatrixView<T> hermitian_factor() {
    if (!left_) {
      polar_.hermitian_factor(1);
      return w_.w;
    }
    polar_.adjoint(w_.x, y_);
    polar_.adjoint(a_, w_.w);
    polar_.hermitian_product(Real<T>(0.5), y_, w_.w, a_);
    return a_;
  }

  // Columns of tiles; padding of the shards of A is zero.
  void copy_own(MatrixView<T> from, MatrixView<T> to) {
    for (const Span& span : layout_.spans(e_.rank(), 0, layout_.count())) {
      e_.copy(lane, from.block(0, span.begin, from.rows, span.width), to.block(0, span.begin, to.rows, span.width));
    }
  }

  E& e_;
  const TileColumns& layout_;
  MatrixView<T> a_, h_, y_;
  bool left_;
  std::int32_t* status_;
  PolarFactorsWorkspace<T>& w_;
  Polar<T, E> polar_;
};

template <class T, class E>
  requires PolarOps<E, T> && ScalingOps<E, T>
void PolarFactors<T, E>::run() {
  const std::int32_t failure = factor();
  e_.set_info(lane, w_.info + e_.rank(), failure == 0 ? no_failure : failure);
  share_entries(e_, lane, w_.info);
  e_.conclude(lane, w_.info, a_, status_);
  if (!h_.empty()) e_.conclude(lane, w_.info, h_, status_);
  e_.join();
}

}  // namespace jaxmg
