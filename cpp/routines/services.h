// Services for Python besides routines: redistributions, and workspace queries to vendors' solvers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "algorithms/moves/redistribute.h"
#include "core/ceil_div.h"
#include "core/error.h"
#include "core/fields.h"
#include "core/scalar.h"
#include "planner/plan.h"
#include "planner/problem.h"
#include "routines/planning.h"
#include "routines/serve.h"
#include "routines/served/cusolvermp/solver.h"
#include "routines/signature.h"
#include "routines/table.h"

namespace jaxmg {
namespace services {

// Redistributes row blocks to tiles of rows, round-robin, or back.
struct Redistribute {
  static constexpr auto name = "redistribute";
  struct Problem : jaxmg::Problem {
    std::int64_t n = 0;           // rows, on all ranks together
    std::int64_t row_length = 0;  // elements
    bool inverse = false;
    static constexpr const char* counted = "row_length";

    void fields(auto&& visit) {
      jaxmg::Problem::fields(visit);
      visit("n", n);
      visit(counted, row_length);
      visit("inverse", inverse);
    }
    std::int64_t shard() const { return share(n); }
    TileColumns layout(std::int64_t tile) const { return {shard() * ranks, shard(), tile, static_cast<int>(ranks)}; }
  };
  using Plan = jaxmg::Plan;
  struct Rows : OfScalars {
    static constexpr auto name = "a";
    static Shape shape(const Problem& q, const Plan&) { return {q.shard(), q.row_length}; }
  };
  using Buffers = Signature<InOut<Rows>>;

  template <class T>
  struct Workspace : StagedArena {
    Workspace(Arena arena, const Problem& q, const Plan& plan) : StagedArena(arena) {
      if (q.ranks == 1) return;
      carve_stage(
          [&](Arena& stage) { stage.take<std::byte>(redistribution_bytes<T>(q.layout(plan.tile), q.row_length)); });
    }
  };

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    require(q.n >= 1 && q.row_length >= 1, "a must have rows of at least one element");
    Planned<Plan> made;
    made.plan.tile = std::max<std::int64_t>(1, std::min(q.tile, q.shard()));
    made.shard_bytes = q.shard() * q.row_length * size_of(q.type);
    made.workspace_bytes = workspace_bytes<Redistribute>(q, made.plan);
    made.seconds = 2 * cost_of(q).deal(made.shard_bytes);
    return made;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, MatrixView<T> a) {
    redistribute(engine, q.layout(plan.tile), a, w.shared(), q.inverse);
  }
};

// Workspace of a vendor's solver on this rank for the call of an encoded plan, in units of the arena, rounded up.
struct SolverBytes {
  static constexpr auto name = "solver_bytes";
  struct Problem : jaxmg::Problem {
    Words question;  // the plan

    void fields(auto&& visit) {
      jaxmg::Problem::fields(visit);
      visit("question", question);
    }
  };
  using Plan = jaxmg::Plan;
  struct Token : OfScalars {
    static constexpr auto name = "token";
    static Shape shape(const Problem&, const Plan&) { return {1, 1}; }
  };
  using Buffers = Signature<InOut<Token>, Out<Info>>;

  template <class>
  struct Workspace {
    Arena arena;
    SolverWorkspace solver;

    Workspace(Arena whole, const Problem& q, const Plan&) : arena(whole), solver(arena, q.ranks) {}
    std::int64_t bytes() const { return arena.used(); }
  };

  static Planned<Plan> plan(const Problem& q) {
    q.check();
    Planned<Plan> made;
    made.workspace_bytes = workspace_bytes<SolverBytes>(q, made.plan);
    return made;
  }

  template <class T, class E>
  static void run(E& engine, const Problem& asked, const Plan&, Workspace<T>& w, MatrixView<T>,
                  MatrixView<std::int32_t> units) {
    std::span<const std::int64_t> words = asked.question;
    const auto header = decode<Header>(words);
    constexpr auto platform = std::same_as<typename BackendsOn<E>::type, List<Tiled>> ? "CPUs" : "GPUs";
    with_served<Routines, typename BackendsOn<E>::type>(header, platform, [&]<class S, class R>() {
      const auto [q, plan] = decoded<S>(words);
      const std::int64_t bytes = dispatch(q.type, [&]<class Scalar>() -> std::int64_t {
        if constexpr (requires { S::template library_bytes<Scalar>(engine, q, plan, w.solver); }) {
          return S::template library_bytes<Scalar>(engine, q, plan, w.solver);
        }
        throw Error(ErrorCode::invalid_argument, std::string(R::name) + " is not served by a solver on a grid here");
      });
      engine.set_info(Lane::panel, units.data, checked_int(ceil_div(bytes, Arena::alignment), "units of workspace"));
      engine.join();
    });
  }
};

}  // namespace services

using Services = List<services::Redistribute, services::SolverBytes>;
using Calls = decltype(joined(Routines{}, Services{}));

}  // namespace jaxmg
