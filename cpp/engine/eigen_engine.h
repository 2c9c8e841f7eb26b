// What the eigensolvers ask of an engine beyond engine.h, stage by stage.
#pragma once

#include <concepts>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"

namespace jaxmg {

// The status of a call whose matrix has a NaN or an infinity: the fourth argument of LAPACK's syevd is illegal.
inline constexpr std::int32_t not_finite = -4;

// Dense to band and back (band_reduction.h), and the scaling of the matrix (syevd.h).
template <class E, class T>
concept BandReductionEngine =
    Engine<E, T> && requires(E& e, Lane lane, MatrixView<T> a, MatrixView<T> t, const Real<T>* norms, Real<T>* norm,
                             std::int32_t* info, const std::vector<Block>& blocks, MatrixView<Real<T>> w) {
      // A = Q R as LAPACK's geqrt: R in the upper triangle of A, below it the vectors V, whose ones are not stored;
      // Q = I - V T V^H with T upper triangular (zeros below its diagonal). A may be wide.
      e.geqrt(lane, a, t);
      // The unit lower trapezoid: ones on the diagonal, zeros above it.
      e.unit_lower(lane, a);
      // Copies of blocks within this rank's memory; their sources and targets do not count.
      e.copy_all(lane, blocks);
      // *norm = the largest modulus of a real or an imaginary part of A, infinite if one of them is not finite.
      e.largest(lane, a, norm);
      // From the size() norms of the ranks: the power of two that the matrix is to be multiplied by, 1 where its
      // squares neither over- nor underflow; 0, and *info = not_finite, where a norm is infinite.
      e.choose_scale(lane, norms, norm, info);
      // A = A *norm, which is zero, whatever A is, where *norm is;  W = W / *norm.
      e.multiply(lane, norm, a);
      e.divide(lane, norm, w);
    };

}  // namespace jaxmg
