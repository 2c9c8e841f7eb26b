// The host engine's operations on matrices (BlasOps): BLAS and loops.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/host/blas.h"

namespace jaxmg {

// BLAS's trans argument for an operation.
inline const char* letter(Op op) { return op == Op::none ? "N" : op == Op::transpose ? "T" : "C"; }

template <class T>
int leading_dimension(MatrixView<T> a) {
  return std::max(1, checked_int(a.ld, "leading dimension"));
}

class HostBlasOps {
 public:
  template <class T>
  void trsm(Lane, Side side, Uplo uplo, Op op, Diag diag, MatrixView<T> a, MatrixView<T> x) {
    if (x.empty()) return;
    const int m = checked_int(x.rows, "m"), n = checked_int(x.columns, "n");
    const int lda = leading_dimension(a), ldb = leading_dimension(x);
    const char *const triangle = uplo == Uplo::lower ? "L" : "U", *const diagonal = diag == Diag::unit ? "U" : "N";
    // OpenBLAS's trsm takes two to four times as long for one column.
    if (side == Side::left && n == 1) {
      const int increment = 1;
      Blas<T>::instance().trsv(triangle, letter(op), diagonal, &m, a.data, &lda, x.data, &increment);
      return;
    }
    const T one = 1;
    Blas<T>::instance().trsm(side == Side::left ? "L" : "R", triangle, letter(op), diagonal, &m, &n, &one, a.data, &lda,
                             x.data, &ldb);
  }

  template <class T>
  void gemm(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    update(lane, opa, opb, alpha, a, b, T(1), c);
  }

  template <class T>
  void product(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    update(lane, opa, opb, alpha, a, b, T(0), c);
  }

  template <class T>
  void copy(Lane, MatrixView<T> from, MatrixView<T> to) {
    for (std::int64_t j = 0; j < from.columns; ++j) {
      std::copy_n(from.at(0, j), from.rows, to.at(0, j));
    }
  }

  template <class T>
  void conj_transpose(Lane, MatrixView<T> from, MatrixView<T> to) {
    // A transposition that walks whole columns misses the cache at every element of a row. Columns at a distance of a
    // power of two even evict each other: each square is transposed in a buffer.
    T turned[square * square];
    for (std::int64_t left = 0; left < from.columns; left += square) {
      for (std::int64_t top = 0; top < from.rows; top += square) {
        const MatrixView<T> part =
            from.block(top, left, std::min(square, from.rows - top), std::min(square, from.columns - left));
        for (std::int64_t j = 0; j < part.columns; ++j) {
          for (std::int64_t i = 0; i < part.rows; ++i) turned[i * square + j] = conjugate(*part.at(i, j));
        }
        for (std::int64_t i = 0; i < part.rows; ++i) {
          std::copy_n(turned + i * square, part.columns, to.at(left, top + i));
        }
      }
    }
  }

  template <class T>
  void zero(Lane, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) std::fill_n(a.at(0, j), a.rows, T(0));
  }

  template <class T>
  void identity(Lane lane, MatrixView<T> a) {
    zero(lane, a);
    for (std::int64_t j = 0; j < a.columns; ++j) *a.at(j, j) = T(1);
  }

  template <class T>
  void mirror(Lane lane, MatrixView<T> a) {
    for (std::int64_t left = 0; left < a.columns; left += square) {
      const std::int64_t right = std::min(a.columns, left + square);
      for (std::int64_t j = left; j < right; ++j) {
        *a.at(j, j) = std::real(*a.at(j, j));
        for (std::int64_t i = j + 1; i < right; ++i) *a.at(j, i) = conjugate(*a.at(i, j));
      }
      conj_transpose(lane, a.block(right, left, a.rows - right, right - left),
                     a.block(left, right, right - left, a.columns - right));
    }
  }

  template <class T>
  void zero_below(Lane, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) std::fill_n(a.at(j + 1, j), a.rows - j - 1, T(0));
  }

  void lend_scratch(Lane, MatrixView<std::byte>) {}

  template <class T>
  void unit_lower(Lane, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      std::fill_n(a.at(0, j), std::min(j, a.rows), T(0));
      if (j < a.rows) *a.at(j, j) = T(1);
    }
  }

  template <class T>
  void subtract(Lane, const std::vector<MatrixView<T>>& terms, MatrixView<T> x) {
    for (const MatrixView<T>& term : terms) {
      for (std::int64_t j = 0; j < x.columns; ++j) {
        for (std::int64_t i = 0; i < x.rows; ++i) *x.at(i, j) -= *term.at(i, j);
      }
    }
  }

  // Copies a real matrix to a complex one.
  template <class T>
  void widen(Lane, MatrixView<Real<T>> from, MatrixView<T> to) {
    for (std::int64_t j = 0; j < from.columns; ++j) std::copy_n(from.at(0, j), from.rows, to.at(0, j));
  }

 private:
  static constexpr std::int64_t square = 32;

  // C = beta C + alpha op(A) op(B).
  template <class T>
  static void update(Lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, MatrixView<T> c) {
    if (c.empty()) return;
    const int m = checked_int(c.rows, "m"), n = checked_int(c.columns, "n");
    const int k = checked_int(opa == Op::none ? a.columns : a.rows, "k");
    const int lda = leading_dimension(a), ldb = leading_dimension(b), ldc = leading_dimension(c);
    Blas<T>::instance().gemm(letter(opa), letter(opb), &m, &n, &k, &alpha, a.data, &lda, b.data, &ldb, &beta, c.data,
                             &ldc);
  }
};

}  // namespace jaxmg
