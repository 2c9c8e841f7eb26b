// A view of a column-major matrix, and the arguments of BLAS routines.
#pragma once

#include <cstdint>

namespace jaxmg {

template <class T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t ld = 0;  // leading dimension: elements between the tops of neighbouring columns

  T* at(std::int64_t row, std::int64_t column) const { return data + row + column * ld; }

  MatrixView block(std::int64_t row, std::int64_t column, std::int64_t block_rows, std::int64_t block_columns) const {
    return {at(row, column), block_rows, block_columns, ld};
  }

  bool empty() const { return rows == 0 || columns == 0; }
};

// LAPACK's trans, side, uplo and diag.
enum class Op { none, transpose, conj_transpose };
enum class Side { left, right };
enum class Uplo { lower, upper };
enum class Diag { non_unit, unit };

}  // namespace jaxmg
