// XLA FFI handlers, generated for each routine of the table and each platform.
//
// A Platform has
//   Engine
//   name                                    for messages
//   bind(binding)                           the binding with what the platform's handlers take besides
//   Platform(that...)                       from these arguments
//   copy(to, from)                          of buffers
//   run(call, needs, body)                  calls body(engine, workspace) for one rank, among the ranks of its call
//   roll_call()                             the handler of this name
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "core/arena.h"
#include "core/scalar.h"
#include "ffi/call.h"
#include "routines/planning.h"
#include "routines/serve.h"
#include "routines/services.h"

namespace jaxmg {

// What a platform needs to know of a call to make an engine.
struct Needs {
  MemoryRegions buffers;       // that other ranks may access
  std::int64_t largest_potrf;  // see Plan
  std::int64_t processes;      // that the workspace is planned for
  bool data_decides;           // what is launched depends on the numbers, not on the plan alone
};

// Runs a routine as the backend of its plan serves it: decodes the plan, checks the buffers, makes an engine.
template <class R, class Platform>
void run_call(const CallFrame& call, Platform platform) {
  using Engine = typename Platform::Engine;
  std::span<const std::int64_t> words = call.plan;
  const auto header = decode<Header>(words);
  with_served<Calls, typename BackendsOn<Engine>::type>(header, Platform::name, [&]<class S, class Named>() {
    if constexpr (std::same_as<R, Named>) {
      const auto [problem, plan] = decoded<S>(words);
      for (std::size_t i = 0; i < S::Buffers::in_place && i < call.operands.size() && i < call.results.size(); ++i) {
        // XLA makes an operand and the result it is aliased to one buffer; if it ever does not, the result starts as a
        // copy.
        if (call.operands[i].data != call.results[i].data) platform.copy(call.results[i], call.operands[i]);
      }
      dispatch(problem.type, [&]<class T>() {
        const auto views = S::Buffers::template bind<T>(call.operands, call.results, problem, plan);
        const Needs needs{call.regions(S::Buffers::in_place), plan.largest_potrf, problem.processes,
                          requires {S::data_decides; }
    };
    platform.run(call, needs, [&](Engine& engine, Arena workspace) {
      typename S::template Workspace<T> w(workspace, problem, plan);
      std::apply([&](const auto&... view) { S::template run<T>(engine, problem, plan, w, view...); }, views);
    });
  });
}
else {
  throw Error(ErrorCode::internal, std::string("the plan is one of ") + Named::name);
}
});
}

template <class R, class Platform>
XLA_FFI_Error* handler(XLA_FFI_CallFrame* frame) {
  static auto* const bound =
      Platform::bind(xffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs().template Ctx<xffi::DeviceOrdinal>())
          .To([](xffi::RemainingArgs operands, xffi::RemainingRets results, xffi::Dictionary attributes,
                 auto... of_platform) {
            return guarded(R::name,
                           [&] { run_call<R>(CallFrame(operands, results, attributes), Platform(of_platform...)); });
          })
          .release();
  return bound->Call(frame);
}

// The handler of a routine, or null.
template <class Platform>
Handler find_handler(std::string_view name) {
  Handler found = name == "roll_call" ? Platform::roll_call() : nullptr;
  for_each(Calls{}, [&]<class R, std::size_t>() {
    if (name == R::name) found = handler<R, Platform>;
  });
  return found;
}

}  // namespace jaxmg
