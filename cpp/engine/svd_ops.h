// Engine operations of the polar and singular value decompositions.
#pragma once

#include <cstdint>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"

namespace jaxmg {

template <class E, class T>
concept SvdOps =
    requires(E& e, Lane lane, MatrixView<T> a, MatrixView<T> b, Real<T> real, Real<T>* reals, std::int64_t index) {
      // B = alpha A + shift I, with I on the diagonal of the views, which may be the same.
      e.scale_and_shift(lane, real /*alpha*/, a, real /*shift*/, b);
      // B = alpha A + beta B.
      e.combine(lane, real /*alpha*/, a, real /*beta*/, b);
      // For each column of a view with at least as many rows as columns: the real part of its diagonal element, and the
      // sum of the squares of the elements below it.
      e.measure_columns(lane, a, reals /*diagonal*/, reals /*below*/);
      // A = A + size G for pseudo-random G of variance 1 (noise.h); the first element of A has the indices row and
      // column.
      e.add_noise(lane, real /*size*/, index /*row*/, index /*column*/, a);
    };

}  // namespace jaxmg
