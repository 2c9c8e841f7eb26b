// syevd: A = Z diag(w) Z^H, all eigenvalues and all, some or no eigenvectors. Deals the tile columns, reduces, solves,
// transforms back; one rank alone does it for small matrices, by LAPACK or cuSOLVERDn.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "algorithms/eigen/heevd.h"
#include "algorithms/eigen/syevd.h"
#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/mirror.h"
#include "comm/block.h"
#include "routines/first_rank.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct SyevdProblem : SquareProblem {
  std::int64_t first = 0, vectors = 0;  // the wanted eigenvectors, at most n; or their maximum number, if by value
  bool by_value = false;                // eigenvalues between bounds, which are an operand
  bool as_columns = false;              // each rank receives columns of V; otherwise rows of V^H
  static constexpr const char* counted = "vectors";

  void fields(auto&& visit) {
    SquareProblem::fields(visit);
    visit("first", first);
    visit(counted, vectors);
    visit("by_value", by_value);
    visit("as_columns", as_columns);
  }

  void check() const {
    SquareProblem::check();
    require(vectors >= 0 && vectors <= n,
            "the number of eigenvectors must be 0 to n = " + std::to_string(n) + ", got " + std::to_string(vectors));
    require(first >= 0 && first + vectors <= n && (!by_value || vectors > 0),
            "the eigenvectors from number " + std::to_string(first) + " on must be among n = " + std::to_string(n));
  }
  // Eigenvectors of each rank.
  std::int64_t share_of_vectors() const { return EigenvectorRange{first, vectors}.share(static_cast<int>(ranks)); }
  std::int64_t vector_bytes() const { return share_of_vectors() * n * size_of(type); }

  template <class R>
  EigenvectorChoice<R> choice(MatrixView<R> bounds, MatrixView<std::int32_t> found) const {
    return {{first, vectors}, by_value ? bounds.data : nullptr, by_value ? found.data : nullptr};
  }
  // A rank's eigenvectors as columns, in the memory of the result (also if that is rows).
  template <class T>
  MatrixView<T> vectors_in(MatrixView<T> result) const {
    return {result.data, n, share_of_vectors(), n};
  }
};

// Norms of the ranks' columns, and the factor that scales the matrix.
template <class T>
struct ScalingWorkspace {
  Real<T>*norms, *scale;

  ScalingWorkspace(Arena& arena, std::int64_t ranks)
      : norms(arena.take<Real<T>>(ranks)), scale(arena.take<Real<T>>(1)) {}
};

// Stages. A block column that is mirrored is a tile; on one rank there is nothing to send.
template <class T>
struct MirrorByTiles : MirrorWorkspace<T> {
  std::int64_t depth;

  MirrorByTiles(Arena& arena, const TileColumns& layout)
      : MirrorWorkspace<T>(arena, layout, depth_of(layout), 2), depth(depth_of(layout)) {}
  MirrorByTiles(Arena& arena, const SyevdProblem& q, const Plan& plan) : MirrorByTiles(arena, q.layout(plan.tile)) {}

 private:
  static std::int64_t depth_of(const TileColumns& layout) {
    return layout.ranks() > 1 ? std::min(layout.tile(), layout.shard()) : 1;
  }
};

// The adjoint of a rank's eigenvectors.
template <class T>
struct AdjointWorkspace {
  MatrixView<T> adjoint;

  AdjointWorkspace(Arena& arena, const SyevdProblem& q, const Plan&)
      : adjoint(arena.matrix<T>(q.share_of_vectors(), q.n)) {}
};

// Buffers. `bounds` are the lower and the upper bound; `found` is the index of the first eigenvalue between them, and
// their count.
struct Bounds : OfReals {
  static constexpr auto name = "bounds";
  static Shape shape(const SyevdProblem& q, const auto&) { return q.by_value ? Shape{1, 2} : Shape{}; }
};
struct Eigenvalues : OfReals {
  static constexpr auto name = "w";
  static Shape shape(const SyevdProblem& q, const auto&) { return {q.n}; }
};
struct Eigenvectors : OfScalars {
  static constexpr auto name = "vectors";
  static Shape shape(const SyevdProblem& q, const auto&) {
    const std::int64_t share = q.share_of_vectors();
    return share == 0 ? Shape{} : q.as_columns ? Shape{q.n, share} : Shape{share, q.n};
  }
};
struct Found : OfIntegers {
  static constexpr auto name = "found";
  static Shape shape(const SyevdProblem& q, const auto&) { return q.by_value ? Shape{2} : Shape{}; }
};

struct Syevd {
  static constexpr auto name = "syevd";
  static constexpr bool data_decides = true;  // deflation in merges, selection of eigenvectors
  using Problem = SyevdProblem;
  struct Plan : jaxmg::Plan {
    SyevdBlocking blocking{};

    void fields(auto&& visit) {
      jaxmg::Plan::fields(visit);
      blocking.fields(visit);
    }
    bool solo() const { return blocking.solo; }
  };
  using Buffers = Signature<InOut<Shard>, In<Bounds>, Out<Eigenvalues>, Out<Eigenvectors>, Out<Found>, Out<Info>>;

  // Dealing and mirroring come first and the adjoint of the eigenvectors last; their buffers alias the solver's
  // workspace.
  template <class T>
  struct Workspace {
    MatrixView<T> a, z;  // all columns, if one rank solves alone
    TileColumns layout;  // of the participating ranks
    std::optional<HeevdWorkspace<T>> library;
    std::optional<SyevdWorkspace<T>> syevd;  // on GPUs also beside the library, which may need more than is planned
    StagedArena memory;
    MirrorByTiles<T> mirroring;
    AdjointWorkspace<T> turned;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : a(take_all(arena, q.n, q.n, plan.blocking)),
          z(take_all(arena, q.n, q.share_of_vectors() * q.ranks, plan.blocking)),
          layout(plan.blocking.solo ? TileColumns(q.n, q.n, q.n, 1) : q.layout(plan.tile)),
          memory(arena),
          mirroring(memory.stage<MirrorByTiles<T>>(layout)),
          turned(memory.stage<AdjointWorkspace<T>>(q, plan)) {
      if (!plan.blocking.solo) memory.stage<Dealing<T>>(q, plan);
      if (plan.blocking.library) library.emplace(arena, q.platform, q.n, q.vectors > 0);
      if (!plan.blocking.library || q.platform == Platform::cuda) {
        syevd.emplace(arena, layout, plan.blocking, plan.blocking.solo ? z.columns : q.share_of_vectors());
      }
    }
    std::int64_t bytes() const {
      return std::max({library ? library->bytes : 0, syevd ? syevd->bytes : 0, memory.bytes()});
    }

   private:
    static MatrixView<T> take_all(Arena& arena, std::int64_t rows, std::int64_t columns,
                                  const SyevdBlocking& blocking) {
      return blocking.solo ? arena.matrix<T>(rows, columns) : MatrixView<T>{};
    }
  };

  // In syevd.cc.
  static Planned<Plan> plan(const Problem& q);

  // Calls ended(stage) as jaxmg::Syevd::run does.
  struct Silent {
    void operator()(const char*) const {}
  };
  template <class T, class E, class Ended = Silent>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<Real<T>> bounds, MatrixView<Real<T>> values, MatrixView<T> vectors,
                  MatrixView<std::int32_t> found, MatrixView<std::int32_t> info, const Ended& ended = {}) {
    const MatrixView<T> z = q.vectors_in(vectors);
    const auto choice = q.choice(bounds, found);
    const auto solve = [&](E& on, MatrixView<T> matrix, MatrixView<T> result) {
      mirror(on, w.layout, w.mirroring.depth, matrix, w.mirroring);
      ended("mirroring");
      if (w.library && on.template heevd_fits<T>(q.n, q.vectors > 0)) {
        heevd(on, lane, matrix, values.data, result, choice, info.data, *w.library);
        ended("library");
        return;
      }
      jaxmg::Syevd<T, E>(on, w.layout, plan.blocking, matrix, values.data, result, choice, info.data, *w.syevd)
          .run(ended);
    };
    if (plan.blocking.solo) {
      gather_columns_on_first(engine, lane, a, w.a);
      ended("collecting");
      // Only one rank: results of several might differ in the last bit and be inconsistent.
      if (engine.rank() == 0) {
        E alone = engine.alone();
        solve(alone, w.a, w.z);
      }
      hand_out(engine, q, w.z, z, values, found, info);
      ended("handing out");
    } else {
      redistribute(engine, w.layout, a, w.memory.shared(), false);
      ended("dealing");
      solve(engine, a, z);
    }
    // Rows of Z^H, read column-major, are the columns of V in JAX's rows.
    if (q.as_columns && !z.empty()) {
      adjoint_in_place(engine, lane, z, w.turned.adjoint);
      ended("turning");
    }
  }

 private:
  static constexpr Lane lane = Lane::panel;

  // Broadcasts eigenvalues and status from rank 0, and scatters the eigenvectors.
  template <class T, class E>
  static void hand_out(E& engine, const Problem& q, MatrixView<T> all, MatrixView<T> z, MatrixView<Real<T>> values,
                       MatrixView<std::int32_t> found, MatrixView<std::int32_t> info) {
    std::vector<Block> blocks{make_block(0, all_ranks, values, values), make_block(0, all_ranks, info, info)};
    if (q.by_value) blocks.push_back(make_block(0, all_ranks, found, found));
    scatter_columns_of_first(engine, all, z, blocks);
    engine.exchange(lane, blocks);
    engine.join();
  }
};

}  // namespace jaxmg::routines
