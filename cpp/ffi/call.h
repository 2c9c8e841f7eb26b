// Shared parts of the handlers of all platforms: decode a call's buffers and attributes, and convert errors to
// XLA's. See python/jaxmg/_native/ffi.py for the other side.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "comm/membership.h"
#include "comm/roll.h"
#include "core/error.h"
#include "ffi/forwarding.h"
#include "routines/calling.h"
#include "routines/signature.h"
#include "xla/ffi/api/ffi.h"

namespace jaxmg {

namespace xffi = xla::ffi;

inline xffi::Error translate(const Error& error) {
  switch (error.code()) {
    case ErrorCode::invalid_argument:
      return {xffi::ErrorCode::kInvalidArgument, error.what()};
    case ErrorCode::resource_exhausted:
      return {xffi::ErrorCode::kResourceExhausted, error.what()};
    case ErrorCode::deadline_exceeded:
      return {xffi::ErrorCode::kDeadlineExceeded, error.what()};
    case ErrorCode::aborted:
      return {xffi::ErrorCode::kAborted, error.what()};
    case ErrorCode::internal:
      break;
  }
  return {xffi::ErrorCode::kInternal, error.what()};
}

// Runs a handler's body. No exception may reach XLA.
template <class Body>
xffi::Error guarded(const char* routine, Body&& body) {
  const std::string prefix = std::string("jaxmg ") + routine + ": ";
  try {
    body();
    return xffi::Error::Success();
  } catch (const Error& error) {
    return translate(Error(error.code(), prefix + error.what()));
  } catch (const std::exception& error) {
    return {xffi::ErrorCode::kInternal, prefix + error.what()};
  }
}

inline std::int64_t attribute(const xffi::Dictionary& attributes, std::string_view name) {
  const auto value = attributes.get<std::int64_t>(name);
  if (!value.has_value()) {
    throw Error(ErrorCode::invalid_argument, "attribute '" + std::string(name) + "' is missing or not an int64");
  }
  return *value;
}

inline ElementType element_type_of(xffi::DataType type) {
  switch (type) {
    case xffi::DataType::F32:
      return ElementType::f32;
    case xffi::DataType::F64:
      return ElementType::f64;
    case xffi::DataType::C64:
      return ElementType::c64;
    case xffi::DataType::C128:
      return ElementType::c128;
    case xffi::DataType::S32:
      return ElementType::i32;
    default:
      return ElementType::other;
  }
}

inline Buffer buffer_of(xffi::AnyBuffer buffer) {
  const auto shape = buffer.dimensions();
  return {static_cast<std::byte*>(buffer.untyped_data()),
          static_cast<std::int64_t>(buffer.size_bytes()),
          element_type_of(buffer.element_type()),
          {shape.begin(), shape.end()}};
}

// One rank's call, as passed by XLA. The last operand is the roll, the last result the workspace.
struct CallFrame : PlannedCall {
  Buffer roll;
  xffi::Dictionary attributes;

  CallFrame(xffi::RemainingArgs all_operands, xffi::RemainingRets all_results, xffi::Dictionary call_attributes)
      : attributes(call_attributes) {
    for (std::size_t i = 0; i < all_operands.size(); ++i) {
      operands.push_back(buffer_of(*all_operands.get<xffi::AnyBuffer>(i)));
    }
    for (std::size_t i = 0; i < all_results.size(); ++i) {
      results.push_back(buffer_of(**all_results.get<xffi::AnyBuffer>(i)));
    }
    const auto encoded = attributes.get<xffi::Span<const std::int64_t>>("plan");
    if (operands.empty() || results.empty() || !encoded.has_value()) {
      throw Error(ErrorCode::internal, "the call has no roll, no workspace or no plan");
    }
    plan = {encoded->begin(), encoded->size()};
    roll = operands.back();
    operands.pop_back();
    workspace = results.back();
    results.pop_back();
  }

  // The participants of the call. `words` are the words of the roll, on the host.
  Membership members(const void* words, std::int32_t device) const {
    return {Roll(words, roll.shape[0]), static_cast<std::uint32_t>(device), attribute(attributes, "call_site"),
            std::chrono::milliseconds(attribute(attributes, "timeout_ms"))};
  }
};

}  // namespace jaxmg
