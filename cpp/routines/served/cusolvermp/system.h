// Linear systems and factorisations served by a solver of block-cyclic matrices.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/moves/block_cyclic.h"
#include "routines/served/cusolvermp/solver.h"

namespace jaxmg {

// A, B and the rest of the workspace, which is the solver's own: the planner does not know its size.
template <class T, class... Stages>
struct BlockCyclicSystem {
  SolverWorkspace common;
  StagedArena shared;  // the matrices and, before or after them, the memory of `Stages`
  BlockCyclicMatrix<T> a, b;
  Arena rest;

  BlockCyclicSystem(Arena arena, const auto& q, const auto& plan)
      : common(arena, q.ranks),
        shared(arena),
        a(q.tiles(plan.block), arena),
        b(BlockCyclic(q.n, all_columns(q, plan), plan.block, plan.block, q.grid()), arena),
        rest(arena) {
    (shared.template stage<Stages>(q, plan), ...);
  }
  std::int64_t bytes() const { return std::max(rest.used(), shared.bytes()); }

  // Right-hand sides of all ranks, padded if distributed; none if the factor is returned.
  static std::int64_t all_columns(const auto& q, const auto& plan) {
    if constexpr (requires { plan.distributed_rhs; }) {
      return plan.distributed_rhs ? q.ranks * q.share(q.nrhs) : q.nrhs;
    } else {
      return 0;
    }
  }

  // B from JAX's layout to the solver's, and X back.
  template <class E>
  void fetch(E& engine, MatrixView<T> x, bool distributed) const {
    if (distributed) {
      move(engine, shares(engine, x), b);
    } else {
      deal_copies(engine, x, b);
    }
  }
  template <class E>
  void put_back(E& engine, MatrixView<T> x, bool distributed) const {
    if (distributed) {
      move(engine, b, shares(engine, x));
    } else {
      gather_copies(engine, b, x);
    }
  }

 private:
  template <class E>
  BlockCyclicMatrix<T> shares(E& engine, MatrixView<T> x) const {
    return {BlockCyclic::in_pieces(b.layout.rows.n, b.layout.columns.n, {1, engine.size()}), x.data};
  }
};

}  // namespace jaxmg
