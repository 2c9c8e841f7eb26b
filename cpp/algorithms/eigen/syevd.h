// Eigenvalues and eigenvectors of a Hermitian matrix dealt in tile columns, A = Z diag(w) Z^H, in two stages:
//
//   A = Q1 B Q1^H            B a band             band_reduction.h
//   B = Q2 T Q2^H            T real tridiagonal   bulge_chasing.h
//   T = Q diag(w) Q^T                             divide_and_conquer.h, or bisection.h for the eigenvalues alone
//   Z = Q1 (Q2 Q)                                 back_transformation.h, band_back_transformation.h
//
// Reducing A to T directly would read all of A for each column. Reducing it to a band takes b columns at a time:
// nearly all work on A is matrix products, and the remaining work on the band is O(n^2 b) (Haidar, Ltaief and Dongarra,
// Parallel reduction to condensed forms for symmetric eigenvalue problems using aggregated fine-grained and
// memory-aware kernels, SC 2011).
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "algorithms/eigen/back_transformation.h"
#include "algorithms/eigen/band_back_transformation.h"
#include "algorithms/eigen/band_reduction.h"
#include "algorithms/eigen/bisection.h"
#include "algorithms/eigen/bulge_chasing.h"
#include "algorithms/eigen/divide_and_conquer.h"
#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/moves/rows_to_columns.h"
#include "algorithms/moves/share_entries.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "core/staged_arena.h"
#include "engine/band_ops.h"
#include "engine/engine.h"
#include "engine/panel_qr_ops.h"
#include "engine/reflectors.h"
#include "engine/scaling_ops.h"
#include "engine/tridiagonal_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// Blocking of the stages. Results are the same up to rounding.
struct SyevdBlocking {
  std::int64_t b;            // half-bandwidth of the band
  std::int64_t delay;        // panels per update of A
  std::int64_t depth;        // columns of V applied at once, a multiple of b
  std::int64_t columns;      // eigenvectors that Q2 is applied to at once
  std::int64_t diamonds;     // diamonds of Q2 formed at once
  std::int64_t secular;      // columns of S formed at once by the last merge
  std::int64_t kept;         // sweeps of every b whose reflectors a rank keeps: all b, or Reflectors::share
  std::int64_t scratch = 0;  // bytes lent to products of the reduction to a band
  bool in_place = false;     // Q2 is applied by apply_waves
  bool library = false;      // one rank leaves the problem to LAPACK or cuSOLVERDn (heevd.h)

  void fields(auto&& visit) {
    visit("half_bandwidth", b);
    visit("delay", delay);
    visit("eigen_depth", depth);
    visit("columns", columns);
    visit("diamonds", diamonds);
    visit("secular", secular);
    visit("kept", kept);
    visit("scratch", scratch);
    visit("in_place", in_place);
    visit("library", library);
  }
};

// Requested eigenvectors: by index range, or by value: w in (bounds[0], bounds[1]], at most range.count, lowest first.
// With bounds, `found` receives the number of the first eigenvalue within them and how many there are.
template <class R>
struct EigenvectorChoice {
  EigenvectorRange range;
  const R* bounds = nullptr;
  std::int32_t* found = nullptr;
};

// The range of requested eigenvectors. `values` are the eigenvalues of the matrix multiplied by *scale, on the host and
// the same on all ranks.
template <class R, class E>
EigenvectorRange chosen(E& e, Lane lane, const EigenvectorChoice<R>& choice, const std::vector<R>& values,
                        const R* scale) {
  if (choice.bounds == nullptr) return choice.range;
  R factor = 1, bounds[2];
  e.fetch(lane, scale, 1, &factor);
  e.fetch(lane, choice.bounds, 2, bounds);
  std::int32_t found[2] = {0, 0};
  for (const R value : values) {
    const R w = value / factor;  // with the same rounding as the engine
    if (w <= bounds[0]) ++found[0];
    if (w > bounds[0] && w <= bounds[1]) ++found[1];
  }
  e.store(lane, found, 2, choice.found);
  return {found[0], std::min<std::int64_t>(found[1], choice.range.count)};
}

template <class T, class E>
concept EigenOps =
    BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && StatusOps<E, T> && StatusOps<E, Real<T>> &&
    ScalingOps<E, T> && PanelQrOps<E, T> && BandOps<E, T> && TridiagonalOps<E, Real<T>> && WideningOps<E, T>;

// The stages share their memory, except for the pieces carved first.
template <class T>
struct SyevdWorkspace {
  using R = Real<T>;

  std::int32_t* info;  // an entry for each rank
  R* norms;            // the same
  R* scale;
  R *d, *e;               // T
  MatrixView<T> factors;  // of Q1
  Reflectors<T> q2;
  std::optional<BulgeChasingWorkspace<T>> chasing;
  std::optional<BandReductionWorkspace<T>> reduction;
  std::optional<DivideAndConquerWorkspace<R>> merging;
  std::optional<BackTransformationWorkspace<T>> second_back;
  std::optional<BandBackTransformationWorkspace<T>> first_back;
  std::optional<BisectionWorkspace<R>> bisection;
  std::int64_t bytes;

  // Workspace for `share` eigenvectors on every rank; 0 for eigenvalues alone.
  SyevdWorkspace(Arena arena, const TileColumns& layout, const SyevdBlocking& blocking, std::int64_t share) {
    const std::int64_t n = layout.order(), b = blocking.b;
    const bool vectors = share > 0;
    info = arena.take<std::int32_t>(layout.ranks());
    norms = arena.take<R>(layout.ranks());
    scale = arena.take<R>(1);
    d = arena.take<R>(n);
    e = arena.take<R>(n);
    factors = arena.matrix<T>(b, n);
    q2 = Reflectors<T>(arena, n, b, vectors ? blocking.kept : 0);
    StagedArena stages(arena);
    stages.carve_stage([&](Arena& pieces) {
      chasing.emplace(pieces, n, b);
      reduction.emplace(pieces, layout, b, blocking.delay, blocking.scratch);
    });
    if (vectors) {
      merging = stages.stage<DivideAndConquerWorkspace<R>>(n, layout.shard(), blocking.secular, lends(layout, share));
      stages.carve_stage([&](Arena& pieces) {
        using Workspace = BackTransformationWorkspace<T>;
        second_back = blocking.in_place ? Workspace::for_waves(pieces, n, b, share, blocking.diamonds, !q2.whole())
                                        : Workspace(pieces, n, b, blocking.columns, blocking.diamonds, !q2.whole());
      });
      first_back = stages.stage<BandBackTransformationWorkspace<T>>(layout, b, blocking.depth, share);
    } else {
      bisection = stages.stage<BisectionWorkspace<R>>(n);
    }
    bytes = stages.bytes();
  }

  // Whether the divide and conquer may use the buffer of the eigenvectors for this rank's rows of Q.
  static bool lends(const TileColumns& layout, std::int64_t share) { return !is_complex<T> && share == layout.shard(); }
};

// Called with the name of a stage.
using StageEnded = std::function<void(const char*)>;

template <class T, class E>
  requires EigenOps<T, E>
class Syevd {
 public:
  using R = Real<T>;

  // `a` is this rank's n rows by shard of A, both triangles, and is overwritten. `w` (n) receives the eigenvalues in
  // ascending order, on every rank. `z` (n by share; empty for eigenvalues alone) receives rank r's eigenvectors, from
  // number r share of the requested ones on. Columns without an eigenvector become zero. `status` is LAPACK's info, the
  // same on all ranks: where it is not 0 (`not_finite` for NaN or infinities in A, positive where a stage failed) w and
  // z are NaN.
  Syevd(E& engine, const TileColumns& layout, const SyevdBlocking& blocking, MatrixView<T> a, R* w, MatrixView<T> z,
        const EigenvectorChoice<R>& choice, std::int32_t* status, SyevdWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        blocking_(blocking),
        n_(layout.order()),
        a_(a),
        eigenvalues_{w, n_, 1, n_},
        z_(z),
        choice_(choice),
        status_(status),
        w_(workspace) {}

  // Calls ended(stage) when the work of a stage has been enqueued: benchmarks synchronise there.
  void run(const StageEnded& ended);

 private:
  static constexpr Lane lane = Lane::panel;

  std::int32_t* own_info() const { return w_.info + e_.rank(); }

  // A = Q1 B Q1^H.
  void reduce() {
    w_.chasing->clear(e_, lane);
    BandReduction<T, E>(e_, layout_, blocking_.b, blocking_.delay, a_, w_.factors, w_.chasing->band(), *w_.reduction)
        .run();
  }

  // T = Q diag(w) Q^T: w, and this rank's rows of the requested columns of Q.
  EigenvectorRange solve_tridiagonal() {
    if constexpr (!is_complex<T>) {
      if (w_.lends(layout_, z_.columns)) w_.merging->other = {z_.data, layout_.shard(), n_, layout_.shard()};
    }
    DivideAndConquer<R, E> merging(e_, n_, layout_.shard(), w_.d, w_.e, eigenvalues_.data, own_info(), *w_.merging);
    const EigenvectorRange wanted = chosen(e_, lane, choice_, merging.values(), w_.scale);
    merging.vectors(wanted);
    return wanted;
  }

  // Z = Q1 Q2 Q, in own columns of Q.
  void transform_back(MatrixView<T> own, const StageEnded& ended) {
    stage("back by Q2", ended, [&] {
      BackTransformation<T, E>(e_, Lane::bulk, w_.q2, *w_.second_back).run(own, z_.columns);
      e_.join();
    });
    stage("back by Q1", ended, [&] {
      BandBackTransformation<T, E>(e_, layout_, blocking_.b, blocking_.depth, a_, w_.factors, own, *w_.first_back)
          .run();
      e_.zero(lane, z_.block(0, own.columns, n_, z_.columns - own.columns));
    });
  }

  // Enqueues the work of a stage, under its name in profiles.
  template <class Work>
  static void stage(const char* name, const StageEnded& ended, Work&& work) {
    {
      [[maybe_unused]] const typename E::Range range(name);
      work();
    }
    ended(name);
  }

  MatrixView<T> own_vectors(std::int64_t wanted) const {
    const std::int64_t begin = std::min(wanted, e_.rank() * z_.columns);
    return z_.block(0, 0, n_, std::min(wanted - begin, z_.columns));
  }

  void conclude() {
    share_entries(e_, lane, w_.info);
    e_.conclude(lane, w_.info, eigenvalues_, status_);
    if (!z_.empty()) e_.conclude(lane, w_.info, z_, status_);
  }

  E& e_;
  const TileColumns& layout_;
  const SyevdBlocking& blocking_;
  std::int64_t n_;
  MatrixView<T> a_;
  MatrixView<R> eigenvalues_;
  MatrixView<T> z_;
  const EigenvectorChoice<R>& choice_;
  std::int32_t* status_;
  SyevdWorkspace<T>& w_;
};

template <class T, class E>
  requires EigenOps<T, E>
void Syevd<T, E>::run(const StageEnded& ended) {
  e_.set_info(lane, own_info(), no_failure);
  stage("scaling", ended, [&] {
    scale_matrix(e_, lane, layout_, a_, w_.norms, w_.scale, own_info());
    e_.join();
  });
  stage("band reduction", ended, [&] { reduce(); });
  stage("bulge chasing", ended, [&] { chase_bulges(e_, lane, *w_.chasing, w_.q2, w_.d, w_.e, own_info()); });
  if (z_.empty()) {
    stage("bisection", ended,
          [&] { tridiagonal_eigenvalues<R>(e_, n_, w_.d, w_.e, 0, n_, eigenvalues_.data, own_info(), *w_.bisection); });
  } else {
    EigenvectorRange wanted = {};
    stage("divide and conquer", ended, [&] { wanted = solve_tridiagonal(); });
    stage("rows to columns", ended,
          [&] { rows_to_columns<T>(e_, w_.merging->rows, wanted.first, wanted.count, z_, w_.merging->other.data); });
    transform_back(own_vectors(wanted.count), ended);
  }
  e_.divide(lane, w_.scale, eigenvalues_);
  conclude();
  e_.join();
}

}  // namespace jaxmg
