// Scaling of a matrix by a power of two, without rounding errors: its largest element becomes about 1.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "algorithms/moves/share_entries.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/scaling_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// A = 2^exponent A in own columns. Half of the power at a time: 2^exponent itself may overflow. `factor` is a word of
// scratch. No exchange may have been enqueued in the lane since the host last waited for it.
template <class T, class E>
  requires ExchangeOps<E> && ScalingOps<E, T>
void multiply_by_power(E& e, Lane lane, const TileColumns& layout, MatrixView<T> a, int exponent, Real<T>* factor) {
  if (exponent == 0) return;
  for (const int part : {exponent / 2, exponent - exponent / 2}) {
    const Real<T> power = std::ldexp(Real<T>(1), part);
    e.store(lane, &power, 1, factor);
    for (const Span& span : layout.spans(e.rank(), 0, layout.count())) {
      e.multiply(lane, factor, a.block(0, span.begin, a.rows, span.width));
    }
  }
}

// A = 2^-e A with the largest modulus of a real or imaginary part in [1/2, 1). Returns e, 0 for A = 0, or nothing if an
// element is not finite. `norms` (an entry for each rank) and `factor` are scratch.
template <class T, class E>
  requires BlasOps<E, Real<T>> && ExchangeOps<E> && ScalingOps<E, T>
std::optional<int> scale_to_unit(E& e, Lane lane, const TileColumns& layout, MatrixView<T> a, Real<T>* norms,
                                 Real<T>* factor) {
  using R = Real<T>;
  e.zero(lane, MatrixView<R>{norms + e.rank(), 1, 1, 1});
  for (const Span& span : layout.spans(e.rank(), 0, layout.count())) {
    e.largest(lane, a.block(0, span.begin, a.rows, span.width), norms + e.rank());
  }
  share_entries(e, lane, norms);
  std::vector<R> all(static_cast<std::size_t>(e.size()));
  e.fetch(lane, norms, e.size(), all.data());
  const R norm = *std::max_element(all.begin(), all.end());
  if (!std::isfinite(norm)) return std::nullopt;
  int exponent = 0;
  std::frexp(norm, &exponent);
  multiply_by_power(e, lane, layout, a, -exponent, factor);
  return exponent;
}

}  // namespace jaxmg
