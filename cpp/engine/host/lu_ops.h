// LU operations of the host engine (LuOps).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/matrix_view.h"
#include "core/row_chunks.h"
#include "core/scalar.h"
#include "engine/host/blas.h"
#include "engine/host/blas_ops.h"
#include "engine/lu_ops.h"

namespace jaxmg {

class HostLuOps {
 public:
  template <class T>
  void getrf(Lane, MatrixView<T> a, std::int64_t row, std::int32_t* pivots, std::byte*) {
    if (a.empty()) return;
    const int m = checked_int(a.rows, "m"), n = checked_int(a.columns, "n"), lda = leading_dimension(a);
    const int first = checked_int(row, "row");
    int info = 0;
    Blas<T>::instance().getrf(&m, &n, a.data, &lda, pivots, &info);
    for (int i = 0; i < n; ++i) pivots[i] = first + valid_pivot(pivots[i] - 1, i, m);  // LAPACK counts from 1
  }

  template <class T>
  std::int64_t getrf_columns(std::int64_t) const {
    return std::numeric_limits<std::int64_t>::max();
  }

  void plan_interchanges(Lane, const std::int32_t* pivots, std::int64_t row, std::int64_t count, std::int64_t rows,
                         RowMoves* moves) {
    for (std::int64_t chunk = 0; chunk < count; chunk += interchange_chunk) {
      const int size = static_cast<int>(std::min<std::int64_t>(interchange_chunk, count - chunk));
      plan_chunk(pivots + chunk, checked_int(row + chunk, "row"), size, checked_int(rows, "rows"), moves + chunk);
    }
  }

  template <class T>
  void interchange(Lane, Interchanges direction, const RowMoves* moves, std::int64_t count, std::int64_t row,
                   MatrixView<T> a) {
    std::vector<T> moved;
    each_chunk(direction, count, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t j = 0; j < a.columns; ++j) {
        move_numbers(direction, moves + first, last - first, moved, [&](int i) -> T& { return *a.at(i - row, j); });
      }
    });
  }

  template <class T>
  void interchange_chunks(Lane, const RowMoves* moves, std::int64_t count, std::int64_t row, RowChunks<T> a,
                          std::int64_t columns) {
    std::vector<T> moved;
    each_chunk(Interchanges::made, count, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t j = 0; j < columns; ++j) {
        move_numbers(Interchanges::made, moves + first, last - first, moved,
                     [&](int i) -> T& { return *a.piece(i - row, j, 1).data; });
      }
    });
  }

  template <class T>
  void interchange_beside(Lane lane, const std::int32_t* pivots, std::int64_t row, std::int64_t first,
                          std::int64_t count, MatrixView<T> a) {
    const std::int64_t last = first + count;
    std::vector<RowMoves> moves(static_cast<std::size_t>(count));
    plan_interchanges(lane, pivots + first, row + first, count, row + a.rows, moves.data());
    for (const auto& columns : {a.block(0, 0, a.rows, first), a.block(0, last, a.rows, a.columns - last)}) {
      interchange(lane, Interchanges::made, moves.data(), count, row, columns);
    }
  }

  void number(Lane, std::int64_t count, std::int32_t* places) {
    for (std::int64_t i = 0; i < count; ++i) places[i] = static_cast<std::int32_t>(i);
  }

  void place(Lane, const RowMoves* moves, std::int64_t count, std::int32_t* places) {
    std::vector<std::int32_t> moved;
    each_chunk(Interchanges::undone, count, [&](std::int64_t first, std::int64_t last) {
      move_numbers(Interchanges::undone, moves + first, last - first, moved,
                   [&](int i) -> std::int32_t& { return places[i]; });
    });
  }

  void invert(Lane, const std::int32_t* places, std::int64_t row, std::int64_t count, std::int32_t* origins) {
    for (std::int64_t i = row; i < row + count; ++i) origins[places[i]] = static_cast<std::int32_t>(i);
  }

  template <class T>
  void gather_rows(Lane, MatrixView<T> from, const std::int32_t* origins, std::int64_t row, MatrixView<T> to) {
    for (std::int64_t j = 0; j < to.columns; ++j) {
      for (std::int64_t i = 0; i < to.rows; ++i) *to.at(i, j) = *from.at(origins[row + i] - row, j);
    }
  }

  template <class T>
  void gather_columns(Lane, MatrixView<T> from, const std::int32_t* places, MatrixView<T> to) {
    for (std::int64_t j = 0; j < to.columns; ++j) std::copy_n(from.at(0, places[j]), to.rows, to.at(0, j));
  }

  template <class T>
  void check_pivots(Lane, MatrixView<T> a, std::int64_t row, std::int32_t* info) {
    for (std::int64_t i = 0; i < std::min(a.rows, a.columns); ++i) {
      if (*a.at(i, i) != T(0)) continue;
      *info = std::min(*info, checked_int(row + i + 1, "info"));
      return;
    }
  }

  template <class T>
  void conjugate(Lane, MatrixView<T> a) {
    if constexpr (is_complex<T>) {
      for (std::int64_t j = 0; j < a.columns; ++j) {
        for (std::int64_t i = 0; i < a.rows; ++i) *a.at(i, j) = std::conj(*a.at(i, j));
      }
    }
  }

 private:
  static void plan_chunk(const std::int32_t* pivots, int row, int count, int rows, RowMoves* moves) {
    // Contents of the rows of the chunk (inner), and of rows beyond it, at the first pivot that names each (outer).
    std::vector<int> inner, outer;
    std::vector<int> named;
    for (int i = 0; i < count; ++i) {
      inner.push_back(row + i);
      outer.push_back(valid_pivot(pivots[i], row + i, rows));
      named.push_back(static_cast<int>(std::find(outer.begin(), outer.end(), outer.back()) - outer.begin()));
    }
    const std::vector<int> other = outer;
    const auto at = [](int i) { return static_cast<std::size_t>(i); };
    for (int i = 0; i < count; ++i) {
      const int inside = other[at(i)] - row;
      std::swap(inner[at(i)], inside < count ? inner[at(inside)] : outer[at(named[at(i)])]);
    }
    for (int i = 0; i < count; ++i) {
      const bool beyond = other[at(i)] - row >= count && named[at(i)] == i;
      moves[i] = {{row + i, beyond ? other[at(i)] : -1}, {inner[at(i)], outer[at(i)]}};
    }
  }

  template <class Visit>
  static void each_chunk(Interchanges direction, std::int64_t count, Visit&& visit) {
    const std::int64_t chunks = (count + interchange_chunk - 1) / interchange_chunk;
    for (std::int64_t i = 0; i < chunks; ++i) {
      const std::int64_t first = (direction == Interchanges::made ? i : chunks - 1 - i) * interchange_chunk;
      visit(first, std::min(count, first + interchange_chunk));
    }
  }

  // Interchanges the numbers at(row) of a column.
  template <class Number, class At>
  static void move_numbers(Interchanges direction, const RowMoves* moves, std::int64_t count,
                           std::vector<Number>& moved, At&& at) {
    const bool made = direction == Interchanges::made;
    moved.clear();
    for (std::int64_t i = 0; i < count; ++i) {
      for (const int k : {0, 1}) {
        if (moves[i].to[k] >= 0) moved.push_back(at(made ? moves[i].from[k] : moves[i].to[k]));
      }
    }
    auto value = moved.begin();
    for (std::int64_t i = 0; i < count; ++i) {
      for (const int k : {0, 1}) {
        if (moves[i].to[k] >= 0) at(made ? moves[i].to[k] : moves[i].from[k]) = *value++;
      }
    }
  }
};

}  // namespace jaxmg
