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
  // A = U diag(s) V^H of a square matrix, s descending; A is undefined afterwards. No vectors if U and V^H are empty.
  // Lowers *info to LAPACK's info if it is positive.
  e.gesdd(lane, a, s, a /*u*/, a /*vh*/, memory, info);
};

}  // namespace jaxmg
