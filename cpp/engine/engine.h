// What an algorithm may ask of the rank it runs on.
//
// An engine enqueues; it owns streams, handles and events, algorithms own none. Work put into one lane runs in
// order; work in different lanes runs in any order, or at once, unless one waits for an event of the other. The
// order in which an algorithm makes its calls must be a valid order of execution: the host engine runs them as
// they come, and on devices it is what keeps waits from ever forming a circle.
#pragma once

#include <concepts>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"

namespace jaxmg {

// Lanes from the most urgent to the least.
enum class Lane {
  diagonal,  // the chain of diagonal blocks
  panel,     // what the next diagonal block waits for
  rows,      // what the one after it waits for: the other rows of the panel
  ahead,     // updates of the block after the next
  bulk,      // all other updates
  rhs,       // right-hand sides that go along with a factorisation
};
inline constexpr int lane_count = 6;

// How a failed factorisation is told: each rank's entry holds the 1-based order of the first leading minor that
// it found not to be positive definite, or `no_failure`.
inline constexpr std::int32_t no_failure = INT32_MAX;

template <class E, class T>
concept Engine =
    requires(E& e, const E& c, Lane lane, typename E::Event event, MatrixView<T> a, MatrixView<T> b, MatrixView<T> x,
             T alpha, Op op, Side side, std::int64_t row, std::int32_t* info, const std::int32_t* cinfo,
             const std::vector<Block>& blocks, const std::vector<MatrixView<T>>& terms) {
      { c.rank() } -> std::same_as<int>;
      { c.size() } -> std::same_as<int>;
      // Ordering between the lanes of this rank.
      { e.record(lane) } -> std::same_as<typename E::Event>;
      e.wait(lane, event);
      e.join();  // every lane waits for all that was put into any lane
      // A = L L^H in the lower triangle; potrf's own info goes to an entry that check_factor reads. That takes the
      // least failing minor, counted from `row`, to an entry of info.
      e.potrf(lane, a, info);
      e.check_factor(lane, a, cinfo, row, info);
      // Solves op(L) X = B (left) or X op(L) = B (right) for lower triangular L, in place of B.
      e.trsm(lane, side, op, a, x);
      // C = C + alpha op(A) op(B).
      e.gemm(lane, op, op, alpha, a, b, x);
      // B = A;  B = A^H;  A = 0;  X = X - sum of terms.
      e.copy(lane, a, b);
      e.conj_transpose(lane, a, b);
      e.zero(lane, a);
      e.subtract(lane, terms, x);
      // Of a square A: A = I;  the upper triangle becomes the lower one, conjugated and transposed, and the diagonal
      // real;  the elements below the diagonal become 0.
      e.identity(lane, a);
      e.mirror(lane, a);
      e.zero_below(lane, a);
      // Moves blocks between ranks, see comm/block.h. Every rank makes the same exchanges in the same order.
      e.exchange(lane, blocks);
      // Sets one entry of info.
      e.set_info(lane, info, std::int32_t{});
      // The least of size() entries of info, or 0 if all are `no_failure`, becomes the status; unless it is 0, X
      // becomes NaN.
      e.conclude(lane, info, x, info);
    };

}  // namespace jaxmg
