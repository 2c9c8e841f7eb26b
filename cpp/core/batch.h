// A batch: matrices of one shape at a fixed stride in memory.
#pragma once

#include <cstdint>

#include "core/matrix_view.h"

namespace jaxmg {

template <class T>
struct Batch {
  MatrixView<T> first;
  std::int64_t stride = 0;  // elements between the tops of neighbouring matrices
  std::int64_t count = 0;

  MatrixView<T> operator[](std::int64_t i) const {
    return {first.data + i * stride, first.rows, first.columns, first.ld};
  }
  // The same block of each matrix.
  Batch block(std::int64_t row, std::int64_t column, std::int64_t rows, std::int64_t columns) const {
    return {first.block(row, column, rows, columns), stride, count};
  }
};

}  // namespace jaxmg
