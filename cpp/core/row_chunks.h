// A matrix stored in chunks of rows: each chunk is column-major, with its own leading dimension.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/matrix_view.h"

namespace jaxmg {

template <class T>
struct RowChunks {
  T* data;
  std::int64_t rows, columns;
  std::int64_t chunk;  // rows of a chunk; the last may have fewer

  // The part of columns [column, column + count) that lies in the chunk of `row`, from this row on.
  MatrixView<T> piece(std::int64_t row, std::int64_t column, std::int64_t count) const {
    const std::int64_t top = row / chunk * chunk, ld = std::min(chunk, rows - top);
    return {data + top * columns + (row - top) + column * ld, top + ld - row, count, ld};
  }
};

}  // namespace jaxmg
