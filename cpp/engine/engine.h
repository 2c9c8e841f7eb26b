// Engines: the operations that algorithms are written over, grouped into concepts by subject.
//
// An engine runs the work of one rank. It enqueues, and owns streams, handles and events; algorithms own none. Work in
// one lane runs in order. Work in different lanes runs in any order, or concurrently, unless one waits for an event of
// the other. The order in which an algorithm makes its calls must be a valid order of execution: the host engine runs
// them immediately, and on devices this order keeps waits from forming a cycle.
//
// An algorithm requires the concepts it uses and no others. The operations of one family of algorithms are in
// cholesky_ops.h, lu_ops.h, panel_qr_ops.h, band_ops.h, tridiagonal_ops.h, scaling_ops.h, svd_ops.h and tall_ops.h.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "core/scalar.h"

namespace jaxmg {

// Lanes from the most urgent to the least.
enum class Lane {
  diagonal,  // the chain of diagonal blocks
  panel,     // work that the next diagonal block waits for
  rows,      // work that the diagonal block after it waits for: the other rows of the panel
  ahead,     // updates of the block after the next
  bulk,      // all other updates
  rhs,       // right-hand sides solved along with a factorisation
};
inline constexpr int lane_count = 6;

// The rank, ordering between its lanes, and E::Range: while one lives, profiles show the enqueued work under its name.
template <class E>
concept LaneOps = requires(E& e, const E& c, Lane lane, typename E::Event event, const char* name) {
  { typename E::Range(name) };
  { c.rank() } -> std::same_as<int>;
  { c.size() } -> std::same_as<int>;
  { e.record(lane) } -> std::same_as<typename E::Event>;
  e.wait(lane, event);
  e.join();  // every lane waits for all work enqueued so far
  // An engine in the same lanes that works as rank 0 of 1.
  c.alone();
};

// Products, triangular solves, and copies and fills of matrices.
template <class E, class T>
concept BlasOps = LaneOps<E> && requires(E& e, Lane lane, MatrixView<T> a, MatrixView<T> b, MatrixView<T> x, T alpha,
                                         Op op, Side side, Uplo uplo, Diag diag,
                                         const std::vector<MatrixView<T>>& terms, MatrixView<std::byte> scratch) {
  // Solves op(A) X = B (left) or X op(A) = B (right) for triangular A, in place of B.
  e.trsm(lane, side, uplo, op, diag, a, x);
  // C = C + alpha op(A) op(B);  C = alpha op(A) op(B).
  e.gemm(lane, op, op, alpha, a, b, x);
  e.product(lane, op, op, alpha, a, b, x);
  // Lends scratch to products in a lane until the next call, where the engine computes them faster with it; an
  // empty view ends the loan.
  e.lend_scratch(lane, scratch);
  // B = A;  B = A^H;  A = 0;  X = X - sum of terms.
  e.copy(lane, a, b);
  e.conj_transpose(lane, a, b);
  e.zero(lane, a);
  e.subtract(lane, terms, x);
  // Of a square A: A = I;  the upper triangle becomes the adjoint of the lower one, and the diagonal real;  the
  // elements below the diagonal become 0.
  e.identity(lane, a);
  e.mirror(lane, a);
  e.zero_below(lane, a);
  // A becomes unit lower trapezoidal: ones on the diagonal, zeros above it.
  e.unit_lower(lane, a);
};

// Data movement between ranks, within a rank's memory, and to and from the host.
template <class E>
concept ExchangeOps = LaneOps<E> && requires(E& e, Lane lane, const std::vector<Block>& blocks, std::int64_t count,
                                             const std::int32_t* from, std::int32_t* to) {
  // Moves blocks between ranks (comm/block.h); on one rank, copies them. Every rank makes the same exchanges in the
  // same order.
  e.exchange(lane, blocks);
  // Copies blocks within this rank's memory; their sources and targets are ignored.
  e.copy_all(lane, blocks);
  // Copies to the host, which waits for the lane; and from the host, where no exchange was enqueued in the lane since
  // the host last waited for it. On return the host's memory may be reused.
  e.fetch(lane, from, count, to);
  e.store(lane, from, count, to);
};

// How failure is reported: each rank's entry of info holds the least number of a leading minor or eigenvalue that
// failed on this rank, or `no_failure`.
inline constexpr std::int32_t no_failure = INT32_MAX;

template <class E, class T>
concept StatusOps = LaneOps<E> && requires(E& e, Lane lane, MatrixView<T> x, std::int32_t* info, std::int32_t* status) {
  // Sets one entry of info.
  e.set_info(lane, info, std::int32_t{});
  // Sets the status to the least of size() entries of info, or to 0 if all are `no_failure`. Unless it is 0, X becomes
  // NaN.
  e.conclude(lane, info, x, status);
};

// Copies a real matrix to one of scalar type T.
template <class E, class T>
concept WideningOps = requires(E& e, Lane lane, MatrixView<Real<T>> a, MatrixView<T> b) { e.widen(lane, a, b); };

}  // namespace jaxmg
