// Engine operation for small eigenproblems of one rank: the platform's own eigensolver.
#pragma once

#include <concepts>
#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"

namespace jaxmg {

template <class E, class T>
concept HeevdOps = requires(E& e, Lane lane, std::int64_t n, bool vectors, MatrixView<T> a, Real<T>* w, Arena memory,
                            std::int32_t* info) {
  // Whether the installed library runs in the planned heevd_bytes() for a matrix of order n.
  { e.template heevd_fits<T>(n, vectors) } -> std::same_as<bool>;
  // A = Z diag(w) Z^H from the lower triangle of A, w ascending; Z in place of A. Without `vectors`, A is undefined
  // afterwards. Lowers *info to LAPACK's info if it is positive. The host waits for the lane; no exchange may be
  // pending in it.
  e.heevd(lane, vectors, a, w, memory, info);
};

}  // namespace jaxmg
