// Execution of a planned routine on its views: by all ranks, or by rank 0 alone for all of them (planner/one_rank.h).
//
// The ranks then send their columns of the matrix, and of distributed right-hand sides, to rank 0; of a matrix of which
// the routine reads only the lower triangle, from the first row on that they have a part of. Rank 0 runs the routine on
// an engine of its own, and sends back what the routine wrote: columns of the matrix and of the right-hand sides to
// their ranks, everything else to all. Only one rank computes, since results of several might differ in the last bit.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "planner/one_rank.h"
#include "routines/serve.h"
#include "routines/signature.h"

namespace jaxmg {

// The moves of one call: blocks to and from rank 0.
template <class T, class Problem, class Plan>
class OneRankMoves {
 public:
  OneRankMoves(const Problem& q, const Plan& plan, const Collected<T>& all) : q_(q), plan_(plan), all_(all) {}

  // What rank 0 has in place of this rank's view.
  template <class Parameter, class Element>
  MatrixView<Element> collected(MatrixView<Element> own) const {
    if constexpr (in_shards<Parameter>) {
      return all_.a;
    } else if constexpr (in_shares<Parameter>) {
      return plan_.distributed_rhs ? all_.x : own;
    } else {
      return own;
    }
  }

  // With `lower`, only the rows that contain the lower triangle of a matrix.
  template <class Parameter, class Element>
  void to_one(MatrixView<Element> own, bool lower, std::vector<Block>& blocks) const {
    each_part<Parameter>(own, [&](int rank, MatrixView<Element> part, MatrixView<Element> of_all) {
      const std::int64_t first = lower && in_shards<Parameter> ? rank * own.columns : 0, count = part.rows - first;
      blocks.push_back(
          make_block(rank, 0, part.block(first, 0, count, part.columns), of_all.block(first, 0, count, part.columns)));
    });
  }

  template <class Parameter, class Element>
  void to_all(MatrixView<Element> own, std::vector<Block>& blocks) const {
    if (in_parts<Parameter>()) {
      each_part<Parameter>(own, [&](int rank, MatrixView<Element> part, MatrixView<Element> of_all) {
        blocks.push_back(make_block(0, rank, of_all, part));
      });
    } else if (!own.empty()) {
      blocks.push_back(make_block(0, all_ranks, own, own));
    }
  }

 private:
  template <class Parameter>
  static constexpr bool in_shards = std::derived_from<Parameter, Shard>;
  template <class Parameter>
  static constexpr bool in_shares = std::derived_from<Parameter, RightHandSides>;

  template <class Parameter>
  bool in_parts() const {
    if constexpr (in_shares<Parameter>) return plan_.distributed_rhs;
    return in_shards<Parameter>;
  }

  // Calls visit(rank, part of the rank, place of the part in the whole) for each rank that has a part.
  template <class Parameter, class Element>
  void each_part(MatrixView<Element> own, auto&& visit) const {
    if constexpr (in_shards<Parameter> || in_shares<Parameter>) {
      if (!in_parts<Parameter>()) return;
      const MatrixView<Element> all = collected<Parameter>(own);
      for (int r = 0; r * own.columns < all.columns; ++r) {
        const std::int64_t first = r * own.columns, count = std::min(own.columns, all.columns - first);
        visit(r, own.block(0, 0, own.rows, count), all.block(0, first, all.rows, count));
      }
    }
  }

  const Problem& q_;
  const Plan& plan_;
  const Collected<T>& all_;
};

template <class T, class R, class... Parameters, class E, class... Views>
void run_on_one_rank(Signature<Parameters...>, E& engine, const typename R::Problem& q, const typename R::Plan& plan,
                     Arena workspace, const Views&... views) {
  constexpr bool uses_up_a = requires { R::uses_up_a; };
  constexpr bool lower = requires { R::reads_lower; };
  const Collected<T> all(workspace, q, plan);
  const typename R::Problem single = alone(q);
  const typename R::Plan own_plan = alone(plan);
  typename R::template Workspace<T> w(workspace.rest(), single, own_plan);
  const OneRankMoves<T, typename R::Problem, typename R::Plan> moves(q, plan, all);
  std::vector<Block> to_one, to_all;
  const auto add = [&]<class P>(P, const auto& view) {
    if (P::use != Use::out) moves.template to_one<P>(view, lower, to_one);
    if (P::use != Use::in && !(uses_up_a && std::derived_from<P, Shard>)) moves.template to_all<P>(view, to_all);
  };
  (add(Parameters{}, views), ...);
  engine.exchange(Lane::panel, to_one);
  engine.join();
  if (engine.rank() == 0) {
    E on_one = engine.alone();
    R::template run<T>(on_one, single, own_plan, w, moves.template collected<Parameters>(views)...);
    on_one.join();
  }
  engine.exchange(Lane::panel, to_all);
  engine.join();
}

// Runs R on the views of its signature, in a workspace of workspace_bytes<R>() without the engine's.
template <class T, class R, class E, class... Views>
void run_planned(E& engine, const typename R::Problem& q, const typename R::Plan& plan, Arena workspace,
                 const Views&... views) {
  if constexpr (requires { plan.alone; } && !of_vendor<R>) {
    if (plan.alone > 0) {
      run_on_one_rank<T, R>(typename R::Buffers{}, engine, q, plan, workspace, views...);
      return;
    }
  }
  typename R::template Workspace<T> w(workspace, q, plan);
  R::template run<T>(engine, q, plan, w, views...);
}

}  // namespace jaxmg
