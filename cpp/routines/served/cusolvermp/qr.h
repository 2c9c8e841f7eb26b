// QR factorisations served by a solver of block-cyclic matrices. The factor becomes one in tile columns, for our own
// routines: the solver returns the scalars of the reflectors, from which the factors of block reflectors are computed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/moves/block_cyclic.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/qr/block_factor.h"
#include "algorithms/qr/geqrf.h"
#include "algorithms/qr/reflectors.h"
#include "comm/block.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "routines/geqrf.h"
#include "routines/served/cusolvermp/solver.h"

namespace jaxmg {

template <>
struct Served<CusolverMp, routines::Geqrf> : CusolverMpRoutine<routines::Geqrf, RectangularProblem, GridPlan> {
  using Buffers = routines::Geqrf::Buffers;

  template <class T>
  struct Workspace {
    SolverWorkspace common;
    ScalingWorkspace<T> scaling;
    T *own_tau, *tau;    // of the local columns of A; of all columns
    StagedArena shared;  // the matrix and, when it is no longer needed, the rest
    BlockCyclicMatrix<T> a;
    Arena rest;
    BlockFactorWorkspace<T> factors;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : common(arena, q.ranks),
          scaling(arena, q.ranks),
          own_tau(arena.take<T>(q.tiles(plan.block).columns.most())),
          tau(arena.take<T>(q.n)),
          shared(arena),
          a(q.tiles(plan.block), arena),
          rest(arena),
          factors(shared.stage<BlockFactorWorkspace<T>>(std::min(plan.tile, q.m))) {
      shared.stage<Dealing<T>>(q, plan);
    }
    std::int64_t bytes() const { return std::max(rest.used(), shared.bytes()); }
  };

  static double seconds(const GridCost& cost, const Problem& q) { return cost.geqrf(q.m, q.n); }
  template <class T>
  static std::int32_t call(auto&& solver, const Problem&, const Workspace<T>& w, VendorWorkspace& memory) {
    return solver.geqrf(w.a, w.own_tau, memory);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<T> factors, MatrixView<std::int32_t> info) {
    const TileColumns layout = q.layout(plan.tile);
    const int ranks = engine.size(), rank = engine.rank();
    begin_status(engine, w.common);
    const BlockCyclicMatrix<T> columns(BlockCyclic::in_pieces(q.m, q.n, {1, ranks}), a.data);
    std::vector<MatrixView<T>> own;
    if (const auto part = columns.part(rank); !part.empty()) own.push_back(part);
    scale_matrix<T>(engine, lane, own, w.scaling.norms, w.scaling.scale, nullptr);
    move(engine, columns, w.a);
    call_solver<T>(engine, q, w);
    move(engine, w.a, columns);
    share_scalars(engine, q, w);
    engine.join();
    redistribute(engine, layout, a, w.shared.shared(), false);

    engine.zero(lane, factors);
    const ReflectorTiles<T, E> tiles(engine, layout, a, factors);
    const std::int64_t with_reflectors = reflector_tiles(layout);
    for (const std::int64_t t : layout.tiles_of(rank)) {
      if (t >= with_reflectors) continue;
      const MatrixView<T> tau{w.tau + tiles.begin(t), tiles.width(t), 1, tiles.width(t)};
      block_factor(engine, lane, tiles.vectors(t), tau, tiles.factor(t), w.factors);
    }
    unscale_r(engine, layout, a, w.scaling.scale);
    check_diagonal_of_r(engine, layout, a, w.common.info + rank);
    conclude(engine, MatrixView<T>{}, info.data, w.common);
    engine.join();
  }

 private:
  static constexpr Lane lane = Lane::panel;

  // All scalars on every rank, from the owners of the diagonal blocks.
  template <class T, class E>
  static void share_scalars(E& engine, const Problem& q, const Workspace<T>& w) {
    const BlockCyclic& layout = w.a.layout;
    const std::int64_t block = layout.columns.block, count = std::min(q.m, q.n);
    std::vector<Block> blocks;
    for (std::int64_t begin = 0; begin < count; begin += block) {
      const std::int64_t width = std::min(block, count - begin);
      const MatrixView<T> own{w.own_tau + layout.columns.local(begin), width, 1, width},
          all{w.tau + begin, width, 1, width};
      blocks.push_back(
          make_block(layout.grid().rank(layout.rows.owner(begin), layout.columns.owner(begin)), all_ranks, own, all));
    }
    engine.exchange(lane, blocks);
  }
};

}  // namespace jaxmg
