// What the handlers of all platforms share: decoding a call's buffers and attributes, and turning errors into
// XLA's. See python/jaxmg/_ffi.py for the other side.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "backends/backend.h"
#include "comm/gathering.h"
#include "comm/process_links.h"
#include "comm/roll.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
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

inline ScalarType scalar_type(xffi::DataType type) {
  switch (type) {
    case xffi::DataType::F32:
      return ScalarType::f32;
    case xffi::DataType::F64:
      return ScalarType::f64;
    case xffi::DataType::C64:
      return ScalarType::c64;
    case xffi::DataType::C128:
      return ScalarType::c128;
    default:
      throw Error(ErrorCode::invalid_argument, "dtype must be float32, float64, complex64 or complex128");
  }
}

// The rows of a 2-D buffer as the columns of a column-major matrix.
template <class T>
MatrixView<T> columns_of(xffi::AnyBuffer buffer) {
  const auto shape = buffer.dimensions();
  if (shape.size() != 2) throw Error(ErrorCode::internal, "a buffer is not two-dimensional");
  return {static_cast<T*>(buffer.untyped_data()), shape[1], shape[0], shape[1]};
}

inline MemoryRegion region_of(xffi::AnyBuffer buffer) {
  return {static_cast<std::byte*>(buffer.untyped_data()), static_cast<std::int64_t>(buffer.size_bytes())};
}

// The buffers and attributes of one rank's call. Operands that results are aliased to come first, result i to operand
// i; the last operand is the roll, the last result the workspace.
class CallFrame {
 public:
  CallFrame(xffi::RemainingArgs operands, xffi::RemainingRets results, xffi::Dictionary attributes)
      : attributes_(attributes) {
    for (std::size_t i = 0; i < operands.size(); ++i) operands_.push_back(*operands.get<xffi::AnyBuffer>(i));
    for (std::size_t i = 0; i < results.size(); ++i) results_.push_back(**results.get<xffi::AnyBuffer>(i));
    if (operands_.empty() || results_.empty()) throw Error(ErrorCode::internal, "the call has no roll or no workspace");
  }

  xffi::AnyBuffer operand(std::size_t i) const { return operands_.at(i); }
  xffi::AnyBuffer result(std::size_t i) const { return results_.at(i); }
  std::size_t results() const { return results_.size(); }
  xffi::AnyBuffer roll() const { return operands_.back(); }
  std::int32_t* info(std::size_t i) const { return static_cast<std::int32_t*>(result(i).untyped_data()); }
  MemoryRegion workspace() const { return region_of(results_.back()); }

  std::int64_t attribute(std::string_view name) const { return jaxmg::attribute(attributes_, name); }
  const xffi::Dictionary& attributes() const { return attributes_; }
  BackendName backend() const { return static_cast<BackendName>(attribute("backend")); }

  // Where other ranks may write to or read from: results, and operands from `first_read_only` on.
  MemoryRegions regions(std::size_t first_read_only) const {
    MemoryRegions all;
    for (const auto& buffer : results_) all.push_back(region_of(buffer));
    for (std::size_t i = first_read_only; i + 1 < operands_.size(); ++i) all.push_back(region_of(operands_[i]));
    return all;
  }

  // What decides which kernels the call launches: the routine, the type, the sizes, the backend and the sweeps of a
  // solve.
  std::string kind(const char* routine) const {
    std::string text = routine + std::to_string(static_cast<int>(result(0).element_type()));
    for (const auto& buffer : results_) {
      for (const std::int64_t size : buffer.dimensions()) text += ' ' + std::to_string(size);
    }
    for (const char* const name : {"backend", "sweeps"}) {
      const auto value = attributes_.get<std::int64_t>(name);
      if (value.has_value()) text += ' ' + (name + (' ' + std::to_string(*value)));
    }
    return text;
  }

 private:
  std::vector<xffi::AnyBuffer> operands_, results_;
  xffi::Dictionary attributes_;
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
  std::int64_t processes;  // at most

  // Whether some of the ranks are in other processes.
  bool spans() const { return local_ranks.size() < static_cast<std::size_t>(roll.ranks()); }

  Membership(Roll call_roll, std::uint32_t device, const xffi::Dictionary& attributes)
      : roll(std::move(call_roll)),
        rank(roll.rank_of(process_nonce(), device)),
        local_ranks(roll.ranks_of(process_nonce())),
        key{roll.entry(0).process, roll.entry(0).call, attribute(attributes, "call_site")},
        timeout(attribute(attributes, "timeout_ms")),
        processes(attribute(attributes, "processes")) {
    if (rank < 0) {
      throw Error(ErrorCode::internal, "device " + std::to_string(device) + " is not on the roll of this call");
    }
  }
};

// A device's roll entries, as many as fit the buffer: one, or one for each call of a batch.
inline std::vector<RollEntry> own_entries(xffi::AnyBuffer buffer, std::int32_t device) {
  std::vector<RollEntry> entries(buffer.size_bytes() / sizeof(RollEntry));
  for (RollEntry& entry : entries) entry = own_entry(device);
  return entries;
}

inline auto bind_roll_call() {
  return xffi::Ffi::Bind()
      .RemainingArgs()         // operands of the call (not read)
      .Ret<xffi::AnyBuffer>()  // entries
      .Attrs()
      .Ctx<xffi::DeviceOrdinal>();
}

// Every routine's; a platform may add to its end.
inline auto bind_routine() {
  return xffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs().Ctx<xffi::DeviceOrdinal>();
}

}  // namespace jaxmg

#define JAXMG_HANDLER(name, binding, implementation)                                                \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* name(XLA_FFI_CallFrame* frame) { \
    static auto* const handler = (binding).To(implementation).release();                            \
    return handler->Call(frame);                                                                    \
  }
