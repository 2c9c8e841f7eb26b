// gesvd: A = U diag(s) V^H for a square matrix, all singular values, with all singular vectors or none. One CPU also
// decomposes matrices with more rows than columns: A is m x n, U as well.
//
// The shards are columns of M = A^T = conj(V) diag(s) U^T. Columns of its left singular vectors are the rows of V^H,
// columns of its right ones the rows of U^H.
//
// On CPUs one rank alone leaves all of it to LAPACK.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/svd/gesdd.h"
#include "algorithms/svd/gesvd.h"
#include "routines/first_rank.h"
#include "routines/polar_plan.h"
#include "routines/record.h"
#include "routines/syevd.h"

namespace jaxmg::routines {

// Stage: the adjoint of a shard.
template <class T>
struct AdjointOfShard {
  MatrixView<T> adjoint;

  AdjointOfShard(Arena& arena, const SquareProblem& q, const auto&) : adjoint(arena.matrix<T>(q.shard(), q.n)) {}
};

struct Gesvd {
  static constexpr auto name = "gesvd";
  static constexpr bool data_decides = true;  // steps of the iteration, deflation in merges
  struct Problem : SquareProblem {
    std::int64_t vectors = 0;  // n or 0
    std::int64_t m = 0;        // rows, if more than n; 0: n
    bool as_columns = false;   // each rank receives columns of U; otherwise rows of U^H
    static constexpr const char* counted = "vectors";

    void fields(auto&& visit) {
      SquareProblem::fields(visit);
      visit(counted, vectors);
      visit("m", m);
      visit("as_columns", as_columns);
    }

    void check() const {
      SquareProblem::check();
      require(vectors == 0 || vectors == n, "the number of singular vectors must be 0 or n = " + std::to_string(n) +
                                                ", got " + std::to_string(vectors));
      require(m == 0 || m >= n,
              "gesvd requires at least as many rows as columns, got " + std::to_string(m) + " x " + std::to_string(n));
      require(m <= n || (ranks == 1 && as_columns), "gesvd decomposes matrices that are not square on one device only");
    }
    // Rows of A on each rank.
    std::int64_t rows_of_rank() const { return m > n ? m : shard(); }
    std::int64_t shard_bytes() const { return rows_of_rank() * n * size_of(type); }
  };
  struct Plan : BlockColumnPlan {
    SyevdBlocking blocking{};        // of the eigensolver; `solo`: one rank works alone; `library`: by LAPACK's gesdd
    bool values_by_vectors = false;  // workspace for the fastest way to singular values alone

    void fields(auto&& visit) {
      BlockColumnPlan::fields(visit);
      blocking.fields(visit);
      visit("values_by_vectors", values_by_vectors);
    }
    bool solo() const { return blocking.solo; }
  };
  struct Rows : OfScalars {
    static constexpr auto name = "a";
    static Shape shape(const Problem& q, const auto&) { return {q.rows_of_rank(), q.n}; }
  };
  struct Values : OfReals {
    static constexpr auto name = "s";
    static Shape shape(const Problem& q, const auto&) { return {q.n}; }
  };
  struct Left : OfScalars {
    static constexpr auto name = "u";
    static Shape shape(const Problem& q, const auto&) {
      return q.vectors == 0 ? Shape{} : q.as_columns ? Shape{std::max(q.m, q.n), q.shard()} : Shape{q.shard(), q.n};
    }
  };
  struct Right : OfScalars {
    static constexpr auto name = "vh";
    static Shape shape(const Problem& q, const auto&) { return q.vectors == 0 ? Shape{} : Shape{q.shard(), q.n}; }
  };
  using Buffers = Signature<InOut<Rows>, Out<Values>, Out<Left>, Out<Right>, Out<Info>>;

  template <class T>
  struct Workspace {
    MatrixView<T> a, u, v;  // all columns, if one rank works alone
    TileColumns layout;     // of the participating ranks
    std::optional<GesddWorkspace<T>> library;
    std::optional<GesvdWorkspace<T>> gesvd;
    StagedArena memory;
    AdjointOfShard<T> turned;

    Workspace(Arena arena, const Problem& q, const Plan& plan)
        : a(take_all(arena, q, plan, true)),
          u(take_all(arena, q, plan, q.vectors > 0)),
          v(take_all(arena, q, plan, q.vectors > 0)),
          layout(plan.blocking.solo ? TileColumns(q.n, q.n, q.n, 1) : q.layout(plan.tile)),
          memory(arena),
          turned(memory.stage<AdjointOfShard<T>>(q, plan)) {
      if (plan.blocking.library) {
        library.emplace(arena, q.n, std::max(q.m, q.n), q.vectors > 0);
      } else {
        gesvd.emplace(arena, layout, plan.depth, plan.slots, plan.blocking, q.vectors > 0, plan.values_by_vectors);
      }
      if (!plan.blocking.solo) memory.stage<Dealing<T>>(q, plan);
    }
    std::int64_t bytes() const { return std::max(library ? library->bytes : gesvd->bytes(), memory.bytes()); }

   private:
    static MatrixView<T> take_all(Arena& arena, const Problem& q, const Plan& plan, bool used) {
      return plan.blocking.solo && used ? arena.matrix<T>(q.n, q.shard() * q.ranks) : MatrixView<T>{};
    }
  };

  // In gesvd.cc.
  static Planned<Plan> plan(const Problem& q);

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<Real<T>> s, MatrixView<T> u, MatrixView<T> vh, MatrixView<std::int32_t> info) {
    if constexpr (GesddOps<E, T>) {
      if (w.library && !plan.blocking.solo) {
        gesdd(engine, lane, a, s.data, vh, u, q.as_columns, info.data, *w.library);
        return;
      }
    }
    // Columns, also where the result is rows.
    const MatrixView<T> right = q.vectors == 0 ? MatrixView<T>{} : MatrixView<T>{u.data, q.n, q.shard(), q.n};
    const auto solve = [&](E& on, MatrixView<T> matrix, MatrixView<T> first, MatrixView<T> second) {
      if constexpr (GesddOps<E, T>) {
        if (w.library) {
          gesdd(on, lane, matrix, s.data, first, second, false, info.data, *w.library);
          return;
        }
      }
      jaxmg::Gesvd<T, E>(on, w.layout, plan.depth, plan.blocking, matrix, s.data, first, second, info.data, *w.gesvd)
          .run();
    };
    if (plan.blocking.solo) {
      gather_columns_on_first(engine, lane, a, w.a);
      if (engine.rank() == 0) {
        // Padding of the results has no singular vectors.
        const auto pad = [&](MatrixView<T> m) {
          if (!m.empty()) engine.zero(lane, m.block(0, q.n, q.n, m.columns - q.n));
          return m.empty() ? m : m.block(0, 0, q.n, q.n);
        };
        E alone = engine.alone();
        solve(alone, w.a.block(0, 0, q.n, q.n), pad(w.u), pad(w.v));
      }
      std::vector<Block> blocks{make_block(0, all_ranks, s, s), make_block(0, all_ranks, info, info)};
      scatter_columns_of_first(engine, w.u, vh, blocks);
      scatter_columns_of_first(engine, w.v, right, blocks);
      engine.exchange(lane, blocks);
      engine.join();
    } else {
      redistribute(engine, w.layout, a, w.memory.shared(), false);
      solve(engine, a, vh, right);
    }
    if (q.as_columns && q.vectors > 0) adjoint_in_place(engine, lane, right, w.turned.adjoint);
  }

 private:
  static constexpr Lane lane = Lane::panel;
};

}  // namespace jaxmg::routines
