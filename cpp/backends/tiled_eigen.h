// Our own backend for eigenvalue problems: deal the tile columns, reduce, solve, transform back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "algorithms/mirror.h"
#include "algorithms/redistribute.h"
#include "algorithms/syevd.h"
#include "backends/eigen.h"

namespace jaxmg {

// The workspace of a call. Dealing and mirroring come first and use the memory of what follows.
template <class T>
struct TiledSyevdWorkspace {
  SyevdWorkspace<T> syevd;
  Arena whole;
  std::int64_t mirror_depth;  // a pivot is a tile; on one rank there is nothing to send
  std::optional<MirrorWorkspace<T>> mirroring;
  std::int64_t bytes;

  TiledSyevdWorkspace(Arena arena, const TileColumns& layout, const SyevdBlocking& blocking, std::int64_t share)
      : syevd(arena, layout, blocking, share),
        whole(arena),
        mirror_depth(layout.ranks() > 1 ? std::min(layout.tile(), layout.shard()) : 1) {
    Arena deal = arena, turn = arena;
    if (layout.ranks() > 1) deal.take<T>(layout.order() * layout.tile());
    mirroring.emplace(turn, layout, mirror_depth, 2);
    bytes = std::max({syevd.bytes, deal.used(), turn.used()});
  }
};

template <class T, class E>
class TiledEigen final : public EigenBackend<T, E> {
 public:
  void syevd(E& engine, const HermitianEigen<T>& p, Arena workspace) override {
    TiledSyevdWorkspace<T> w(workspace, p.layout, p.blocking, p.z.columns);
    redistribute(engine, p.layout, p.a, w.whole, false);
    mirror(engine, p.layout, w.mirror_depth, p.a, *w.mirroring);
    Syevd<T, E>(engine, p.layout, p.blocking, p.a, p.w, p.z, p.wanted, p.status, w.syevd).run();
  }
};

}  // namespace jaxmg
