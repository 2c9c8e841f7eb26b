// syevd: A = Z diag(w) Z^H, all eigenvalues and all, some or no eigenvectors. Deals the tile columns, reduces, solves,
// transforms back. One rank leaves small matrices to LAPACK or cuSOLVERDn.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "algorithms/eigen/heevd.h"
#include "algorithms/eigen/syevd.h"
#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/mirror.h"
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
  // A rank's eigenvectors as columns, in the memory of the result. That is Z, or Z^H if `as_columns`: rows of Z^H, read
  // column-major, are the columns of V in JAX's rows.
  template <class T>
  MatrixView<T> vectors_in(MatrixView<T> result) const {
    return {result.data, n, share_of_vectors(), n};
  }
};

// Stages. A block column that is mirrored is a tile; on one rank there is nothing to send.
template <class T>
struct MirrorByTiles : MirrorWorkspace<T> {
  std::int64_t depth;

  MirrorByTiles(Arena& arena, const SyevdProblem& q, const Plan& plan)
      : MirrorWorkspace<T>(arena, q.layout(plan.tile), depth_of(q, plan), 2), depth(depth_of(q, plan)) {}

 private:
  static std::int64_t depth_of(const SyevdProblem& q, const Plan& plan) {
    return q.ranks > 1 ? std::min(plan.tile, q.shard()) : 1;
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
  static bool divided(const auto&) { return true; }
};
struct Found : OfIntegers {
  static constexpr auto name = "found";
  static Shape shape(const SyevdProblem& q, const auto&) { return q.by_value ? Shape{2} : Shape{}; }
};

struct Syevd {
  static constexpr auto name = "syevd";
  static constexpr auto one_rank = &OneRankOrders::syevd;
  static constexpr bool data_decides = true;  // deflation in merges, selection of eigenvectors
  static constexpr bool reads_lower = true;
  static constexpr bool uses_up_a = true;
  using Problem = SyevdProblem;
  struct Plan : jaxmg::Plan {
    SyevdBlocking blocking{};

    void fields(auto&& visit) {
      jaxmg::Plan::fields(visit);
      blocking.fields(visit);
    }
  };
  using Buffers = Signature<InOut<Shard>, In<Bounds>, Out<Eigenvalues>, Out<Eigenvectors>, Out<Found>, Out<Info>>;

  // Dealing and mirroring come first and the adjoint of the eigenvectors last; their buffers alias the solver's
  // workspace.
  template <class T>
  struct Workspace {
    std::optional<HeevdWorkspace<T>> library;
    std::optional<SyevdWorkspace<T>> syevd;  // on GPUs also beside the library, which may need more than is planned
    StagedArena memory;
    MirrorByTiles<T> mirroring;
    AdjointWorkspace<T> turned;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : memory(arena),
          mirroring(memory.stage<MirrorByTiles<T>>(q, plan)),
          turned(memory.stage<AdjointWorkspace<T>>(q, plan)) {
      memory.stage<Dealing<T>>(q, plan);
      if (plan.blocking.library) library.emplace(arena, q.platform, q.n, q.vectors > 0);
      if (!plan.blocking.library || q.platform == Platform::cuda) {
        syevd.emplace(arena, q.layout(plan.tile), plan.blocking, q.share_of_vectors());
      }
    }
    std::int64_t bytes() const {
      return std::max({library ? library->bytes : 0, syevd ? syevd->bytes : 0, memory.bytes()});
    }
  };

  // In syevd.cc.
  static Planned<Plan> plan(const Problem& q);

  // Calls ended(stage) as jaxmg::Syevd::run does.
  template <class T, class E>
  static void run(
      E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<Real<T>> bounds,
      MatrixView<Real<T>> values, MatrixView<T> vectors, MatrixView<std::int32_t> found, MatrixView<std::int32_t> info,
      const StageEnded& ended = [](const char*) {}) {
    constexpr Lane lane = Lane::panel;
    const TileColumns layout = q.layout(plan.tile);
    const auto choice = q.choice(bounds, found);
    redistribute(engine, layout, a, w.memory.shared(), false);
    ended("dealing");
    mirror(engine, layout, w.mirroring.depth, a, w.mirroring);
    ended("mirroring");
    if (w.library && engine.template heevd_fits<T>(q.n, q.vectors > 0)) {
      heevd(engine, lane, a, values.data, vectors, q.as_columns, choice, info.data, *w.library);
      ended("library");
      return;
    }
    const MatrixView<T> z = q.vectors_in(vectors);
    jaxmg::Syevd<T, E>(engine, layout, plan.blocking, a, values.data, z, choice, info.data, *w.syevd).run(ended);
    if (q.as_columns && !z.empty()) {
      adjoint_in_place(engine, lane, z, w.turned.adjoint);
      ended("turning");
    }
  }
};

}  // namespace jaxmg::routines
