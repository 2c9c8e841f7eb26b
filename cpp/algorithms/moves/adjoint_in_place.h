// Adjoint of a matrix in place: columns of Z become rows of Z^H.
#pragma once

#include "core/matrix_view.h"
#include "engine/engine.h"

namespace jaxmg {

// `adjoint` is scratch of the size of the result.
template <class T, class E>
  requires BlasOps<E, T>
void adjoint_in_place(E& engine, Lane lane, MatrixView<T> z, MatrixView<T> adjoint) {
  engine.conj_transpose(lane, z, adjoint);
  engine.copy(lane, adjoint, {z.data, adjoint.rows, adjoint.columns, adjoint.ld});
  engine.join();
}

}  // namespace jaxmg
