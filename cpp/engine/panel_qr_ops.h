// Engine operations of QR factorisations of panels, and of updates by their reflectors.
#pragma once

#include <concepts>
#include <cstdint>

#include "core/matrix_view.h"
#include "engine/engine.h"

namespace jaxmg {

template <class E, class T>
concept PanelQrOps = requires(E& e, const E& c, Lane lane, MatrixView<T> a, MatrixView<T> t, T* scratch) {
  // A = Q R as LAPACK's geqrt: R in the upper triangle of A, below it the vectors V with an implicit unit diagonal;
  // Q = I - V T V^H with T upper triangular (zeros below its diagonal). A may be wide, and of any rank. `scratch` holds
  // geqrt_scratch(columns of A) elements.
  e.geqrt(lane, a, t, scratch);
  // W = Z T - 1/2 V T^H (V^H Z) T in place of Z, for which (I - V T V^H)^H A (I - V T V^H) = A - V W^H - W V^H if Z = A
  // V and A is Hermitian. At most 64 columns; `scratch` holds two_sided_scratch(columns) elements.
  e.two_sided(lane, a /*V*/, t, a /*Z and W*/, scratch);
  // The number of columns at a time for which geqrt of panels with this many rows is fastest.
  { c.template geqrt_columns<T>(std::int64_t{} /*rows*/) } -> std::same_as<std::int64_t>;
};

}  // namespace jaxmg
