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
  std::byte* memory;
  std::int64_t memory_bytes, bytes;

  GesddWorkspace(Arena arena, std::int64_t n, bool vectors)
      : info(arena.take<std::int32_t>(1)),
        norm(arena.take<Real<T>>(1)),
        factor(arena.take<Real<T>>(1)),
        memory(nullptr),
        memory_bytes(library_bytes(n, vectors)),
        bytes(0) {
    memory = arena.take<std::byte>(memory_bytes);
    bytes = arena.used();
  }

 private:
  static std::int64_t library_bytes(std::int64_t n, bool vectors) {
    Arena measure;
    LapackGesddWorkspace<T>(measure, n, vectors);
    return measure.used();
  }
};

// Arguments as of Gesvd, on one rank.
template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && ScalingOps<E, T> && StatusOps<E, T> &&
           GesddOps<E, T>
void gesdd(E& e, Lane lane, MatrixView<T> a, Real<T>* s, MatrixView<T> u, MatrixView<T> v, std::int32_t* status,
           GesddWorkspace<T>& work) {
  const std::int64_t n = a.rows;
  const TileColumns layout(n, n, n, 1);
  e.set_info(lane, work.info, no_failure);
  const std::optional<int> exponent = scale_to_unit(e, lane, layout, a, work.norm, work.factor);
  if (!exponent) {
    e.set_info(lane, work.info, not_finite);
  } else {
    // V^H in the memory of V.
    e.gesdd(lane, a, s, u, v, Arena(work.memory, work.memory_bytes), work.info);
    if (!v.empty()) {
      e.conj_transpose(lane, v, a);
      e.copy(lane, a, v);
    }
    multiply_by_power(e, lane, TileColumns(1, 1, 1, 1), MatrixView<Real<T>>{s, n, 1, n}, *exponent, work.factor);
  }
  e.conclude(lane, work.info, MatrixView<Real<T>>{s, n, 1, n}, status);
  if (!u.empty()) e.conclude(lane, work.info, u, status);
  if (!v.empty()) e.conclude(lane, work.info, v, status);
  e.join();
}

}  // namespace jaxmg
