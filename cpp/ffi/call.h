// What the handlers of all platforms share: decoding a call's buffers and attributes, and turning errors into
// XLA's. See python/jaxmg/_ffi.py for the other side.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "comm/gathering.h"
#include "comm/process_links.h"
#include "comm/roll.h"
#include "core/error.h"
#include "core/scalar.h"
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
    throw Error(ErrorCode::invalid_argument, "attribute '" + std::string(name) + "' is missing or no int64");
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

// The buffers and attributes of one rank's call. The last operand is the roll, the last result the workspace; the
// others are those of the routine's signature.
class CallFrame {
 public:
  CallFrame(xffi::RemainingArgs operands, xffi::RemainingRets results, xffi::Dictionary call_attributes)
      : attributes(call_attributes) {
    for (std::size_t i = 0; i < operands.size(); ++i)
      this->operands.push_back(buffer_of(*operands.get<xffi::AnyBuffer>(i)));
    for (std::size_t i = 0; i < results.size(); ++i)
      this->results.push_back(buffer_of(**results.get<xffi::AnyBuffer>(i)));
    if (this->operands.empty() || this->results.empty()) {
      throw Error(ErrorCode::internal, "the call has no roll or no workspace");
    }
    roll = this->operands.back();
    workspace = this->results.back();
    this->operands.pop_back();
    this->results.pop_back();
    const auto encoded = attributes.get<xffi::Span<const std::int64_t>>("plan");
    if (!encoded.has_value()) throw Error(ErrorCode::invalid_argument, "attribute 'plan' is missing");
    plan = {encoded->begin(), encoded->size()};
  }

  std::vector<Buffer> operands, results;
  Buffer roll, workspace;
  xffi::Dictionary attributes;
  std::span<const std::int64_t> plan;  // encoded

  // Where other ranks may write to or read from: results, and operands from `first_read_only` on.
  MemoryRegions regions(std::size_t first_read_only) const {
    MemoryRegions all;
    for (const Buffer& buffer : results) all.push_back(buffer.region());
    all.push_back(workspace.region());
    for (std::size_t i = first_read_only; i < operands.size(); ++i) all.push_back(operands[i].region());
    return all;
  }
};

// Tells the other ranks of a call why this one fails. Returns what it is to throw: the error with the rank's name,
// unless it came from another rank.
inline Error tell_others(Attendance& attendance, const std::exception& error) {
  const auto* const known = dynamic_cast<const Error*>(&error);
  const ErrorCode code = known != nullptr ? known->code() : ErrorCode::internal;
  const bool from_another = code == ErrorCode::aborted || code == ErrorCode::deadline_exceeded;
  const std::string name = from_another ? "" : "rank " + std::to_string(attendance.rank()) + " failed: ";
  Error told(code, name + error.what());
  attendance.fail(told.what());
  return told;
}

// What the links know of why a call fails, which is who is gone; or the error, if they know nothing. Who uses the
// network of a process that ends may notice before its links do, but does not learn whose it was.
inline Error explained(ProcessLinks& links, const std::exception& error) {
  const auto* const known = dynamic_cast<const Error*>(&error);
  if (known != nullptr && known->code() == ErrorCode::aborted) return *known;
  try {
    for (int i = 0; i < 10; ++i) {
      links.check();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  } catch (const Error& reason) {
    return reason;
  }
  return known != nullptr ? *known : Error(ErrorCode::internal, error.what());
}

// Who takes part in a call, and under which name.
struct Membership {
  Roll roll;
  int rank;
  std::vector<int> local_ranks;
  CallKey key;
  std::chrono::milliseconds timeout;

  // Whether some of the ranks are in other processes.
  bool spans() const { return local_ranks.size() < static_cast<std::size_t>(roll.ranks()); }

  Membership(Roll call_roll, std::uint32_t device, const xffi::Dictionary& attributes)
      : roll(std::move(call_roll)),
        rank(roll.rank_of(process_nonce(), device)),
        local_ranks(roll.ranks_of(process_nonce())),
        key{roll.entry(0).process, roll.entry(0).call, attribute(attributes, "call_site")},
        timeout(attribute(attributes, "timeout_ms")) {
    if (rank < 0) {
      throw Error(ErrorCode::internal, "device " + std::to_string(device) + " is not on the roll of this call");
    }
  }
};

// A handler as XLA calls it.
using Handler = XLA_FFI_Error* (*)(XLA_FFI_CallFrame*);

inline auto bind_roll_call() {
  return xffi::Ffi::Bind()
      .Arg<xffi::AnyBuffer>()  // seed
      .Ret<xffi::AnyBuffer>()  // entry
      .Attrs()
      .Ctx<xffi::DeviceOrdinal>();
}

// Every routine's; a platform may add to its end.
inline auto bind_routine() {
  return xffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs().Ctx<xffi::DeviceOrdinal>();
}

}  // namespace jaxmg
