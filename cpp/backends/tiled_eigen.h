// Our own backend for eigenvalue problems: deal the tile columns, reduce, solve, transform back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "algorithms/eigen/syevd.h"
#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/mirror.h"
#include "algorithms/moves/redistribute.h"
#include "backends/eigen.h"
#include "comm/block.h"

namespace jaxmg {

// The workspace of a call. Dealing and mirroring come first, and the eigenvectors are turned last: these use the memory
// of what is between them.
template <class T>
struct TiledSyevdWorkspace {
  MatrixView<T> a, z;  // all columns, where one rank solves alone
  TileColumns layout;  // of the ranks that work
  SyevdWorkspace<T> syevd;
  Arena whole;
  std::int64_t mirror_depth;  // a pivot is a tile; on one rank there is nothing to send
  std::optional<MirrorWorkspace<T>> mirroring;
  MatrixView<T> adjoint;  // of a rank's eigenvectors
  std::int64_t bytes;

  // For a matrix in the blocks of `given`, and `share` eigenvectors on every rank.
  TiledSyevdWorkspace(Arena arena, const TileColumns& given, const SyevdBlocking& blocking, std::int64_t share)
      : a(take_all(arena, given.order(), given.order(), blocking)),
        z(take_all(arena, given.order(), share * given.ranks(), blocking)),
        layout(blocking.solo ? TileColumns(given.order(), given.order(), given.order(), 1) : given),
        syevd(arena, layout, blocking, blocking.solo ? z.columns : share),
        whole(arena),
        mirror_depth(layout.ranks() > 1 ? std::min(layout.tile(), layout.shard()) : 1) {
    Arena deal = arena, mirror = arena, turn = arena;
    if (layout.ranks() > 1) deal.take<T>(layout.order() * layout.tile());
    mirroring.emplace(mirror, layout, mirror_depth, 2);
    adjoint = turn.matrix<T>(share, given.order());
    bytes = std::max({syevd.bytes, deal.used(), mirror.used(), turn.used()});
  }

 private:
  static MatrixView<T> take_all(Arena& arena, std::int64_t rows, std::int64_t columns, const SyevdBlocking& blocking) {
    return blocking.solo ? arena.matrix<T>(rows, columns) : MatrixView<T>{};
  }
};

template <class T, class E>
class TiledEigen final : public EigenBackend<T, E> {
 public:
  void syevd(E& engine, const HermitianEigen<T>& p, Arena workspace) override {
    syevd(engine, p, workspace, [](const char*) {});
  }

  // Calls ended(stage) as Syevd::run does.
  template <class Ended>
  void syevd(E& engine, const HermitianEigen<T>& p, Arena workspace, Ended&& ended) {
    TiledSyevdWorkspace<T> w(workspace, p.layout, p.blocking, p.z.columns);
    if (p.blocking.solo) {
      collect(engine, p, w.a);
      ended("collecting");
      // One rank, and not all of them: results that differ in the last bit would not fit together.
      if (engine.rank() == 0) {
        E alone = engine.alone();
        solve(alone, p, w.a, w.z, w, ended);
      }
      hand_out(engine, p, w.z);
      ended("handing out");
    } else {
      redistribute(engine, p.layout, p.a, w.whole, false);
      ended("dealing");
      solve(engine, p, p.a, p.z, w, ended);
    }
    if (p.form == EigenvectorForm::adjoint_rows && !p.z.empty()) {
      adjoint_in_place(engine, lane, p.z, w.adjoint);
      ended("turning");
    }
  }

 private:
  static constexpr Lane lane = Lane::panel;

  template <class Ended>
  static void solve(E& engine, const HermitianEigen<T>& p, MatrixView<T> a, MatrixView<T> z, TiledSyevdWorkspace<T>& w,
                    Ended&& ended) {
    mirror(engine, w.layout, w.mirror_depth, a, *w.mirroring);
    ended("mirroring");
    Syevd<T, E>(engine, w.layout, p.blocking, a, p.w, z, p.wanted, p.status, w.syevd).run(ended);
  }

  // All columns, on rank 0.
  static void collect(E& engine, const HermitianEigen<T>& p, MatrixView<T> all) {
    const std::int64_t n = p.layout.order(), shard = p.layout.shard();
    std::vector<Block> blocks;
    for (std::int64_t r = 0; r * shard < n; ++r) {
      const std::int64_t own = std::min(shard, n - r * shard);
      blocks.push_back(make_block(static_cast<int>(r), 0, p.a.block(0, 0, n, own), all.block(0, r * shard, n, own)));
    }
    engine.exchange(lane, blocks);
    engine.join();
  }

  // What rank 0 has found, to all; of the eigenvectors, to each its own.
  static void hand_out(E& engine, const HermitianEigen<T>& p, MatrixView<T> all) {
    const std::int64_t n = p.layout.order(), share = p.z.columns;
    const MatrixView<Real<T>> w{p.w, n, 1, n};
    const MatrixView<std::int32_t> status{p.status, 1, 1, 1};
    std::vector<Block> blocks{make_block(0, all_ranks, w, w), make_block(0, all_ranks, status, status)};
    if (p.wanted.found != nullptr) {
      const MatrixView<std::int32_t> found{p.wanted.found, 2, 1, 2};
      blocks.push_back(make_block(0, all_ranks, found, found));
    }
    for (int r = 0; share > 0 && r < engine.size(); ++r) {
      blocks.push_back(make_block(0, r, all.block(0, r * share, n, share), p.z));
    }
    engine.exchange(lane, blocks);
    engine.join();
  }
};

}  // namespace jaxmg
