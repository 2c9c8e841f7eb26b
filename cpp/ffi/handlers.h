// XLA FFI handlers, generated for each routine of the table and each platform.
//
// Besides what run_call() takes, a Platform has
//   bind(binding)         adds the arguments `of_platform` of its handlers to a binding
//   Platform(call, device, of_platform...)
//   start(waits, body)                       runs body() and returns its xffi::Error, or a future of it; `waits`: the
//                                            body may wait for other ranks of the call
//   meet(entries, device)                    completes the roll entries of a call across processes
//   write(to, entries, of_platform...)       the entries of this rank
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "comm/process_links.h"
#include "ffi/call.h"
#include "routines/calling.h"
#include "routines/serve.h"
#include "routines/services.h"

namespace jaxmg {

template <class R, class Platform>
XLA_FFI_Error* handler(XLA_FFI_CallFrame* frame) {
  static auto* const bound =
      Platform::bind(xffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs().template Ctx<xffi::DeviceOrdinal>())
          .To([](xffi::RemainingArgs operands, xffi::RemainingRets results, xffi::Dictionary attributes,
                 auto... of_platform) {
            std::shared_ptr<CallFrame> call;
            const xffi::Error error =
                guarded(R::name, [&] { call = std::make_shared<CallFrame>(operands, results, attributes); });
            const bool waits = error.success() && call->ranks() > 1;
            return Platform::start(waits, [error, call, of_platform...] {
              const auto run = [&] { run_call<Calls, R>(*call, Platform{*call, of_platform...}); };
              return error.success() ? guarded(R::name, run) : error;
            });
          })
          .release();
  return bound->Call(frame);
}

// Writes a device's roll entries, as many as fit the buffer: one, or one per call of a batch. The operands are the
// operands of the call, and are not read.
template <class Platform>
XLA_FFI_Error* roll_call(XLA_FFI_CallFrame* frame) {
  static auto* const bound =
      Platform::bind(
          xffi::Ffi::Bind().RemainingArgs().Ret<xffi::AnyBuffer>().Attrs().template Ctx<xffi::DeviceOrdinal>())
          .To([](xffi::RemainingArgs, xffi::Result<xffi::AnyBuffer> buffer, xffi::Dictionary attributes,
                 std::int32_t device, auto... of_platform) {
            return guarded("roll call", [&] {
              std::vector<RollEntry> entries(buffer->size_bytes() / sizeof(RollEntry));
              for (RollEntry& entry : entries) entry = own_entry(device);
              if (attribute(attributes, "processes") > 1) {
                Listener::instance();
                Platform::meet(entries, device);
              }
              if (!entries.empty()) Platform::write(buffer->untyped_data(), entries, of_platform...);
            });
          })
          .release();
  return bound->Call(frame);
}

// Handler of a routine in jaxmg_routines() or of "roll_call"; null if there is none.
template <class Platform>
Handler find_handler(std::string_view name) {
  Handler found = name == "roll_call" ? roll_call<Platform> : nullptr;
  for_each(Calls{}, [&]<class R, std::size_t>() {
    if (name == R::name) found = handler<R, Platform>;
  });
  return found;
}

}  // namespace jaxmg
