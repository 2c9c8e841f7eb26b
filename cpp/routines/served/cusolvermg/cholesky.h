// Cholesky routines served by cuSOLVERMg. Factors agree with our own routines up to rounding, and are interchangeable.
#pragma once

#include <cstdint>

#include "algorithms/moves/mirror.h"
#include "routines/posv.h"
#include "routines/potrf.h"
#include "routines/potri.h"
#include "routines/potrs.h"
#include "routines/served/cusolvermg/solver.h"

namespace jaxmg {

template <class R>
struct CusolverMgFactorization : CusolverMgSystem<R, Dealing> {
  using Base = CusolverMgSystem<R, Dealing>;

 protected:
  // A = L L^H, and systems with it in the same call of the library.
  template <class T, class E>
  static void factor(E& engine, const typename Base::Problem& q, const typename Base::Plan& plan,
                     typename Base::template Workspace<T>& w, MatrixView<T> a, MatrixView<T> x) {
    const TileColumns layout = q.layout(plan.tile);
    redistribute(engine, layout, a, w.shared(), false);
    const std::int32_t failed = Base::call_library(engine, q, plan, w, w.fetch(engine, a), x);
    w.put_back(engine, a);
    // The library may accept a NaN pivot.
    check_diagonal(engine, layout, a, w, failed > 0 ? failed : no_failure);
  }
};

template <>
struct Served<CusolverMg, routines::Potrf> : CusolverMgFactorization<routines::Potrf> {
  static double seconds(const CusolverMgCost& cost, const Problem& q) { return cost.potrf(q.n); }
  static void call(auto& session, DealtOperands& on, VendorWorkspace& memory) { session.potrf(on.a, memory); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a,
                  MatrixView<std::int32_t> info) {
    factor<T>(engine, q, plan, w, a, {});
    conclude(engine, a, info.data, w);
  }
};

template <>
struct Served<CusolverMg, routines::Posv> : CusolverMgFactorization<routines::Posv> {
  static double seconds(const CusolverMgCost& cost, const Problem& q) {
    return cost.potrf(q.n) + cost.potrs(q.n, q.nrhs);
  }
  static void call(auto& session, DealtOperands& on, VendorWorkspace& memory) {
    session.potrf(on.a, memory);
    if (session.info() == 0) session.potrs(on.a, on.b, memory);
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a, MatrixView<T> x,
                  MatrixView<std::int32_t> info) {
    factor<T>(engine, q, plan, w, a, x);
    share_solution(engine, plan, x);
    conclude(engine, x, info.data, w);
  }
};

template <>
struct Served<CusolverMg, routines::Potrs> : CusolverMgSystem<routines::Potrs> {
  static Planned<Plan> plan(const Problem& q) {
    require(q.sweeps == Sweeps::both, "cuSOLVERMg has no triangular solve");
    return CusolverMgSystem::plan(q);
  }
  static double seconds(const CusolverMgCost& cost, const Problem& q) { return cost.potrs(q.n, q.nrhs); }
  static void call(auto& session, DealtOperands& on, VendorWorkspace& memory) { session.potrs(on.a, on.b, memory); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> x,
                  MatrixView<T> factor) {
    check_diagonal(engine, q.layout(plan.tile), factor, w);
    call_library<T>(engine, q, plan, w, w.fetch(engine, factor), x);
    share_solution(engine, plan, x);
    conclude(engine, x, w.failed, w);
  }
};

template <>
struct Served<CusolverMg, routines::Potri> : CusolverMgSystem<routines::Potri, MirrorWorkspace, Dealing> {
  static double seconds(const CusolverMgCost& cost, const Problem& q) { return cost.potri(q.n); }
  static void call(auto& session, DealtOperands& on, VendorWorkspace& memory) { session.potri(on.a, memory); }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a) {
    const TileColumns layout = q.layout(plan.tile);
    // Find failures first: the call overwrites the factor.
    check_diagonal(engine, layout, a, w);
    call_library<T>(engine, q, plan, w, w.fetch(engine, a), {});
    w.put_back(engine, a);
    mirror(engine, layout, plan.depth, a, w);
    redistribute(engine, layout, a, w.shared(), true);
    conclude(engine, a, w.failed, w);
  }
};

}  // namespace jaxmg
