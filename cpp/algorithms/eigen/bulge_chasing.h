// Bulge chasing: reduction of a Hermitian band matrix to a real symmetric tridiagonal one, Q2^H B Q2 = T.
//
// Every rank reduces its own copy of the band. This is O(n^2 b) work, which more ranks would not speed up, and all
// copies are bitwise identical. A rank keeps all reflectors of Q2 (engine/reflectors.h), n^2 / 2 elements, or a share
// of every block to save memory; see back_transformation.h.
#pragma once

#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/band_ops.h"
#include "engine/engine.h"
#include "engine/reflectors.h"

namespace jaxmg {

// Scratch of the reduction.
template <class T>
struct BulgeChasingWorkspace {
  MatrixView<T> padded;    // the band, followed by zeros that the last steps read
  std::int32_t* progress;  // for each sweep

  BulgeChasingWorkspace(Arena& arena, std::int64_t n, std::int64_t b)
      : padded(arena.matrix<T>(2 * b, n + 3 * b)), progress(arena.take<std::int32_t>(n)) {}

  // Element (i, j), j <= i <= j + b, is at band(i - j, j); further rows are zero on entry and on return.
  MatrixView<T> band() const { return padded.block(0, 0, padded.rows, padded.columns - padded.rows / 2 * 3); }

  template <class E>
  void clear(E& engine, Lane lane) {
    engine.zero(lane, padded);
  }
};

// Writes this rank's reflectors to q2, the diagonal of T to d (n numbers) and its off-diagonal to e (n - 1). Lowers
// *info to n + 1 if the reduction could not be finished, which only a device fault can cause.
template <class T, class E>
  requires BlasOps<E, T> && BandOps<E, T>
void chase_bulges(E& engine, Lane lane, BulgeChasingWorkspace<T>& w, const Reflectors<T>& q2, Real<T>* d, Real<T>* e,
                  std::int32_t* info) {
  if (q2.data != nullptr) engine.zero(lane, q2.all());
  engine.chase(lane, w.padded, q2.kept_by(engine.rank()), w.progress, d, e, info);
}

}  // namespace jaxmg
