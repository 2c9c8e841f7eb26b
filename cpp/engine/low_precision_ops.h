// Engine operations: products of float32 or complex64 that multiply in tensor cores and add in float32. The host
// engine has none of them.
//
// With two FP16 numbers for each element, x = h + m / 2^11, where h is x rounded to FP16 and m is 2^11 (x - h) rounded
// to FP16, and A B = H_A H_B + (H_A M_B + M_A H_B) / 2^11 up to M_A M_B, which is below the rounding errors. The factor
// 2^11 keeps m as large as h: otherwise m would be subnormal, and lose bits, where |x| < 2^-3 (Ootomo and Yokota,
// Int. J. High Performance Computing Applications 36, 2022).
//
// A complex product is a real one of twice the rows and twice the depth: its rows are real and imaginary parts
// alternately, as complex numbers are stored, and
//
//   A B = [A, iA] [Re B; Im B]
#pragma once

#include <cstdint>

#include "core/arithmetic.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"

namespace jaxmg {

// Real numbers in a scalar.
template <class T>
inline constexpr std::int64_t reals_of = is_complex<T> ? 2 : 1;

// Columns of a product that uses the speed of tensor cores. More take longer without being faster, and kernels of the
// critical path wait: cuBLAS's kernels occupy all multiprocessors until they end.
inline constexpr std::int64_t product_columns = 1024;

// Columns of a triangular solve, which does not use tensor cores, between products that do.
inline constexpr std::int64_t solved_columns = 256;

// Precedence of the critical path over such products on the same device: a hint, on which no result depends.
template <class E>
concept PrecedenceOps = requires(E& e, Lane lane, std::int32_t* urgent) {
  // Sets `urgent`, a number of the rank.
  e.set_urgent(lane, bool{}, urgent);
  // Waits while `urgent` is set, for a few milliseconds at most.
  e.give_way(lane, urgent);
};

template <class E, class T>
concept RoundedProductOps = requires(E& e, Lane lane, MatrixView<T> a, T alpha, Op op) {
  // C = C + alpha op(A) op(B), with operands rounded to TF32.
  e.rounded_product(lane, op, op, alpha, a, a, a);
};

template <class E, class T>
concept SplitProductOps = requires(E& e, Lane lane, MatrixView<T> a, MatrixView<Half> parts, Real<T> alpha, Op op) {
  // The parts [H M] of an m x k matrix A, a left operand: reals_of<T> m rows, 2 reals_of<T> k columns.
  e.split_left(lane, a, parts);
  // The parts [H; M; H] of B, a right operand (Op::none: 3 reals_of<T> k rows), or [H M H] of B for products with B^H
  // (Op::conj_transpose: 3 reals_of<T> k columns).
  e.split_right(lane, op, a, parts);
  // C = C + alpha A op(B), from the parts of A and B.
  e.split_product(lane, op, alpha, parts, parts, a);
};

// C = C - A op(B), with operands rounded to TF32 if that is the arithmetic.
template <class T, class E>
  requires BlasOps<E, T>
void subtract_product(E& e, Lane lane, Arithmetic arithmetic, Op opb, MatrixView<T> a, MatrixView<T> b,
                      MatrixView<T> c) {
  if constexpr (RoundedProductOps<E, T>) {
    if (arithmetic == Arithmetic::tf32) {
      e.rounded_product(lane, Op::none, opb, T(-1), a, b, c);
      return;
    }
  }
  e.gemm(lane, Op::none, opb, T(-1), a, b, c);
}

}  // namespace jaxmg
