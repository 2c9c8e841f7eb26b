// Eigenproblem of one rank by the platform's library (LAPACK's syevd, cuSOLVERDn's Xsyevd), with the results of Syevd:
// the same choice of eigenvectors, status, and NaN on failure. The libraries reduce to tridiagonal form in one stage,
// which reads the matrix for each column. Where it is small, that costs less than the second stage.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/eigen/syevd.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/heevd_ops.h"
#include "engine/scaling_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct HeevdWorkspace {
  std::int32_t* info;
  Real<T>*norms, *scale;
  std::byte* memory;
  std::int64_t memory_bytes, bytes;

  HeevdWorkspace(Arena arena, Platform platform, std::int64_t n, bool vectors)
      : info(arena.take<std::int32_t>(1)),
        norms(arena.take<Real<T>>(1)),
        scale(arena.take<Real<T>>(1)),
        memory(nullptr),
        memory_bytes(heevd_bytes(platform, ScalarTraits<T>::type, n, vectors)),
        bytes(0) {
    memory = arena.take<std::byte>(memory_bytes);
    bytes = arena.used();
  }
};

// Arguments as of Syevd, on one rank: `a` has all columns, both triangles, and `z` room for all eigenvectors of the
// choice, as columns or, if `adjoint`, as rows of Z^H.
template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && ScalingOps<E, T> && StatusOps<E, T> && HeevdOps<E, T>
void heevd(E& e, Lane lane, MatrixView<T> a, Real<T>* w, MatrixView<T> z, bool adjoint,
           const EigenvectorChoice<Real<T>>& choice, std::int32_t* status, HeevdWorkspace<T>& work) {
  const std::int64_t n = a.rows;
  const MatrixView<T> matrix = a.block(0, 0, n, n);
  e.set_info(lane, work.info, no_failure);
  scale_matrix<T>(e, lane, {matrix}, work.norms, work.scale, work.info);
  e.join();
  Real<T> scale = 0;
  e.fetch(lane, work.scale, 1, &scale);  // after all exchanges in the lane
  e.heevd(lane, !z.empty(), matrix, w, Arena(work.memory, work.memory_bytes), work.info);
  const MatrixView<Real<T>> values{w, n, 1, n};
  if (!z.empty()) {
    std::vector<Real<T>> all;
    if (choice.bounds != nullptr) {
      all.resize(static_cast<std::size_t>(n));
      e.fetch(lane, w, n, all.data());
    }
    const EigenvectorRange wanted = chosen(e, lane, choice, all, work.scale);
    const MatrixView<T> found = matrix.block(0, wanted.first, n, wanted.count);
    if (adjoint) {
      e.conj_transpose(lane, found, z.block(0, 0, wanted.count, n));
      e.zero(lane, z.block(wanted.count, 0, z.rows - wanted.count, n));
    } else {
      e.copy(lane, found, z.block(0, 0, n, wanted.count));
      e.zero(lane, z.block(0, wanted.count, n, z.columns - wanted.count));
    }
  }
  e.divide(lane, work.scale, values);
  e.conclude(lane, work.info, values, status);
  if (!z.empty()) e.conclude(lane, work.info, z, status);
  e.join();
}

}  // namespace jaxmg
