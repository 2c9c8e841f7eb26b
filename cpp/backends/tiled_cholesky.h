// Our own Cholesky backend: deal the tile columns, factor, solve.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "algorithms/potrf.h"
#include "algorithms/potrs.h"
#include "algorithms/redistribute.h"
#include "backends/cholesky.h"

namespace jaxmg {

// The workspace of a solve. Dealing, factoring and solving follow each other and use the same memory.
template <class T>
struct TiledPotrsWorkspace {
  std::int32_t* info;  // an entry for each rank
  Arena shared;        // where the stages' pieces begin
  std::optional<PotrfWorkspace<T>> potrf;
  std::optional<PotrsFewWorkspace<T>> few;
  std::optional<PotrsManyWorkspace<T>> many;
  std::int64_t bytes;

  TiledPotrsWorkspace(Arena arena, const TileColumns& layout, std::int64_t depth, std::int64_t slots, std::int64_t nrhs,
                      bool distributed_rhs) {
    info = arena.take<std::int32_t>(layout.ranks());
    shared = arena;
    Arena factor = arena, solve = arena, deal = arena;
    potrf.emplace(factor, layout, depth, slots, distributed_rhs ? 0 : nrhs);
    if (distributed_rhs) {
      many.emplace(solve, layout, depth, slots);
    } else {
      few.emplace(solve, layout, nrhs);
    }
    if (layout.ranks() > 1) deal.take<T>(layout.order() * layout.tile());
    bytes = std::max({factor.used(), solve.used(), deal.used()});
  }
};

template <class T, class E>
class TiledCholesky final : public CholeskyBackend<T, E> {
 public:
  void potrs(E& engine, const CholeskySolve<T>& p, Arena workspace) override {
    TiledPotrsWorkspace<T> w(workspace, p.layout, p.depth, p.slots, p.x.columns, p.distributed_rhs);
    std::int32_t* const own_info = w.info + engine.rank();
    engine.set_info(Lane::panel, own_info, no_failure);
    engine.join();
    redistribute(engine, p.layout, p.a, w.shared, false);
    // A few right-hand sides go along with the factorisation, which leaves half of the solve.
    const MatrixView<T> along = w.few ? p.x : MatrixView<T>{};
    Potrf<T, E>(engine, p.layout, p.depth, p.a, along, *w.potrf, own_info).run();
    if (w.few) {
      PotrsFew<T, E>(engine, p.layout, p.a, p.x, *w.few).backward();
    } else {
      PotrsMany<T, E>(engine, p.layout, p.depth, p.a, p.x, *w.many).run();
    }
    agree(engine, w.info);
    engine.conclude(Lane::panel, w.info, p.x, p.status);
  }

 private:
  // Every rank's entry goes to all.
  static void agree(E& engine, std::int32_t* info) {
    std::vector<Block> entries;
    for (int r = 0; r < engine.size(); ++r) {
      const MatrixView<std::int32_t> entry{info + r, 1, 1, 1};
      entries.push_back(make_block(r, all_ranks, entry, entry));
    }
    if (engine.size() > 1) engine.exchange(Lane::panel, entries);
  }
};

}  // namespace jaxmg
