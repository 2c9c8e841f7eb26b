// Arena: carves one buffer into aligned pieces. Without a buffer it only counts bytes, and therefore the planner's byte
// count and an algorithm's pieces come from the same lines of code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/matrix_view.h"

namespace jaxmg {

class Arena {
 public:
  static constexpr std::int64_t alignment = 256;

  Arena() = default;  // counts bytes only
  Arena(void* base, std::int64_t bytes) : base_(static_cast<std::byte*>(base)), capacity_(bytes) {}

  template <class T>
  T* take(std::int64_t count) {
    const std::int64_t offset = used_;
    used_ += (count * static_cast<std::int64_t>(sizeof(T)) + alignment - 1) / alignment * alignment;
    if (base_ == nullptr) return nullptr;
    if (used_ > capacity_) {
      throw Error(ErrorCode::internal, "the workspace holds " + std::to_string(capacity_) + " bytes, but at least " +
                                           std::to_string(used_) + " are needed");
    }
    return reinterpret_cast<T*>(base_ + offset);
  }

  template <class T>
  MatrixView<T> matrix(std::int64_t rows, std::int64_t columns) {
    return {take<T>(rows * columns), rows, columns, rows};
  }

  // The unused remainder, as a separate arena.
  Arena rest() const { return {base_ + used_, capacity_ - used_}; }

  std::int64_t used() const { return used_; }
  std::int64_t left() const { return capacity_ - used_; }

 private:
  std::byte* base_ = nullptr;
  std::int64_t capacity_ = 0;
  std::int64_t used_ = 0;
};

}  // namespace jaxmg
