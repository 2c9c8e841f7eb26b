// The CUDA engine's operations on matrices (BlasOps): cuBLAS and kernels.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/arithmetic.h"
#include "core/ceil_div.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"
#include "engine/cuda/diagonal_blocks.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/lanes.h"
#include "engine/cuda/launch.h"
#include "engine/engine.h"

namespace jaxmg::cuda {

// Real numbers per scalar. Many kernels take a complex matrix as a real one of twice the rows.
template <class T>
inline constexpr int reals = is_complex<T> ? 2 : 1;

template <class T>
int leading(MatrixView<T> a) {
  return checked_int(std::max<std::int64_t>(1, a.ld), "leading dimension");
}

class CudaBlasOps {
 public:
  explicit CudaBlasOps(Lanes& lanes) : lanes_(lanes) {}

  template <class T>
  void trsm(Lane lane, Side side, Uplo uplo, Op op, Diag diag, MatrixView<T> a, MatrixView<T> x) {
    if (x.empty()) return;
    const int m = checked_int(x.rows, "m"), n = checked_int(x.columns, "n");
    const bool of_cholesky =
        side == Side::right && uplo == Uplo::lower && op == Op::conj_transpose && diag == Diag::non_unit;
    if (side == Side::left && uplo == Uplo::lower && op == Op::none && diag == Diag::unit && n > 1 && n <= narrow) {
      solve_unit_lower(lane, a, x);
    } else if (of_cholesky && x.rows <= most_rows_of_own_solve<T>(x.columns)) {
      own_solve_right(lanes_.stream(lane), a, x, x.rows <= few_rows_of_own_solve);
    } else if (side == Side::left && n == 1) {
      JAXMG_CHECK(cuda::trsv(lanes_.blas(lane), uplo, op, diag, m, a.data, leading(a), x.data));
    } else {
      JAXMG_CHECK(cuda::trsm(lanes_.blas(lane), side, uplo, op, diag, m, n, a.data, leading(a), x.data, leading(x)));
    }
  }

  template <class T>
  void gemm(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    if (depth(opa, a) > 0) update(lane, opa, opb, alpha, a, b, T(1), c);
  }

  template <class T>
  void product(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    if (depth(opa, a) > 0) {
      update(lane, opa, opb, alpha, a, b, T(0), c);
    } else {
      zero(lane, c);
    }
  }

  void lend_scratch(Lane lane, MatrixView<std::byte> scratch) { lanes_.lend(lane, scratch.data, scratch.rows); }

  template <class T>
    requires(sizeof(Real<T>) == 4)
  void rounded_product(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    const std::int64_t depth = opa == Op::none ? a.columns : a.rows;
    if (c.empty() || depth == 0) return;
    const T one = 1;
    constexpr cudaDataType type = data_type(ScalarTraits<T>::type);
    JAXMG_CHECK(cublasGemmEx(lanes_.blas(lane), operation(opa), operation(opb), checked_int(c.rows, "m"),
                             checked_int(c.columns, "n"), checked_int(depth, "k"), &alpha, a.data, type, leading(a),
                             b.data, type, leading(b), &one, c.data, type, leading(c), CUBLAS_COMPUTE_32F_FAST_TF32,
                             CUBLAS_GEMM_DEFAULT));
  }

  void set_urgent(Lane lane, bool urgent, std::int32_t* word) {
    launch(kernel<"set_urgent">(), {1, 32}, lanes_.stream(lane), word, urgent ? 1 : 0);
  }
  // The limit is several times what a tile column takes.
  void give_way(Lane lane, const std::int32_t* urgent) {
    constexpr long long nanoseconds = 5'000'000;
    launch(kernel<"give_way">(), {1, 32}, lanes_.stream(lane), urgent, nanoseconds);
  }

  template <class T>
    requires(sizeof(Real<T>) == 4)
  void split_left(Lane lane, MatrixView<T> a, MatrixView<Half> parts) {
    if (a.empty()) return;
    launch(kernel<"split_left">(), grid_of_columns(a.columns, 256), lanes_.stream(lane), a.data, a.ld, a.rows,
           a.columns, reals<T>, parts.data, parts.ld);
  }

  template <class T>
    requires(sizeof(Real<T>) == 4)
  void split_right(Lane lane, Op op, MatrixView<T> b, MatrixView<Half> parts) {
    if (b.empty()) return;
    // From a real part to its imaginary part, which is negated for B^H.
    const std::int64_t next = op == Op::none ? b.rows : b.columns * parts.ld;
    launch(kernel<"split_right">(), grid_of_columns(b.columns, 256), lanes_.stream(lane), b.data, b.ld, b.rows,
           b.columns, reals<T>, op == Op::none ? 1.0F : -1.0F, parts.data, parts.ld, next);
  }

  template <class T>
    requires(sizeof(Real<T>) == 4)
  void split_product(Lane lane, Op op, float alpha, MatrixView<Half> left, MatrixView<Half> right, MatrixView<T> c) {
    const std::int64_t depth = left.columns / 2;
    if (c.empty() || depth == 0) return;
    const MatrixView<float> sum{reinterpret_cast<float*>(c.data), reals<T> * c.rows, c.columns, reals<T> * c.ld};
    const auto rows = [&](std::int64_t first, std::int64_t count) {
      return op == Op::none ? right.block(first, 0, count, right.columns) : right.block(0, first, right.rows, count);
    };
    half_product(lane, op, alpha, left.block(0, 0, left.rows, depth), rows(0, depth), sum);
    half_product(lane, op, alpha * 0x1p-11F, left, rows(depth, 2 * depth), sum);
  }

  template <class T>
  void copy(Lane lane, MatrixView<T> from, MatrixView<T> to) {
    if (from.empty()) return;
    JAXMG_CHECK(cudaMemcpy2DAsync(to.data, bytes<T>(to.ld), from.data, bytes<T>(from.ld), bytes<T>(from.rows),
                                  static_cast<std::size_t>(from.columns), cudaMemcpyDeviceToDevice,
                                  lanes_.stream(lane)));
  }

  template <class T>
  void zero(Lane lane, MatrixView<T> a) {
    if (a.empty()) return;
    JAXMG_CHECK(cudaMemset2DAsync(a.data, bytes<T>(a.ld), 0, bytes<T>(a.rows), static_cast<std::size_t>(a.columns),
                                  lanes_.stream(lane)));
  }

  template <class T>
  void conj_transpose(Lane lane, MatrixView<T> from, MatrixView<T> to) {
    if (from.empty()) return;
    JAXMG_CHECK(cuda::conj_transpose(lanes_.blas(lane), checked_int(to.rows, "m"), checked_int(to.columns, "n"),
                                     from.data, leading(from), to.data, leading(to)));
  }

  template <class T>
  void identity(Lane lane, MatrixView<T> a) {
    if (a.empty()) return;
    zero(lane, a);
    launch(kernel<"set_diagonal", Real<T>>(), {(a.rows + 255) / 256, 256}, lanes_.stream(lane), a.data,
           (a.ld + 1) * reals<T>, checked_int(a.rows, "n"));
  }

  template <class T>
  void mirror(Lane lane, MatrixView<T> a) {
    if (a.empty()) return;
    Grid grid = grid_for(a.rows * a.rows, 1024);
    grid.threads = 256;
    launch(kernel<"mirror", T>(), grid, lanes_.stream(lane), a.data, a.ld, checked_int(a.rows, "n"));
  }

  template <class T>
  void zero_below(Lane lane, MatrixView<T> a) {
    if (a.empty()) return;
    launch(kernel<"zero_below", T>(), grid_of_columns(a.rows, 256), lanes_.stream(lane), a.data, a.ld,
           checked_int(a.rows, "n"));
  }

  template <class T>
  void unit_lower(Lane lane, MatrixView<T> a) {
    if (a.empty()) return;
    launch(kernel<"unit_lower", Real<T>>(), grid_of_columns(a.columns, 128), lanes_.stream(lane), a.data,
           a.ld * reals<T>, checked_int(a.rows, "rows"), checked_int(a.columns, "columns"), reals<T>);
  }

  template <class T>
  void subtract(Lane lane, const std::vector<MatrixView<T>>& terms, MatrixView<T> x) {
    if (x.empty()) return;
    Subtraction s{};
    s.x = x.data;
    s.x_ld = x.ld * reals<T>;
    s.rows = checked_int(x.rows * reals<T>, "rows");
    s.columns = checked_int(x.columns, "columns");
    for (std::size_t i = 0; i < terms.size(); ++i) {
      s.terms[s.count] = terms[i].data;
      s.term_ld[s.count++] = terms[i].ld * reals<T>;
      if (s.count == subtract_terms || i + 1 == terms.size()) {
        launch(kernel<"subtract", Real<T>>(), grid_for(x.rows * reals<T> * x.columns, 256), lanes_.stream(lane), s);
        s.count = 0;
      }
    }
  }

  // Copies a real matrix to a complex one.
  template <class T>
  void widen(Lane lane, MatrixView<Real<T>> from, MatrixView<T> to) {
    static_assert(is_complex<T>, "widens a real matrix to a complex one");
    if (from.empty()) return;
    launch(kernel<"widen", Real<T>>(), grid_for(from.rows * from.columns, 256), lanes_.stream(lane), from.data, from.ld,
           from.rows, from.columns, to.data, to.ld);
  }

 private:
  // Columns of B for which solve_unit_lower() is used. cuBLAS's trsm takes 73, 154 and 329 us for triangles of order
  // 256, 512 and 1024 and few columns (H100, f64): the time of many columns.
  static constexpr int narrow = 4096;

  // C = C + alpha A B (Op::none) or alpha A B^T in tensor cores, which add in float32.
  void half_product(Lane lane, Op op, float alpha, MatrixView<Half> a, MatrixView<Half> b, MatrixView<float> c) {
    const float one = 1;
    JAXMG_CHECK(cublasGemmEx(lanes_.blas(lane), CUBLAS_OP_N, op == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T,
                             checked_int(c.rows, "m"), checked_int(c.columns, "n"), checked_int(a.columns, "k"), &alpha,
                             a.data, CUDA_R_16F, leading(a), b.data, CUDA_R_16F, leading(b), &one, c.data, CUDA_R_32F,
                             leading(c), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  }

  // X = L^-1 X for a unit lower triangle L, by recursion: the upper half, update of the lower half, the lower half.
  template <class T>
  void solve_unit_lower(Lane lane, MatrixView<T> l, MatrixView<T> x) {
    const std::int64_t n = l.rows;
    if (n <= unit_lower_order) {
      UnitLowerSolve solve{};
      solve.l = l.data;
      solve.ldl = l.ld;
      solve.b = x.data;
      solve.ldb = x.ld;
      solve.n = checked_int(n, "n");
      solve.columns = checked_int(x.columns, "columns");
      launch(kernel<"solve_unit_lower", T>(),
             {ceil_div(x.columns, unit_lower_order / 32 * unit_lower_batch), unit_lower_order}, lanes_.stream(lane),
             solve);
      return;
    }
    const std::int64_t upper = ceil_div(n, 2 * unit_lower_order) * unit_lower_order, lower = n - upper;
    const auto above = x.block(0, 0, upper, x.columns), below = x.block(upper, 0, lower, x.columns);
    solve_unit_lower(lane, l.block(0, 0, upper, upper), above);
    gemm(lane, Op::none, Op::none, T(-1), l.block(upper, 0, lower, upper), above, below);
    solve_unit_lower(lane, l.block(upper, upper, lower, lower), below);
  }

  template <class T>
  static std::int64_t depth(Op opa, MatrixView<T> a) {
    return opa == Op::none ? a.columns : a.rows;
  }

  // C = beta C + alpha op(A) op(B).
  template <class T>
  void update(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, MatrixView<T> c) {
    if (c.empty()) return;
    cublasHandle_t blas = lanes_.blas(lane, c.rows * c.columns <= small_product());
    if (c.columns == 1 && opb == Op::none) {
      JAXMG_CHECK(cuda::gemv(blas, opa, checked_int(a.rows, "m"), checked_int(a.columns, "n"), &alpha, a.data,
                             leading(a), b.data, &beta, c.data));
      return;
    }
    JAXMG_CHECK(cuda::gemm(blas, opa, opb, checked_int(c.rows, "m"), checked_int(c.columns, "n"),
                           checked_int(depth(opa, a), "k"), &alpha, a.data, leading(a), b.data, leading(b), &beta,
                           c.data, leading(c)));
  }

  // Elements of the largest C for which products use the lent scratch. Up to here, C has a tile of 128 x 64 for half of
  // the multiprocessors at most, and cuBLAS gains by splitting the sums, for which it needs scratch: C with 64 columns
  // and 8192, 6144, 4096 and 3072 rows, and sums of four times as many terms, takes 868, 503, 281 and 193 us with 1
  // MiB, and 784, 451, 218 and 136 us with 32 MiB. 8 MiB gain nothing. A larger C loses: 15000 x 64, with sums of 15000
  // terms, takes 683 us with 1 MiB and 993 us with 32 MiB (f64, an H100 with 132 multiprocessors).
  std::int64_t small_product() const { return lanes_.multiprocessors() / 2 * 128 * 64; }

  template <class T>
  static std::size_t bytes(std::int64_t elements) {
    return static_cast<std::size_t>(elements) * sizeof(T);
  }

  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
