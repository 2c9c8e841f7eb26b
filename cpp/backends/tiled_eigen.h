// Our own backend for eigenvalue problems: deal the tile columns, reduce, solve, transform back.
#pragma once

#include <algorithm>
#include <cstdint>

#include "algorithms/redistribute.h"
#include "algorithms/syevd.h"
#include "backends/eigen.h"

namespace jaxmg {

// The workspace of a call. Dealing comes first and uses the memory of what follows.
template <class T>
struct TiledSyevdWorkspace {
  SyevdWorkspace<T> syevd;
  Arena whole;
  std::int64_t bytes;

  TiledSyevdWorkspace(Arena arena, const TileColumns& layout, const SyevdBlocking& blocking, bool vectors)
      : syevd(arena, layout, blocking, vectors), whole(arena) {
    Arena deal = arena;
    if (layout.ranks() > 1) deal.take<T>(layout.order() * layout.tile());
    bytes = std::max(syevd.bytes, deal.used());
  }
};

template <class T, class E>
class TiledEigen final : public EigenBackend<T, E> {
 public:
  void syevd(E& engine, const HermitianEigen<T>& p, Arena workspace) override {
    TiledSyevdWorkspace<T> w(workspace, p.layout, p.blocking, !p.z.empty());
    redistribute(engine, p.layout, p.a, w.whole, false);
    Syevd<T, E>(engine, p.layout, p.blocking, p.a, p.w, p.z, p.status, w.syevd).run();
  }
};

}  // namespace jaxmg
