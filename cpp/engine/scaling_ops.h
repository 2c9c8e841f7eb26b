// Engine operations that scale a matrix before a decomposition, and eigenvalues or a factor after it (scaling.h).
#pragma once

#include <cstdint>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"

namespace jaxmg {

// The status of a call whose matrix has a NaN or an infinity: the fourth argument of LAPACK's syevd is illegal.
inline constexpr std::int32_t not_finite = -4;

template <class E, class T>
concept ScalingOps = requires(E& e, Lane lane, MatrixView<T> a, const Real<T>* norms, Real<T>* norm, std::int32_t* info,
                              MatrixView<Real<T>> w, std::int64_t row) {
  // *norm = max(*norm, moduli of the real and imaginary parts of A), infinite if any part is not finite.
  e.largest(lane, a, norm);
  // From the size() norms of the ranks: the power of two that scales the matrix, 1 where its squares neither over- nor
  // underflow; 0, and *info = not_finite, where a norm is infinite; or 1 even there, if `info` is null.
  e.choose_scale(lane, norms, norm, info);
  // A = A *norm, and 0 for any A where *norm is 0;  W = W / *norm.
  e.multiply(lane, norm, a);
  e.divide(lane, norm, w);
  e.divide(lane, norm, a);
  // The same in the upper trapezoid of A only, elements (i, j) with i <= row + j.
  e.divide_upper(lane, norm, row, a);
};

}  // namespace jaxmg
