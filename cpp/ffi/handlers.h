// XLA FFI handlers, generated for each routine of the table and each platform.
//
// Besides what run_call() takes, a Platform has
//   bind(binding)         the binding of its handlers, for arguments `of_platform` besides those of every handler
//   Platform(call, of_platform...)
//   roll_call()           the handler of this name
#pragma once

#include <string_view>

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
            return guarded(R::name, [&] {
              const CallFrame call(operands, results, attributes);
              run_call<Calls, R>(call, Platform{call, of_platform...});
            });
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
