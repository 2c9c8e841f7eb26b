// geqrf: QR factorisation A = Q R, from columns of A to R and reflectors in tile columns.
//
// Columns of A are rows of its transpose in JAX. `info` is the number, from 1, of the first zero on the diagonal of R,
// or 0, the same on every rank: LAPACK's gels reports this of a matrix that is not of full rank.
//
// A power of two scales A before and R after, where squares of elements would over- or underflow. Reflectors and T do
// not depend on it, and nothing that reads the factor needs to know it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/qr/geqrf.h"
#include "algorithms/qr/ormqr.h"
#include "routines/record.h"

namespace jaxmg {

// This rank's columns of A or of its factor.
struct ColumnShard : OfScalars {
  static constexpr auto name = "a";
  static Shape shape(const auto& q, const auto&) { return {q.shard(), q.m}; }
};
struct QrVectors : ColumnShard {
  static constexpr auto name = "factor";
};
// T of the tile columns, at their places in the shard.
struct QrFactors : OfScalars {
  static constexpr auto name = "factors";
  static Shape shape(const auto& q, const auto& plan) { return {q.shard(), plan.tile}; }
};

namespace routines {

// Arguments of routines that apply Q, or solve with R, of a factor to right-hand sides.
struct QrSystemProblem : RectangularSystemProblem {
  bool adjoint = false;  // apply Q^H, or solve with R^H

  void fields(auto&& visit) {
    RectangularSystemProblem::fields(visit);
    visit("adjoint", adjoint);
  }
  Op op() const { return adjoint ? Op::conj_transpose : Op::none; }
};

// Columns that the engine's geqrt factors at once, at most.
inline constexpr std::int64_t geqrt_leaf = 64;

// Stage: workspaces of the algorithm and of scaling.
template <class T>
struct FactorQr : GeqrfWorkspace<T>, ScalingWorkspace<T> {
  FactorQr(Arena& arena, const RectangularProblem& q, const BlockColumnPlan& plan)
      : GeqrfWorkspace<T>(arena, q.layout(plan.tile), geqrt_leaf, plan.slots), ScalingWorkspace<T>(arena, q.ranks) {}
};

struct Geqrf : OnBlockColumns<Geqrf> {
  static constexpr auto name = "geqrf";
  using Problem = RectangularProblem;
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<ColumnShard>, Out<QrFactors>, Out<Info>>;
  template <class T>
  using Workspace = Staged<FactorQr<T>, Dealing<T>>;

  // A block column is one tile, whose rows lie on one rank.
  static std::int64_t preferred_depth(std::int64_t) { return 1; }
  static double seconds(const ColumnsCost& cost, const RectangularProblem& q, const Plan& plan) {
    return cost.deal(q.shard_bytes()) + cost.geqrf(q.m, q.n, plan.tile);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<T> factors, MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    begin_status(engine, w);
    redistribute(engine, layout, a, w.shared(), false);
    scale_matrix<T>(engine, Lane::panel, layout, a, w.norms, w.scale, nullptr);
    engine.zero(Lane::panel, factors);
    engine.join();
    jaxmg::Geqrf<T, E>(engine, layout, a, factors, w).run();
    unscale_r(engine, layout, a, w.scale);
    check_diagonal_of_r(engine, layout, a, w.info + engine.rank());
    conclude(engine, MatrixView<T>{}, info.data, w);
    engine.join();
  }
};

}  // namespace routines
}  // namespace jaxmg
