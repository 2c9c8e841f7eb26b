// Scaling of a matrix to prevent over- and underflow of squares of its elements (see engine/scaling.h).
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/moves/share_entries.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/scaling_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// The norm of each rank's part of a matrix, and the factor that scales the matrix.
template <class T>
struct ScalingWorkspace {
  Real<T>*norms, *scale;

  ScalingWorkspace(Arena& arena, std::int64_t ranks)
      : norms(arena.take<Real<T>>(ranks)), scale(arena.take<Real<T>>(1)) {}
};

// The scale that choose_scale computes from the norms of all ranks, in *scale and on the host.
template <class T, class E>
  requires BlasOps<E, Real<T>> && ExchangeOps<E> && ScalingOps<E, T>
Real<T> find_scale(E& e, Lane lane, const std::vector<MatrixView<T>>& own, Real<T>* norms, Real<T>* scale) {
  Real<T>* const norm = norms + e.rank();
  e.zero(lane, MatrixView<Real<T>>{norm, 1, 1, 1});
  for (const MatrixView<T>& part : own) e.largest(lane, part, norm);
  share_entries(e, lane, norms);
  e.choose_scale(lane, norms, scale, nullptr);
  Real<T> found = 0;
  e.fetch(lane, scale, 1, &found);
  return found;
}

// A = scale A, for the scale that choose_scale computes from the norms of all ranks; `own` are this rank's parts of A.
// A matrix that is not finite becomes zero, which lets every later stage terminate, and is reported in *info; if `info`
// is null, it stays as it is.
template <class T, class E>
  requires BlasOps<E, Real<T>> && ExchangeOps<E> && ScalingOps<E, T>
void scale_matrix(E& e, Lane lane, const std::vector<MatrixView<T>>& own, Real<T>* norms, Real<T>* scale,
                  std::int32_t* info) {
  Real<T>* const norm = norms + e.rank();
  e.zero(lane, MatrixView<Real<T>>{norm, 1, 1, 1});
  for (const MatrixView<T>& part : own) e.largest(lane, part, norm);
  share_entries(e, lane, norms);
  e.choose_scale(lane, norms, scale, info);
  for (const MatrixView<T>& part : own) e.multiply(lane, scale, part);
}

// The same for a matrix dealt in tile columns.
template <class T, class E>
  requires BlasOps<E, Real<T>> && ExchangeOps<E> && ScalingOps<E, T>
void scale_matrix(E& e, Lane lane, const TileColumns& layout, MatrixView<T> a, Real<T>* norms, Real<T>* scale,
                  std::int32_t* info) {
  std::vector<MatrixView<T>> own;
  for (const Span& span : layout.spans(e.rank(), 0, layout.count())) {
    own.push_back(a.block(0, span.begin, a.rows, span.width));
  }
  scale_matrix<T>(e, lane, own, norms, scale, info);
}

}  // namespace jaxmg
