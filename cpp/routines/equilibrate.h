// equilibrate: this rank's rows of diag(left) A diag(right), of which the diagonal is multiplied by 1 + shift, in
// single precision, and sums of their magnitudes; A is only read. If A is Hermitian, only its upper triangle is read,
// and the result is zero below the diagonal.
//
// Sums of columns are this rank's part, without the diagonal if A is Hermitian.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/equilibration_ops.h"
#include "routines/record.h"

namespace jaxmg::routines {

struct Equilibrate : OnBlockColumns<Equilibrate> {
  static constexpr auto name = "equilibrate";
  struct Problem : SquareProblem {
    bool hermitian = false;

    void fields(auto&& visit) {
      SquareProblem::fields(visit);
      visit("hermitian", hermitian);
    }
  };
  using Plan = BlockColumnPlan;
  struct Left : OfReals {
    static constexpr auto name = "left";
    static Shape shape(const Problem& q, const Plan&) { return {1, q.n}; }
  };
  struct Right : Left {
    static constexpr auto name = "right";
  };
  struct Shift : OfReals {
    static constexpr auto name = "shift";
    static Shape shape(const Problem&, const Plan&) { return {1, 1}; }
  };
  struct Scaled {
    static constexpr auto name = "scaled";
    template <class T>
    using Element = Single<T>;
    static Shape shape(const Problem& q, const Plan&) { return {q.shard(), q.n}; }
    static bool divided(const Plan&) { return true; }
  };
  struct RowSums : OfReals {
    static constexpr auto name = "row_sums";
    static Shape shape(const Problem& q, const Plan&) { return {q.shard()}; }
    static bool divided(const Plan&) { return true; }
  };
  struct ColumnSums : OfReals {
    static constexpr auto name = "column_sums";
    static Shape shape(const Problem& q, const Plan&) { return {q.n}; }
  };
  using Buffers = Signature<In<Shard>, In<Left>, In<Right>, In<Shift>, Out<Scaled>, Out<RowSums>, Out<ColumnSums>>;
  // Stage: workspace of the operation.
  template <class T>
  struct Sums : EquilibrationWorkspace<T> {
    Sums(Arena& arena, const Problem& q, const Plan&) : EquilibrationWorkspace<T>(arena, q.n, q.shard()) {}
  };
  template <class T>
  using Workspace = Staged<Sums<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan&) {
    return cost.equilibrate(q.n, q.hermitian);
  }

  // Views have columns of A^T.
  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>& w, MatrixView<T> a, MatrixView<Real<T>> left,
                  MatrixView<Real<T>> right, MatrixView<Real<T>> shift, MatrixView<Single<T>> scaled,
                  MatrixView<Real<T>> row_sums, MatrixView<Real<T>> column_sums) {
    const std::int64_t first = engine.rank() * q.shard(), own = std::clamp<std::int64_t>(q.n - first, 0, q.shard());
    const Equilibrated<T> columns{first, q.hermitian, a.block(0, 0, q.n, own), right, left, shift};
    engine.equilibrate(Lane::panel, columns, scaled.block(0, 0, q.n, own), column_sums, row_sums.block(0, 0, own, 1),
                       w);
    engine.zero(Lane::panel, scaled.block(0, own, q.n, q.shard() - own));
    engine.zero(Lane::panel, row_sums.block(own, 0, q.shard() - own, 1));
    engine.join();
  }
};

}  // namespace jaxmg::routines
