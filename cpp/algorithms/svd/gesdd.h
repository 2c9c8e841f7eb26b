// Singular value decomposition of one rank by the platform's library (LAPACK's gesdd), with the results of Gesvd. The
// library reduces to bidiagonal form in one stage, with far fewer operations than a polar decomposition and an
// eigenproblem; half of them read the matrix for each column, which does not matter on a few cores.
#pragma once

#include <cstdint>
#include <optional>

#include "algorithms/svd/unit_scale.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/gesdd_ops.h"
#include "engine/scaling_ops.h"
#include "engine/scratch.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct GesddWorkspace {
  std::int32_t* info;
  Real<T>*norm, *factor;
  MatrixView<T> turned;  // the adjoint of a matrix that is not square
  std::byte* memory;
  std::int64_t memory_bytes, bytes;

  GesddWorkspace(Arena arena, std::int64_t n, std::int64_t columns, bool vectors)
      : info(arena.take<std::int32_t>(1)),
        norm(arena.take<Real<T>>(1)),
        factor(arena.take<Real<T>>(1)),
        turned(columns > n ? arena.matrix<T>(columns, n) : MatrixView<T>{}),
        memory(nullptr),
        memory_bytes(library_bytes(n, columns, vectors)),
        bytes(0) {
    memory = arena.take<std::byte>(memory_bytes);
    bytes = arena.used();
  }

 private:
  static std::int64_t library_bytes(std::int64_t n, std::int64_t columns, bool vectors) {
    Arena measure;
    LapackGesddWorkspace<T>(measure, n, columns, vectors);
    return measure.used();
  }
};

// Arguments as of Gesvd, on one rank. `adjoint`: V receives V^H. A may then have more columns than rows, as V^H has;
// the library decomposes its adjoint, for which its reduction to bidiagonal form is faster.
template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && ScalingOps<E, T> && StatusOps<E, T> &&
           GesddOps<E, T>
void gesdd(E& e, Lane lane, MatrixView<T> a, Real<T>* s, MatrixView<T> u, MatrixView<T> v, bool adjoint,
           std::int32_t* status, GesddWorkspace<T>& work) {
  const std::int64_t n = a.rows;
  const TileColumns layout(n, a.columns, a.columns, a.columns, 1);
  e.set_info(lane, work.info, no_failure);
  const std::optional<int> exponent = scale_to_unit(e, lane, layout, a, work.norm, work.factor);
  if (!exponent) {
    e.set_info(lane, work.info, not_finite);
  } else {
    const Arena memory(work.memory, work.memory_bytes);
    if (!work.turned.empty()) {
      e.conj_transpose(lane, a, work.turned);
      if (v.empty()) {
        e.gesdd(lane, work.turned, s, u, v, memory, work.info);
      } else {
        // A^H = V diag(s) U^H, with V in the memory of A and U^H in that of V^H.
        const MatrixView<T> left{a.data, a.columns, n, a.columns}, right{v.data, n, n, n};
        e.gesdd(lane, work.turned, s, left, right, memory, work.info);
        e.conj_transpose(lane, right, u);
        e.conj_transpose(lane, left, v);
      }
    } else {
      // V^H in the memory of V.
      e.gesdd(lane, a, s, u, v, memory, work.info);
      if (!v.empty() && !adjoint) {
        e.conj_transpose(lane, v, a);
        e.copy(lane, a, v);
      }
    }
    multiply_by_power(e, lane, TileColumns(1, 1, 1, 1), MatrixView<Real<T>>{s, n, 1, n}, *exponent, work.factor);
  }
  e.conclude(lane, work.info, MatrixView<Real<T>>{s, n, 1, n}, status);
  if (!u.empty()) e.conclude(lane, work.info, u, status);
  if (!v.empty()) e.conclude(lane, work.info, v, status);
  e.join();
}

}  // namespace jaxmg
