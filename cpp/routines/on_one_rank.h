// Execution of a planned routine on its views: by all ranks, or by rank 0 alone for all of them (planner/one_rank.h).
//
// The ranks then send their parts of all operands to rank 0; of a matrix of which the routine reads only the lower
// triangle, from the first row on that they have a part of. Rank 0 runs the routine on an engine of its own, and sends
// back what the routine wrote: parts to their ranks, everything else to all. Only one rank computes, since results of
// several might differ in the last bit.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <tuple>
#include <vector>

#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "planner/one_rank.h"
#include "routines/signature.h"

namespace jaxmg {

// A buffer in parts, equal numbers of columns or of rows on each rank, and the same buffer as a whole on rank 0.
template <class T>
struct Divided {
  MatrixView<T> own, whole;

  bool by_rows() const { return own.rows < whole.rows; }
  std::int64_t share() const { return by_rows() ? own.rows : own.columns; }
  std::int64_t count() const { return by_rows() ? whole.rows : whole.columns; }

  // Rows or columns [from, to) of a view.
  MatrixView<T> range(MatrixView<T> view, std::int64_t from, std::int64_t to) const {
    return by_rows() ? view.block(from, 0, to - from, view.columns) : view.block(0, from, view.rows, to - from);
  }
  // Calls visit(rank, its part, the same in the whole) for each rank that has one.
  void each_part(auto&& visit) const {
    for (int rank = 0; rank * share() < count(); ++rank) {
      const std::int64_t first = rank * share(), last = std::min(count(), first + share());
      visit(rank, range(own, 0, last - first), range(whole, first, last));
    }
  }
  MatrixView<T> padding(int rank) const {
    return range(own, std::clamp<std::int64_t>(count() - rank * share(), 0, share()), share());
  }
};

template <class T, class R, class... Parameters, class E, class... Views>
void run_on_one_rank(Signature<Parameters...>, E& engine, const typename R::Problem& q, const typename R::Plan& plan,
                     Arena workspace, const Views&... views) {
  constexpr bool uses_up_a = requires { R::uses_up_a; };
  constexpr bool lower = requires { R::reads_lower; };
  const auto collected = R::Buffers::template collected<T>(workspace, q, plan);
  const typename R::Problem single = alone(q);
  const typename R::Plan own_plan = alone(plan);
  typename R::template Workspace<T> w(workspace.rest(), single, own_plan);
  std::vector<Block> to_one, to_all;
  const auto add = [&]<class P, class Element>(P, MatrixView<Element> own, MatrixView<Element> whole) {
    constexpr bool a = std::derived_from<P, Shard>, sends_back = P::use != Use::in && !(uses_up_a && a);
    if (!divided<P>(plan)) {
      if (sends_back && !own.empty()) to_all.push_back(make_block(0, all_ranks, own, own));
      return;
    }
    const Divided<Element> buffer{own, whole};
    buffer.each_part([&](int rank, MatrixView<Element> part, MatrixView<Element> of_whole) {
      const std::int64_t first = lower && a ? rank * own.columns : 0, count = part.rows - first;
      if (P::use != Use::out) {
        to_one.push_back(make_block(rank, 0, part.block(first, 0, count, part.columns),
                                    of_whole.block(first, 0, count, part.columns)));
      }
      if (sends_back) to_all.push_back(make_block(0, rank, of_whole, part));
    });
    if (const auto padding = buffer.padding(engine.rank()); P::use == Use::out && !padding.empty()) {
      engine.zero(Lane::panel, padding);
    }
  };
  const auto of_rank_0 = [&]<class P, class Element>(P, MatrixView<Element> own, MatrixView<Element> whole) {
    return divided<P>(plan) ? whole : own;
  };
  std::apply(
      [&](const auto&... wholes) {
        (add(Parameters{}, views, wholes), ...);
        engine.exchange(Lane::panel, to_one);
        engine.join();
        if (engine.rank() == 0) {
          E on_one = engine.alone();
          R::template run<T>(on_one, single, own_plan, w, of_rank_0(Parameters{}, views, wholes)...);
          on_one.join();
        }
      },
      collected);
  engine.exchange(Lane::panel, to_all);
  engine.join();
}

// Runs R on the views of its signature, in a workspace of workspace_bytes<R>() without the engine's.
template <class T, class R, class E, class... Views>
void run_planned(E& engine, const typename R::Problem& q, const typename R::Plan& plan, Arena workspace,
                 const Views&... views) {
  if constexpr (requires { R::one_rank; }) {
    if (plan.solo()) {
      run_on_one_rank<T, R>(typename R::Buffers{}, engine, q, plan, workspace, views...);
      return;
    }
  }
  typename R::template Workspace<T> w(workspace, q, plan);
  R::template run<T>(engine, q, plan, w, views...);
}

}  // namespace jaxmg
