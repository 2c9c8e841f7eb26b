// Shared parts of the handlers of all platforms: decode a call's buffers and attributes, and convert errors to
// XLA's. See python/jaxmg/_native/ffi.py for the other side.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
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

// One rank's call, as passed by XLA; it may outlive XLA's own frame. The last result is the workspace. With several
// ranks, the last operand is the roll or, where they meet without one, the rank.
class CallFrame : public PlannedCall {
 public:
  Buffer roll;  // or the rank; empty if there is one rank

  CallFrame(xffi::RemainingArgs all_operands, xffi::RemainingRets all_results, xffi::Dictionary attributes)
      : ranks_(attribute(attributes, "ranks")),
        call_site_(attribute(attributes, "call_site")),
        timeout_(attribute(attributes, "timeout_ms")) {
    for (std::size_t i = 0; i < all_operands.size(); ++i) {
      operands.push_back(buffer_of(*all_operands.get<xffi::AnyBuffer>(i)));
    }
    for (std::size_t i = 0; i < all_results.size(); ++i) {
      results.push_back(buffer_of(**all_results.get<xffi::AnyBuffer>(i)));
    }
    const auto encoded = attributes.get<xffi::Span<const std::int64_t>>("plan");
    if ((ranks_ > 1 && operands.empty()) || results.empty() || !encoded.has_value()) {
      throw Error(ErrorCode::internal, "the call has no roll, no workspace or no plan");
    }
    words_.assign(encoded->begin(), encoded->end());
    plan = words_;
    if (ranks_ > 1) {
      roll = operands.back();
      operands.pop_back();
    }
    workspace = results.back();
    results.pop_back();
  }

  CallFrame(const CallFrame&) = delete;  // `plan` refers to a member
  CallFrame& operator=(const CallFrame&) = delete;

  // The participants of the call. `words` are the contents of `roll`, on the host. `run` is XLA's number of the
  // execution, used if the ranks meet without a roll.
  Membership members(const void* words, std::int32_t device, std::int64_t run = 0) const {
    const auto own = static_cast<std::uint32_t>(device);
    if (ranks_ <= 1) return Membership::alone(own, call_site_, timeout_);
    if (roll.type == ElementType::i32) {
      std::int32_t rank = 0;
      std::memcpy(&rank, words, sizeof(rank));
      return Membership::of_run(run, checked_int(ranks_, "ranks"), rank, own, call_site_, timeout_);
    }
    return {Roll(words, roll.shape[0]), own, call_site_, timeout_};
  }

  std::int64_t ranks() const { return ranks_; }

 private:
  std::int64_t ranks_, call_site_;
  std::chrono::milliseconds timeout_;
  std::vector<std::int64_t> words_;  // of the plan
};

}  // namespace jaxmg
