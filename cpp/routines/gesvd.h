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

#include "algorithms/moves/adjoint_in_place.h"
#include "algorithms/moves/redistribute.h"
#include "algorithms/svd/gesdd.h"
#include "algorithms/svd/gesvd.h"
#include "routines/record.h"
#include "routines/syevd.h"

namespace jaxmg::routines {

struct Gesvd {
  static constexpr auto name = "gesvd";
  static constexpr auto one_rank = &OneRankOrders::gesvd;
  static constexpr bool uses_up_a = true;
  static constexpr bool factors = true;
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
    // The columns of a rank's right singular vectors of A^T, in the memory of the result (also if that is rows).
    template <class T>
    MatrixView<T> right_vectors_in(MatrixView<T> u) const {
      return vectors == 0 ? MatrixView<T>{} : MatrixView<T>{u.data, n, shard(), n};
    }
    // Rows of A on each rank.
    std::int64_t rows_of_rank() const { return m > n ? m : shard(); }
    std::int64_t shard_bytes() const { return rows_of_rank() * n * size_of(type); }
  };
  struct Plan : BlockColumnPlan {
    SyevdBlocking blocking{};        // of the eigensolver; `library`: all is left to LAPACK's gesdd
    bool values_by_vectors = false;  // workspace for the fastest way to singular values alone

    void fields(auto&& visit) {
      BlockColumnPlan::fields(visit);
      blocking.fields(visit);
      visit("values_by_vectors", values_by_vectors);
    }
  };
  struct Rows : Shard {
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
    static bool divided(const auto&) { return true; }
  };
  struct Right : OfScalars {
    static constexpr auto name = "vh";
    static Shape shape(const Problem& q, const auto&) { return q.vectors == 0 ? Shape{} : Shape{q.shard(), q.n}; }
    static bool divided(const auto&) { return true; }
  };
  using Buffers = Signature<InOut<Rows>, Out<Values>, Out<Left>, Out<Right>, Out<Info>>;

  template <class T>
  struct Workspace {
    std::optional<GesddWorkspace<T>> library;
    std::optional<GesvdWorkspace<T>> gesvd;
    StagedArena memory;
    MatrixView<T> turned;  // U^H

    Workspace(Arena arena, const Problem& q, const Plan& plan) : memory(arena) {
      if (plan.blocking.library) {
        library.emplace(arena, q.n, std::max(q.m, q.n), q.vectors > 0);
      } else {
        memory.carve_stage([&](Arena& stage) {
          if (q.as_columns && q.vectors > 0) turned = stage.matrix<T>(q.shard(), q.n);
        });
        gesvd.emplace(arena, q.layout(plan.tile), plan.depth, plan.slots, plan.blocking, q.vectors > 0,
                      plan.values_by_vectors);
      }
      memory.stage<Dealing<T>>(q, plan);
    }
    std::int64_t bytes() const { return std::max(library ? library->bytes : gesvd->bytes(), memory.bytes()); }
  };

  // In gesvd.cc.
  static Planned<Plan> plan(const Problem& q);

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<Real<T>> s, MatrixView<T> u, MatrixView<T> vh, MatrixView<std::int32_t> info) {
    constexpr Lane lane = Lane::panel;
    if constexpr (GesddOps<E, T>) {
      if (w.library) {
        gesdd(engine, lane, a, s.data, vh, u, q.as_columns, info.data, *w.library);
        return;
      }
    }
    const TileColumns layout = q.layout(plan.tile);
    const MatrixView<T> right = q.right_vectors_in(u);
    redistribute(engine, layout, a, w.memory.shared(), false);
    jaxmg::Gesvd<T, E>(engine, layout, plan.depth, plan.blocking, a, s.data, vh, right, info.data, *w.gesvd).run();
    if (q.as_columns && q.vectors > 0) adjoint_in_place(engine, lane, right, w.turned);
  }
};

}  // namespace jaxmg::routines
