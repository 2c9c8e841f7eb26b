// tsqr: QR factorisation of a tall matrix, whose rows stay where they are.
//
// Q replaces A; without `vectors` A is overwritten. With `least_squares`, A may stay as it is, if R suffices for the
// seminormal equations: `kept` is then 1, otherwise 0. R is replicated. `info` is the number, from 1, of the first zero
// on the diagonal of R, or 0, the same on every rank.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "algorithms/qr/tsqr.h"
#include "routines/geqrf.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Tsqr {
  static constexpr auto name = "tsqr";
  static constexpr bool data_decides = true;  // whether Gram matrices suffice
  struct Problem : RectangularProblem {
    bool vectors = true;
    bool least_squares = false;

    void fields(auto&& visit) {
      RectangularProblem::fields(visit);
      visit("vectors", vectors);
      visit("least_squares", least_squares);
    }
    void check() const {
      RectangularProblem::check();
      require(m >= n,
              "tsqr requires at least as many rows as columns, got " + std::to_string(m) + " x " + std::to_string(n));
    }
    std::int64_t shard() const { return share(m); }
    std::int64_t shard_bytes() const { return shard() * n * size_of(type); }
    TallRows rows_of_ranks() const { return {m, n, shard(), static_cast<int>(ranks), piece}; }

    // Rows that reflectors are applied to at once: the kernel of geqrt holds a column of them in shared memory.
    static constexpr std::int64_t piece = std::int64_t{1} << 18;
  };
  using Plan = jaxmg::Plan;
  struct Rows : OfScalars {
    static constexpr auto name = "a";
    static Shape shape(const Problem& q, const Plan&) { return {q.shard(), q.n}; }
  };
  struct R : OfScalars {
    static constexpr auto name = "r";
    static Shape shape(const Problem& q, const Plan&) { return {q.n, q.n}; }
  };
  struct Kept : OfIntegers {
    static constexpr auto name = "kept";
    static Shape shape(const Problem& q, const Plan&) { return q.least_squares ? Shape{1} : Shape{}; }
  };
  using Buffers = Signature<InOut<Rows>, Out<R>, Out<Kept>, Out<Info>>;

  // Stage: workspace of the algorithm.
  template <class T>
  struct FactorTall : TsqrWorkspace<T> {
    FactorTall(Arena& arena, const Problem& q, const Plan& plan)
        : TsqrWorkspace<T>(arena, q.rows_of_ranks(), plan.tile, geqrt_leaf) {}
  };
  template <class T>
  using Workspace = Staged<FactorTall<T>>;

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    Planned<Plan> made;
    made.plan.tile = std::min<std::int64_t>(q.n, q.tile > 0 ? q.tile : 128);
    made.plan.largest_potrf = q.n;
    made.shard_bytes = q.shard_bytes();
    made.workspace_bytes = workspace_bytes<Tsqr>(q, made.plan);
    check_limit(q, made);
    made.seconds = ColumnsCost(q.platform, q.type, q.ranks, q.network).tsqr(q.m, q.n, q.vectors, q.least_squares);
    return made;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<T> r,
                  MatrixView<std::int32_t> kept, MatrixView<std::int32_t> info) {
    begin_status(engine, w);
    jaxmg::Tsqr<T, E> tsqr(engine, q.rows_of_ranks(), q.vectors, a, r, w);
    if (q.least_squares) {
      engine.set_info(Lane::panel, kept.data, tsqr.run_for_least_squares() ? 1 : 0);
    } else {
      tsqr.run();
    }
    engine.check_pivots(Lane::panel, r, 0, w.StagedWorkspace::info + engine.rank());
    conclude(engine, MatrixView<T>{}, info.data, w);
    engine.join();
  }
};

}  // namespace jaxmg::routines
