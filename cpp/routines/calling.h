// Execution of a routine by its plan.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "comm/block.h"
#include "core/arena.h"
#include "core/error.h"
#include "core/scalar.h"
#include "engine/needs.h"
#include "routines/on_one_rank.h"
#include "routines/planning.h"
#include "routines/serve.h"
#include "routines/signature.h"

namespace jaxmg {

// Arguments of a call on one rank.
struct PlannedCall {
  std::vector<Buffer> operands, results;  // by the routine's signature
  Buffer workspace;
  std::span<const std::int64_t> plan;  // encoded
};

// Runs the routine of an encoded plan, one of `Table`, on its backend: decodes the plan, checks the buffers, makes an
// engine.
//
// A Platform has
//   Engine, name                  the engine, and the name of the devices in messages
//   copy(to, from)                of buffers
//   prepare(region)               of memory that nothing has written yet
//   run(needs, body)              calls body(engine, workspace) for this rank, among the ranks of the call
template <class Table, class R, class Platform>
void run_call(const PlannedCall& call, const Platform& platform) {
  using Engine = typename Platform::Engine;
  std::span<const std::int64_t> words = call.plan;
  const auto header = decode<Header>(words);
  with_served<Table, typename BackendsOn<Engine>::type>(header, Platform::name, [&]<class S, class Named>() {
    if constexpr (std::same_as<R, Named>) {
      const auto [problem, plan] = decoded<S>(words);
      constexpr std::size_t in_place = S::Buffers::in_place;
      for (std::size_t i = 0; i < in_place && i < call.operands.size() && i < call.results.size(); ++i) {
        // XLA normally gives an operand and its aliased result the same buffer; otherwise the result starts as a copy.
        if (call.operands[i].data != call.results[i].data) platform.copy(call.results[i], call.operands[i]);
      }
      for (std::size_t i = in_place; i < call.results.size(); ++i) platform.prepare(call.results[i].region());
      platform.prepare(call.workspace.region());
      constexpr bool data_decides = requires { S::data_decides; };
      EngineNeeds needs{{}, call.workspace.region(), {}, data_decides, plan.largest_potrf, problem.processes};
      needs.one_at_work = problem.concurrent == 1 && (problem.ranks == 1 || plan.solo());
      needs.kind.assign(reinterpret_cast<const char*>(call.plan.data()), call.plan.size_bytes());
      for (const Buffer& buffer : call.results) needs.buffers.push_back(buffer.region());
      needs.buffers.push_back(needs.workspace);
      for (std::size_t i = in_place; i < call.operands.size(); ++i) needs.buffers.push_back(call.operands[i].region());
      dispatch(problem.type, [&]<class T>() {
        platform.run(needs, [&](Engine& engine, Arena workspace) {
          [[maybe_unused]] const typename Engine::Range range(R::name);
          const auto views = S::Buffers::template bind<T>(call.operands, call.results, problem, plan);
          std::apply([&](const auto&... view) { run_planned<T, S>(engine, problem, plan, workspace, view...); }, views);
        });
      });
    } else {
      throw Error(ErrorCode::internal, std::string("the plan is one of ") + Named::name);
    }
  });
}

}  // namespace jaxmg
