// What the handlers of all platforms share: decoding a call's buffers and attributes, and turning errors into
// XLA's. See python/jaxmg/_ffi.py for the other side.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "backends/cholesky.h"
#include "comm/gathering.h"
#include "comm/roll.h"
#include "core/error.h"
#include "core/scalar.h"
#include "layout/tile_columns.h"
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

// Who takes part in a call, and under which name.
struct Membership {
  Roll roll;
  int rank;
  std::vector<int> local_ranks;
  CallKey key;
  std::chrono::milliseconds timeout;
  std::int64_t processes;

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

template <class T>
CholeskySolve<T> decode_potrs(const Membership& members, xffi::AnyBuffer a, xffi::AnyBuffer x, std::int32_t* status,
                              const xffi::Dictionary& attributes) {
  const MatrixView<T> shard = columns_of<T>(a);
  const std::int64_t n = attribute(attributes, "n");
  MatrixView<T> rhs = columns_of<T>(x);
  if (shard.rows != n || rhs.rows != n) {
    throw Error(ErrorCode::internal, "the buffers of a and b do not have rows of n = " + std::to_string(n));
  }
  return {TileColumns(n, shard.columns, attribute(attributes, "tile"), members.roll.ranks()),
          attribute(attributes, "pivot"),
          attribute(attributes, "slots"),
          attribute(attributes, "distributed_rhs") != 0,
          shard,
          rhs,
          status};
}

// Whole tiles of a shard are dealt whatever its rows are.
template <class T>
TileColumns redistribution_layout(const Membership& members, MatrixView<T> shard, const xffi::Dictionary& attributes) {
  const int ranks = members.roll.ranks();
  return TileColumns(shard.columns * ranks, shard.columns, attribute(attributes, "tile"), ranks);
}

// The signature of each handler; a platform may add to its end.
inline auto bind_roll_call() {
  return xffi::Ffi::Bind()
      .Arg<xffi::AnyBuffer>()  // seed
      .Ret<xffi::AnyBuffer>()  // entry
      .Attrs()
      .Ctx<xffi::DeviceOrdinal>();
}

inline auto bind_potrs() {
  return xffi::Ffi::Bind()
      .Arg<xffi::AnyBuffer>()  // a
      .Arg<xffi::AnyBuffer>()  // b
      .Arg<xffi::AnyBuffer>()  // roll
      .Ret<xffi::AnyBuffer>()  // factor, aliased to a
      .Ret<xffi::AnyBuffer>()  // x, aliased to b
      .Ret<xffi::AnyBuffer>()  // info
      .Ret<xffi::AnyBuffer>()  // workspace
      .Attrs()
      .Ctx<xffi::DeviceOrdinal>();
}

inline auto bind_redistribute() {
  return xffi::Ffi::Bind()
      .Arg<xffi::AnyBuffer>()  // a
      .Arg<xffi::AnyBuffer>()  // roll
      .Ret<xffi::AnyBuffer>()  // dealt, aliased to a
      .Ret<xffi::AnyBuffer>()  // workspace
      .Attrs()
      .Ctx<xffi::DeviceOrdinal>();
}

}  // namespace jaxmg

#define JAXMG_HANDLER(name, binding, implementation)                                                \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* name(XLA_FFI_CallFrame* frame) { \
    static auto* const handler = (binding).To(implementation).release();                            \
    return handler->Call(frame);                                                                    \
  }
