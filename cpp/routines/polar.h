// polar: A = U H (H on the right) or A = H U (on the left), U unitary, H Hermitian and positive semidefinite. Rows of U
// overwrite A.
//
// The shards are columns of M = A^T. Its unitary factor is U^T, whose columns are the rows of U. Columns of M's own
// factor are the rows of the left H; columns of M conj(U) are the rows of the right H.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "algorithms/moves/redistribute.h"
#include "algorithms/svd/polar.h"
#include "algorithms/svd/unit_scale.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Polar {
  static constexpr auto name = "polar";
  static constexpr bool data_decides = true;  // steps of the iteration
  struct Problem : SquareProblem {
    bool left = false;     // A = H U
    bool factor_h = true;  // H is a result

    void fields(auto&& visit) {
      SquareProblem::fields(visit);
      visit("left", left);
      visit("factor_h", factor_h);
    }
  };
  using Plan = BlockColumnPlan;
  struct Hermitian : OfScalars {
    static constexpr auto name = "h";
    static Shape shape(const Problem& q, const auto&) { return q.factor_h ? Shape{q.shard(), q.n} : Shape{}; }
  };
  using Buffers = Signature<InOut<Shard>, Out<Hermitian>, Out<Info>>;

  template <class T>
  struct Workspace {
    std::int32_t *info, *failed;  // an entry for each rank
    Real<T>*norms, *factor, *measures;
    MatrixView<T> x, w, y;
    StagedArena memory;
    PolarWorkspace<T> polar;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : info(arena.take<std::int32_t>(q.ranks)),
          failed(arena.take<std::int32_t>(q.ranks)),
          norms(arena.take<Real<T>>(q.ranks)),
          factor(arena.take<Real<T>>(1)),
          measures(arena.take<Real<T>>(2 * q.n)),
          x(arena.matrix<T>(q.n, q.shard())),
          w(arena.matrix<T>(q.n, q.shard())),
          y(q.factor_h ? MatrixView<T>{} : arena.matrix<T>(q.n, q.shard())),
          memory(arena),
          polar(memory, x, w, measures, failed, q.layout(plan.tile), plan.depth, plan.slots) {
      memory.stage<Dealing<T>>(q, plan);
    }
    std::int64_t bytes() const { return memory.bytes(); }
  };

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    Planned<Plan> made;
    made.plan.tile = choose_tile(q);
    choose_block_columns(q, made.plan);
    made.shard_bytes = q.shard_bytes();
    made.rhs_bytes = q.factor_h ? q.shard_bytes() : 0;
    const auto measure = [&] {
      made.plan.largest_potrf = q.ranks == 1 ? q.n : made.plan.depth;
      made.workspace_bytes = workspace_bytes<Polar>(q, made.plan);
    };
    measure();
    while (exceeds_limit(q, made) && shrink(made.plan)) measure();
    check_limit(q, made);
    made.seconds = cost_of(q).polar(q.n, made.plan.tile, made.plan.depth);
    return made;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> h,
                  MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    redistribute(engine, layout, a, w.memory.shared(), false);
    const std::optional<int> exponent = scale_to_unit(engine, lane, layout, a, w.norms, w.factor);
    engine.join();
    const MatrixView<T> y = q.factor_h ? h : w.y;
    jaxmg::Polar<T, E> polar(engine, layout, plan.depth, a, y, w.polar);
    std::int32_t failure = exponent ? 0 : not_finite;
    if (failure == 0 && !polar.factor()) failure = 1;
    if (failure == 0) {
      if (q.factor_h) {
        multiply_by_power(engine, lane, layout, factor_h(q, polar, w, a, y), *exponent, w.factor);
        engine.join();
        engine.zero(lane, h);
        copy_own(engine, layout, q.left ? w.w : a, h);
      }
      copy_own(engine, layout, w.x, a);
      engine.join();
      redistribute(engine, layout, a, w.memory.shared(), true);
      if (q.factor_h) redistribute(engine, layout, h, w.memory.shared(), true);
    }
    engine.set_info(lane, w.info + engine.rank(), failure == 0 ? no_failure : failure);
    share_entries(engine, lane, w.info);
    engine.conclude(lane, w.info, a, info.data);
    if (q.factor_h) engine.conclude(lane, w.info, h, info.data);
    engine.join();
  }

 private:
  static constexpr Lane lane = Lane::panel;

  // Columns of tiles; padding of the shards of A is zero.
  template <class T, class E>
  static void copy_own(E& engine, const TileColumns& layout, MatrixView<T> from, MatrixView<T> to) {
    for (const Span& span : layout.spans(engine.rank(), 0, layout.count())) {
      engine.copy(lane, from.block(0, span.begin, from.rows, span.width), to.block(0, span.begin, to.rows, span.width));
    }
  }

  // H, in W or in A.
  template <class T>
  static MatrixView<T> factor_h(const Problem& q, auto& polar, Workspace<T>& w, MatrixView<T> a, MatrixView<T> y) {
    if (q.left) {
      polar.hermitian_factor(1);
      return w.w;
    }
    polar.adjoint(w.x, y);
    polar.adjoint(a, w.w);
    polar.hermitian_product(Real<T>(0.5), y, w.w, a);
    return a;
  }
};

}  // namespace jaxmg::routines
