// Brings a matrix to a size at which squares neither over- nor underflow (see engine/scaling.h).
#pragma once

#include <cstdint>

#include "algorithms/share_entries.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/eigen_engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// A = scale A, for the scale that choose_scale takes from the norms of all ranks. A matrix that is not finite becomes
// zero, so that every stage comes to its end, and *info says so.
template <class T, class E>
  requires BandReductionEngine<E, T>
void scale_matrix(E& e, Lane lane, const TileColumns& layout, MatrixView<T> a, Real<T>* norms, Real<T>* scale,
                  std::int32_t* info) {
  const auto own_columns = [&](auto&& visit) {
    for (const Span& own : layout.spans(e.rank(), 0, layout.count())) visit(a.block(0, own.begin, a.rows, own.width));
  };
  Real<T>* const norm = norms + e.rank();
  e.zero(lane, MatrixView<Real<T>>{norm, 1, 1, 1});
  own_columns([&](MatrixView<T> columns) { e.largest(lane, columns, norm); });
  share_entries(e, lane, norms);
  e.choose_scale(lane, norms, scale, info);
  own_columns([&](MatrixView<T> columns) { e.multiply(lane, scale, columns); });
}

}  // namespace jaxmg
