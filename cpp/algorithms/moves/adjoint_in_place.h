// From the columns of Z to the rows of Z^H, in the same memory.
#pragma once

#include "core/matrix_view.h"
#include "engine/engine.h"

namespace jaxmg {

// `adjoint` has room for the result.
template <class T, class E>
void adjoint_in_place(E& engine, Lane lane, MatrixView<T> z, MatrixView<T> adjoint) {
  engine.conj_transpose(lane, z, adjoint);
  engine.copy(lane, adjoint, {z.data, adjoint.rows, adjoint.columns, adjoint.ld});
  engine.join();
}

}  // namespace jaxmg
