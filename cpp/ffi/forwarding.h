// XLA FFI handlers that load the handler they forward to on their first call.
//
// Programs that were exported, serialised or cached run without a call into the Python package. All their handlers must
// therefore be registered when the package is imported, before CUDA or SciPy's BLAS are loaded.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "xla/ffi/api/ffi.h"

namespace jaxmg {

using Handler = XLA_FFI_Error* (*)(XLA_FFI_CallFrame*);

// Loads and returns the handler of a routine on a platform; null on failure, with the reason in `message`. Several
// threads may call it at once.
using FindHandler = Handler (*)(const char* platform, const char* routine, char* message, std::int64_t message_size);

class ForwardingHandler {
 public:
  constexpr ForwardingHandler(const char* platform, const char* routine) : platform_(platform), routine_(routine) {}

  XLA_FFI_Error* operator()(XLA_FFI_CallFrame* frame, FindHandler find) {
    if (asks_for_metadata(*frame)) return answer_metadata(frame);
    Handler handler = handler_.load(std::memory_order_acquire);
    if (handler == nullptr) {
      std::array<char, 2048> reason{};
      if (find != nullptr) handler = find(platform_, routine_, reason.data(), static_cast<std::int64_t>(reason.size()));
      // Failures are not cached: a later call tries again.
      if (handler == nullptr) return failure(*frame, reason.data());
      handler_.store(handler, std::memory_order_release);
    }
    return handler(frame);
  }

 private:
  // At registration, XLA calls a handler for its metadata alone.
  static bool asks_for_metadata(const XLA_FFI_CallFrame& frame) {
    return frame.extension_start != nullptr && frame.extension_start->type == XLA_FFI_Extension_Metadata;
  }
  // Reports the version of the interface and no traits, as every handler of this project does.
  static XLA_FFI_Error* answer_metadata(XLA_FFI_CallFrame* frame) {
    static auto* const any = xla::ffi::Ffi::Bind().To([] { return xla::ffi::Error::Success(); }).release();
    return any->Call(frame);
  }
  XLA_FFI_Error* failure(const XLA_FFI_CallFrame& frame, const char* reason) const {
    const std::string message = std::string("jaxmg ") + routine_ + ": " + reason;
    XLA_FFI_Error_Create_Args error{XLA_FFI_Error_Create_Args_STRUCT_SIZE, nullptr, message.c_str(),
                                    XLA_FFI_Error_Code_FAILED_PRECONDITION};
    return frame.api->XLA_FFI_Error_Create(&error);
  }

  const char* platform_;
  const char* routine_;
  std::atomic<Handler> handler_ = nullptr;
};

}  // namespace jaxmg
