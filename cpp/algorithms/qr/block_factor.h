// T of a block reflector I - V T V^H = H_0 H_1 ... from V and the scalars tau of its reflectors H_j = I - tau_j v_j
// v_j^H, as LAPACK's larft computes it, by products and a solve:
//
//   T = (I + D S)^-1 D,  D = diag(tau),  S = the part of V^H V above its diagonal
//
// (C. Puglisi, "Modification of the Householder method based on the compact WY representation", SIAM J. Sci. Stat.
// Comput. 13, 1992: T^-1 = D^-1 + S.) This form allows reflectors with tau = 0.
#pragma once

#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"

namespace jaxmg {

template <class T>
struct BlockFactorWorkspace {
  MatrixView<T> top, gram;

  BlockFactorWorkspace(Arena& arena, std::int64_t width)
      : top(arena.matrix<T>(width, width)), gram(arena.matrix<T>(width, width)) {}
};

// `v` are the columns of V from the diagonal down, with an implicit unit diagonal (elements above it are ignored),
// `tau` as many scalars as one column. T is zero below its diagonal.
template <class T, class E>
  requires BlasOps<E, T>
void block_factor(E& e, Lane lane, MatrixView<T> v, MatrixView<T> tau, MatrixView<T> t,
                  const BlockFactorWorkspace<T>& w) {
  const std::int64_t width = v.columns;
  const auto top = w.top.block(0, 0, width, width), gram = w.gram.block(0, 0, width, width);
  const auto rest = v.block(width, 0, v.rows - width, width);
  e.copy(lane, v.block(0, 0, width, width), top);
  e.unit_lower(lane, top);
  e.zero(lane, gram);
  e.gemm(lane, Op::conj_transpose, Op::none, T(1), top, top, gram);
  if (!rest.empty()) e.gemm(lane, Op::conj_transpose, Op::none, T(1), rest, rest, gram);
  e.scale_rows(lane, tau, gram);
  e.identity(lane, t);
  e.scale_rows(lane, tau, t);
  e.trsm(lane, Side::left, Uplo::upper, Op::none, Diag::unit, gram, t);
}

}  // namespace jaxmg
