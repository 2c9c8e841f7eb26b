// rtrs: R X = B or R^H X = B with the square R of the factor of geqrf, for an A with at least as many rows as columns.
// Right-hand sides are rows, not conjugated.
#pragma once

#include <cstdint>

#include "algorithms/triangular/triangle.h"
#include "routines/geqrf.h"
#include "routines/record.h"
#include "routines/sweeps.h"

namespace jaxmg::routines {

// The tile columns of R, the first n rows of the factor.
inline TileColumns layout_of_r(const SquareProblem& q, std::int64_t tile) { return q.layout(tile); }

// Stage: workspace of the sweeps.
template <class T>
struct SolveWithR : SweepsWorkspace<T> {
  SolveWithR(Arena& arena, const RectangularSystemProblem& q, const SystemPlan& plan)
      : SweepsWorkspace<T>(arena, layout_of_r(q, plan.tile), q.nrhs, plan) {}
};

struct Rtrs : OnBlockColumns<Rtrs> {
  static constexpr auto name = "rtrs";
  struct Problem : QrSystemProblem {
    void check() const {
      RectangularSystemProblem::check();
      require(m >= n, "R of a matrix of " + std::to_string(m) + " x " + std::to_string(n) + " is not square");
    }
  };
  using Plan = SystemPlan;
  using Buffers = Signature<InOut<RightHandSides>, In<QrVectors>>;
  template <class T>
  using Workspace = Staged<SolveWithR<T>>;

  static std::int64_t preferred_depth(std::int64_t) { return 1; }
  static double seconds(const ColumnsCost& cost, const RectangularSystemProblem& q, const Plan& plan) {
    return cost.sweeps(q.n, q.nrhs, plan.tile, plan.depth, plan.distributed_rhs) / 2;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> x, MatrixView<T> a) {
    const TileColumns layout = layout_of_r(q, plan.tile);
    w.solve(engine, layout, plan.depth, a.block(0, 0, q.n, a.columns), x, {Uplo::upper, q.op(), Diag::non_unit});
  }
};

}  // namespace jaxmg::routines
