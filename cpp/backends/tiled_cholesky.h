// Our own Cholesky backend: deal the tile columns, factor, solve, invert.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "algorithms/cholesky/potrf.h"
#include "algorithms/cholesky/potri.h"
#include "algorithms/cholesky/potrs_few.h"
#include "algorithms/cholesky/potrs_many.h"
#include "algorithms/moves/mirror.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/moves/share_entries.h"
#include "backends/cholesky.h"

namespace jaxmg {

// The workspace of stages that follow each other and use the same memory.
class StagedWorkspace {
 public:
  std::int32_t* info;    // an entry for each rank
  std::int32_t* failed;  // one more word

  StagedWorkspace(Arena arena, const TileColumns& layout) {
    info = arena.take<std::int32_t>(layout.ranks());
    failed = arena.take<std::int32_t>(1);
    shared_ = arena;
    bytes_ = arena.used();
  }

  // The pieces of one stage.
  template <class Pieces, class... Arguments>
  Pieces stage(Arguments&&... arguments) {
    Arena arena = shared_;
    Pieces pieces(arena, std::forward<Arguments>(arguments)...);
    bytes_ = std::max(bytes_, arena.used());
    return pieces;
  }
  // What redistribution needs at least; it makes use of all of shared().
  template <class T>
  void deal(const TileColumns& layout) {
    Arena arena = shared_;
    if (layout.ranks() > 1) arena.take<T>(layout.order() * layout.tile());
    bytes_ = std::max(bytes_, arena.used());
  }

  const Arena& shared() const { return shared_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  Arena shared_;
  std::int64_t bytes_;
};

// What each routine carves, for the backend and for the planner.

template <class T>
struct PosvStages {
  StagedWorkspace memory;
  PotrfWorkspace<T> potrf;
  std::optional<PotrsFewWorkspace<T>> few;
  std::optional<PotrsManyWorkspace<T>> many;

  PosvStages(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots, std::int64_t nrhs,
             bool distributed_rhs)
      : memory(arena, layout),
        potrf(memory.stage<PotrfWorkspace<T>>(layout, depth, slots, distributed_rhs ? 0 : nrhs)) {
    memory.deal<T>(layout);
    if (distributed_rhs) {
      many = memory.stage<PotrsManyWorkspace<T>>(layout, depth, slots);
    } else {
      few = memory.stage<PotrsFewWorkspace<T>>(layout, nrhs);
    }
  }
};

template <class T>
struct PotrfStages {
  StagedWorkspace memory;
  PotrfWorkspace<T> potrf;

  PotrfStages(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots)
      : memory(arena, layout), potrf(memory.stage<PotrfWorkspace<T>>(layout, depth, slots, 0)) {
    memory.deal<T>(layout);
  }
};

template <class T>
struct PotrsStages {
  StagedWorkspace memory;
  std::optional<PotrsFewWorkspace<T>> few;
  std::optional<PotrsManyWorkspace<T>> many;

  PotrsStages(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots, std::int64_t nrhs,
              bool distributed_rhs)
      : memory(arena, layout) {
    if (distributed_rhs) {
      many = memory.stage<PotrsManyWorkspace<T>>(layout, depth, slots);
    } else {
      few = memory.stage<PotrsFewWorkspace<T>>(layout, nrhs);
    }
  }
};

template <class T>
struct PotriStages {
  StagedWorkspace memory;
  PotriWorkspace<T> potri;
  MirrorWorkspace<T> mirror;

  PotriStages(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots)
      : memory(arena, layout),
        potri(memory.stage<PotriWorkspace<T>>(layout, depth, slots)),
        mirror(memory.stage<MirrorWorkspace<T>>(layout, depth, slots)) {
    memory.deal<T>(layout);
  }
};

template <class T>
struct LowerStages {
  StagedWorkspace memory;
  MirrorWorkspace<T> mirror;

  LowerStages(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots)
      : memory(arena, layout), mirror(memory.stage<MirrorWorkspace<T>>(layout, depth, slots)) {
    memory.deal<T>(layout);
  }
};

template <class T, class E>
class TiledCholesky : public CholeskyBackend<T, E> {
 public:
  void posv(E& engine, const DealtMatrix<T>& a, const RightHandSides<T>& b, std::int32_t* info,
            Arena workspace) override {
    PosvStages<T> w(workspace, a.layout, a.depth, a.slots, b.x.columns, b.distributed);
    // A few right-hand sides go along with the factorisation, which leaves half of the solve.
    factor(engine, a, w.few ? b.x : MatrixView<T>{}, w.potrf, w.memory);
    if (w.few) {
      PotrsFew<T, E>(engine, a.layout, a.shard, b.x, *w.few).backward();
    } else {
      PotrsMany<T, E>(engine, a.layout, a.depth, a.shard, b.x, *w.many).run();
    }
    conclude(engine, b.x, info, w.memory);
  }

  void potrf(E& engine, const DealtMatrix<T>& a, std::int32_t* info, Arena workspace) override {
    PotrfStages<T> w(workspace, a.layout, a.depth, a.slots);
    factor(engine, a, {}, w.potrf, w.memory);
    conclude(engine, a.shard, info, w.memory);
  }

  void potrs(E& engine, const DealtMatrix<T>& factor, const RightHandSides<T>& b, Sweeps sweeps,
             Arena workspace) override {
    PotrsStages<T> w(workspace, factor.layout, factor.depth, factor.slots, b.x.columns, b.distributed);
    check(engine, factor, w.memory);
    if (w.few) {
      PotrsFew<T, E> solver(engine, factor.layout, factor.shard, b.x, *w.few);
      if (sweeps != Sweeps::backward) solver.forward();
      if (sweeps != Sweeps::forward) solver.backward();
      if (sweeps == Sweeps::forward) solver.share();
    } else {
      PotrsMany<T, E> solver(engine, factor.layout, factor.depth, factor.shard, b.x, *w.many);
      if (sweeps != Sweeps::backward) solver.forward();
      if (sweeps != Sweeps::forward) solver.backward();
    }
    conclude(engine, b.x, w.memory.failed, w.memory);
  }

  void potri(E& engine, const DealtMatrix<T>& factor, Arena workspace) override {
    PotriStages<T> w(workspace, factor.layout, factor.depth, factor.slots);
    check(engine, factor, w.memory);
    Potri<T, E>(engine, factor.layout, factor.depth, factor.shard, w.potri).run();
    mirror(engine, factor.layout, factor.depth, factor.shard, w.mirror);
    redistribute(engine, factor.layout, factor.shard, w.memory.shared(), true);
    conclude(engine, factor.shard, w.memory.failed, w.memory);
  }

  void lower(E& engine, const DealtMatrix<T>& factor, Arena workspace) override {
    LowerStages<T> w(workspace, factor.layout, factor.depth, factor.slots);
    check(engine, factor, w.memory);
    mirror(engine, factor.layout, factor.depth, factor.shard, w.mirror);
    const TileColumns& layout = factor.layout;
    for (const std::int64_t t : layout.tiles_of(engine.rank())) {
      const std::int64_t width = layout.width(t), at = layout.local_offset(t);
      engine.zero_below(Lane::bulk, factor.shard.block(layout.begin(t), at, width, width));
      engine.zero(Lane::bulk, factor.shard.block(layout.end(t), at, layout.order() - layout.end(t), width));
    }
    engine.join();
    redistribute(engine, layout, factor.shard, w.memory.shared(), true);
    conclude(engine, factor.shard, w.memory.failed, w.memory);
  }

  void diagonal(E& engine, const DealtMatrix<T>& factor, MatrixView<T> diagonal) override {
    const TileColumns& layout = factor.layout;
    std::vector<Block> pieces;
    for (std::int64_t t = 0; t < layout.count(); ++t) {
      const MatrixView<T> from{factor.shard.at(layout.begin(t), layout.local_offset(t)), 1, layout.width(t),
                               factor.shard.ld + 1};
      const MatrixView<T> to{diagonal.at(layout.begin(t), 0), 1, layout.width(t), 1};
      pieces.push_back(make_block(layout.owner(t), all_ranks, from, to));
    }
    engine.exchange(Lane::panel, pieces);
    engine.join();
  }

 protected:
  // No failure is known yet, or the one of which the order is given.
  static void begin(E& engine, const StagedWorkspace& w, std::int32_t known = no_failure) {
    engine.set_info(Lane::panel, w.info + engine.rank(), known);
    engine.set_info(Lane::panel, w.failed, 0);
    engine.join();
  }

  // A factor of what was not positive definite is NaN all over; so is, then, what is made from it.
  static void check(E& engine, const DealtMatrix<T>& factor, const StagedWorkspace& w,
                    std::int32_t known = no_failure) {
    begin(engine, w, known);
    const TileColumns& layout = factor.layout;
    for (const std::int64_t t : layout.tiles_of(engine.rank())) {
      const std::int64_t width = layout.width(t);
      engine.check_factor(Lane::panel, factor.shard.block(layout.begin(t), layout.local_offset(t), width, width),
                          w.failed, layout.begin(t), w.info + engine.rank());
    }
    engine.join();
  }

  // All ranks agree on the least failing minor; if there is one, x becomes NaN.
  static void conclude(E& engine, MatrixView<T> x, std::int32_t* info, const StagedWorkspace& w) {
    share_entries(engine, Lane::panel, w.info);
    engine.conclude(Lane::panel, w.info, x, info);
  }

 private:
  static void factor(E& engine, const DealtMatrix<T>& a, MatrixView<T> along, PotrfWorkspace<T>& potrf,
                     const StagedWorkspace& w) {
    begin(engine, w);
    redistribute(engine, a.layout, a.shard, w.shared(), false);
    Potrf<T, E>(engine, a.layout, a.depth, a.shard, along, potrf, w.info + engine.rank()).run();
  }
};

}  // namespace jaxmg
