// From a Hermitian band matrix B to a real symmetric tridiagonal one, and the way back of the eigenvectors:
//
//   Q2^H B Q2 = T,    Z = Q2 Z
//
// Every rank reduces its own copy of the band: what is O(n^2 b) work has no use for more ranks, and all copies come out
// alike. The reflectors (engine/reflectors.h) stay where they were made, so that eigenvectors, which are dealt by
// columns, are transformed without communication. Reflectors b rows long and one by one would make that a product of
// vectors; instead those of b sweeps are multiplied out to diamonds, orthogonal matrices of order 2b, and all diamonds
// of one wave are applied by one batch of products (compare Auckenthaler et al., Parallel solution of partial symmetric
// eigenvalue problems from electronic structure calculations, Parallel Computing 37, 2011, who apply them one by one).
// A diamond has 4 b^2 entries for the 2 b^2 of its b vectors and b x b factor, and takes as many operations.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/eigen_engine.h"
#include "engine/reflectors.h"

namespace jaxmg {

// What the reduction needs beside the reflectors. None of it is needed after it.
template <class T>
struct BulgeChasingWorkspace {
  MatrixView<T> padded;    // the band, and the zeros beyond its end that the last steps run into
  std::int32_t* progress;  // of each sweep

  BulgeChasingWorkspace(Arena& arena, std::int64_t n, std::int64_t b)
      : padded(arena.matrix<T>(2 * b, n + 3 * b)), progress(arena.take<std::int32_t>(n)) {}

  // Element (i, j), j <= i <= j + b, is at band(i - j, j); the rows after these are zero before and after.
  MatrixView<T> band() const { return padded.block(0, 0, padded.rows, padded.columns - padded.rows / 2 * 3); }

  template <class E>
  void clear(E& engine, Lane lane) {
    engine.zero(lane, padded);
  }
};

// Leaves the reflectors in q2, the diagonal of T in d (n numbers) and its off-diagonal in e (n - 1). If the reduction
// could not be finished, *info becomes at most n + 1, which only a device that is out of order can bring about.
template <class T, class E>
  requires BulgeChasingEngine<E, T>
void chase_bulges(E& engine, Lane lane, BulgeChasingWorkspace<T>& w, const Reflectors<T>& q2, Real<T>* d, Real<T>* e,
                  std::int32_t* info) {
  if (q2.data != nullptr) engine.zero(lane, q2.all());
  engine.chase(lane, w.padded, q2, w.progress, d, e, info);
}

// What the way back needs for eigenvectors taken `columns` at a time; each round makes the diamonds anew, `diamonds` at
// a time. Few columns make them the greater part of the work, which is 8 b^3 operations for each, and 8 b^2 for each
// column it is applied to.
template <class T>
struct BackTransformationWorkspace {
  MatrixView<T> other;     // eigenvectors before or after each wave
  MatrixView<T> diamonds;  // side by side

  BackTransformationWorkspace(Arena& arena, std::int64_t n, std::int64_t b, std::int64_t columns,
                              std::int64_t diamonds_at_once)
      : other(arena.matrix<T>(n, columns)), diamonds(arena.matrix<T>(2 * b, 2 * b * diamonds_at_once)) {}

  // The longest wave of a matrix of order n: it has to fit.
  static std::int64_t least_diamonds(std::int64_t n, std::int64_t b) { return n / (2 * b) + 1; }
};

template <class T, class E>
  requires BulgeChasingEngine<E, T>
class BackTransformation {
 public:
  BackTransformation(E& engine, Lane lane, const Reflectors<T>& q2, BackTransformationWorkspace<T>& workspace)
      : e_(engine), lane_(lane), q2_(q2), w_(workspace) {}

  // Z = Q2 Z for any number of columns.
  void run(MatrixView<T> z) {
    if constexpr (is_complex<T>) e_.scale_rows(lane_, q2_.all_phases(), z);
    if (q2_.waves() == 0 || z.empty()) return;
    for (std::int64_t j = 0; j < z.columns; j += w_.other.columns) {
      transform(z.block(0, j, z.rows, std::min(w_.other.columns, z.columns - j)));
    }
  }

 private:
  // Waves take strips of b rows from one of Z and `other` to the other one. A strip takes part in every wave from its
  // first to its last, for the strips of wave w are those of wave w - 1 but for its ends; what comes into the last
  // strip's place every other wave lies beyond the matrix.
  void transform(MatrixView<T> z) {
    const std::int64_t n = q2_.n, b = q2_.b;
    const MatrixView<T> other = w_.other.block(0, 0, n, z.columns);
    e_.copy(lane_, z, other);
    for (std::int64_t w = 0; w < q2_.waves();) {
      const std::vector<Wave> waves = as_many_as_fit(w);
      MatrixView<T> q = w_.diamonds;
      e_.form_diamonds(lane_, q2_, waves, q);
      for (const Wave& wave : waves) {
        const std::int64_t row = q2_.row(wave.g, wave.t), rows = std::min(n - row, 2 * b * wave.count);
        const MatrixView<T> from = w % 2 == 0 ? z : other, to = w % 2 == 0 ? other : z;
        e_.multiply_diagonal(lane_, q.block(0, 0, 2 * b, 2 * b * wave.count), from.block(row, 0, rows, z.columns),
                             to.block(row, 0, rows, z.columns));
        q.data = q.at(0, 2 * b * wave.count);
        ++w;
      }
    }
    // The last wave of strip i, D(0, i) in it, is wave i + groups - 1.
    for (std::int64_t i = 0, row = 1; row < n; ++i, row += b) {
      if ((i + q2_.groups()) % 2 == 0) continue;
      const std::int64_t rows = std::min(b, n - row);
      e_.copy(lane_, other.block(row, 0, rows, z.columns), z.block(row, 0, rows, z.columns));
    }
  }

  std::vector<Wave> as_many_as_fit(std::int64_t first) const {
    std::vector<Wave> waves;
    std::int64_t left = w_.diamonds.columns / (2 * q2_.b);
    for (std::int64_t w = first; w < q2_.waves() && q2_.wave(w).count <= left; ++w) {
      waves.push_back(q2_.wave(w));
      left -= waves.back().count;
    }
    if (waves.empty()) throw Error(ErrorCode::internal, "the workspace does not hold the diamonds of one wave");
    return waves;
  }

  E& e_;
  Lane lane_;
  const Reflectors<T>& q2_;
  BackTransformationWorkspace<T>& w_;
};

}  // namespace jaxmg
