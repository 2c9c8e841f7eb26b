// Carves one buffer into aligned pieces. Run over no buffer at all it measures, so that the planner's byte
// count and the pieces an algorithm uses come from the same lines.
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

  Arena() = default;  // measures only
  Arena(void* base, std::int64_t bytes) : base_(static_cast<std::byte*>(base)), capacity_(bytes) {}

  template <class T>
  T* take(std::int64_t count) {
    const std::int64_t offset = used_;
    used_ += (count * static_cast<std::int64_t>(sizeof(T)) + alignment - 1) / alignment * alignment;
    if (base_ == nullptr) return nullptr;
    if (used_ > capacity_) {
      throw Error(ErrorCode::internal, "the workspace holds " + std::to_string(capacity_) + " bytes, at least " +
                                           std::to_string(used_) + " are needed");
    }
    return reinterpret_cast<T*>(base_ + offset);
  }

  template <class T>
  MatrixView<T> matrix(std::int64_t rows, std::int64_t columns) {
    return {take<T>(rows * columns), rows, columns, rows};
  }

  // What is left, as an arena of its own.
  Arena rest() const { return {base_ + used_, capacity_ - used_}; }

  std::int64_t used() const { return used_; }
  std::int64_t left() const { return capacity_ - used_; }

 private:
  std::byte* base_ = nullptr;
  std::int64_t capacity_ = 0;
  std::int64_t used_ = 0;
};

}  // namespace jaxmg
