// Engine operations of QR factorisations of panels.
#pragma once

#include "core/matrix_view.h"
#include "engine/engine.h"

namespace jaxmg {

template <class E, class T>
concept PanelQrOps = requires(E& e, Lane lane, MatrixView<T> a, MatrixView<T> t, T* scratch) {
  // A = Q R as LAPACK's geqrt: R in the upper triangle of A, below it the vectors V with an implicit unit diagonal;
  // Q = I - V T V^H with T upper triangular (zeros below its diagonal). A may be wide, and of any rank. `scratch` holds
  // geqrt_scratch(columns of A) elements.
  e.geqrt(lane, a, t, scratch);
};

}  // namespace jaxmg
