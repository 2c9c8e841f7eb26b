// Engine operations from a band to tridiagonal form and back (bulge_chasing.h, back_transformation.h); see diamonds.h
// for diamonds and waves.
#pragma once

#include <cstdint>
#include <vector>

#include "core/batch.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/reflectors.h"

namespace jaxmg {

template <class E, class T>
concept BandOps = requires(E& e, Lane lane, MatrixView<T> a, MatrixView<T> b, const Reflectors<T>& reflectors,
                           const std::vector<Wave>& waves, Batch<T> batch, std::int32_t* info, Real<T>* real, T* blocks,
                           std::int64_t wave) {
  // Reduces a band of n columns, with zeros up to n + 3 b columns, to tridiagonal form; bitwise the same on every rank.
  // Fills the diagonal, the off-diagonal, and the reflectors that this rank keeps, which must be zero on entry.
  // `progress` is scratch of n words. Lowers info to n + 1 if the reduction could not be finished.
  e.chase(lane, a, reflectors, info /*progress*/, real /*d*/, real /*e*/, info);
  // Forms the parts, of order 2b, of the diamonds of several waves that are to be merged `levels` times. Parts beyond
  // the matrix are identities. The reflectors must hold all columns of the blocks used.
  e.form_diamonds(lane, reflectors, waves, int{} /*levels*/, batch);
  // C_i = A_i B_i.
  e.multiply_each(lane, batch, batch, batch);
  // The blocks of merged diamonds that need no product, and the initial blocks for the products; see
  // BackTransformation::merge.
  e.merge_corners(lane, batch /*parts*/, batch /*q*/, batch /*y*/);
  // Z = D Z for the product D of the diamonds of waves [begin, end), in place. `blocks` is scratch of
  // block_reflector_numbers() for each of these diamonds, `progress` of wave_progress() words (engine/scratch.h). Only
  // for scalar types with E::applies_waves<T>.
  e.apply_waves(lane, reflectors, wave /*begin*/, wave /*end*/, blocks, info /*progress*/, b /*z*/);
  // A = diag(phases) A for a vector of phases.
  e.scale_rows(lane, b /*phases*/, a);
};

}  // namespace jaxmg
