// Errors that stop a call. Numerical failure is no error but a value (LAPACK's info).
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

namespace jaxmg {

enum class ErrorCode { invalid_argument, resource_exhausted, deadline_exceeded, aborted, internal };

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// Checked conversion to the 32-bit sizes of BLAS and LAPACK; larger sizes must never be truncated silently.
inline int checked_int(std::int64_t value, const char* what) {
  if (value < 0 || value > std::numeric_limits<int>::max()) {
    throw Error(ErrorCode::invalid_argument,
                std::string(what) + " = " + std::to_string(value) + " does not fit in a 32-bit integer");
  }
  return static_cast<int>(value);
}

}  // namespace jaxmg
