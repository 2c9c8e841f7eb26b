// Engine operation for singular value decompositions of one rank, where the platform has a library for them: LAPACK on
// CPUs.
#pragma once

#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"

namespace jaxmg {

template <class E, class T>
concept GesddOps = requires(E& e, Lane lane, MatrixView<T> a, Real<T>* s, Arena memory, std::int32_t* info) {
  // A = U diag(s) V^H of a matrix of any shape, s descending; A is undefined afterwards. U has the rows of A and V^H
  // its columns; no vectors if both are empty. Lowers *info to LAPACK's info if it is positive.
  e.gesdd(lane, a, s, a /*u*/, a /*vh*/, memory, info);
};

}  // namespace jaxmg
