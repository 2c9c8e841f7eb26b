// tall_gels: the factor that least squares of a tall matrix are solved with, for a matrix whose rows stay where they
// are and which is kept. R is replicated. `kept` is 1 if R suffices for the seminormal equations (seminormal.h); Q is
// then undefined. Otherwise `kept` is 0, and A = Q R. `info` is the number, from 1, of the first zero on the diagonal
// of R, or 0, the same on every rank.
#pragma once

#include "algorithms/qr/steps.h"
#include "algorithms/qr/tsqr.h"
#include "routines/record.h"
#include "routines/tsqr.h"

namespace jaxmg::routines {

struct TallGels : OnTallRows<TallGels> {
  static constexpr auto name = "tall_gels";
  static constexpr bool data_decides = true;  // whether Gram matrices suffice
  using Problem = TallProblem;
  struct Q : OfScalars {
    static constexpr auto name = "q";
    static Shape shape(const Problem& q, const Plan&) { return {q.shard(), q.n}; }
  };
  struct Kept : OfIntegers {
    static constexpr auto name = "kept";
    static Shape shape(const Problem&, const Plan&) { return {1}; }
  };
  using Buffers = Signature<In<TallShard>, Out<Q>, Out<ReplicatedR>, Out<Kept>, Out<Info>>;

  // Stage: workspace of the algorithm.
  template <class T>
  struct Factor : TsqrWorkspace<T>, GramTrialWorkspace<T> {
    Factor(Arena& arena, const Problem& q, const Plan& plan)
        : TsqrWorkspace<T>(arena, q.rows_of_ranks(), plan.tile, geqrt_leaf),
          GramTrialWorkspace<T>(arena, q.rows_of_ranks(), 0) {}
  };
  template <class T>
  using Workspace = Staged<Factor<T>>;

  static Planned<Plan> plan(const Problem& q) {
    auto made = OnTallRows::plan(q);
    made.shard_bytes *= 2;  // A and Q
    return made;
  }
  static double seconds(const ColumnsCost& cost, const Problem& q) { return cost.tall_gels(q.m, q.n); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<T> factor,
                  MatrixView<T> r, MatrixView<std::int32_t> kept, MatrixView<std::int32_t> info) {
    begin_status(engine, w);
    jaxmg::Tsqr<T, E> tsqr(engine, q.rows_of_ranks(), true, factor, r, w);
    Steps steps = steps_of<Real<T>>();
    const bool suffices = tsqr.run_for_least_squares(a, MatrixView<T>{nullptr, a.columns, 0, 1}, w, steps);
    if (suffices) tsqr.copy_sufficient();
    engine.set_info(Lane::panel, kept.data, suffices ? 1 : 0);
    conclude_tall(engine, r, info, w);
  }
};

}  // namespace jaxmg::routines
