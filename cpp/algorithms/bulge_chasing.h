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
// A diamond takes as many operations as its b vectors in their compact WY form, but in one product instead of two.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "core/batch.h"
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

// How often merging pays, for eigenvectors of which `columns` are transformed at a time. Whatever their width w, the
// diamonds take 4 n^2 operations for every column; to make them takes about 5 n^2 w, half of it merging. But an H200
// (f64) applies those of width 128 at 52 Tflop/s, and those of width 64 at 42.
inline int merge_levels(std::int64_t columns, std::int64_t b) {
  int levels = 0;
  while (b > 1 && (2 * b << levels) <= 128 && (16 * b << levels) <= columns) ++levels;
  return levels;
}

// What the way back needs for eigenvectors taken `columns` at a time. Each round makes the diamonds anew, as many at a
// time as there is room for: the space of `room` diamonds of order 2b, at least that of least_diamonds(n, b). Where it
// holds merged ones, too, with what they are merged from, they are merged up to `most_levels` times.
template <class T>
struct BackTransformationWorkspace {
  // Strips begin at row 1. GEMMs want them at multiples of so many elements.
  static constexpr std::int64_t aligned = std::max<std::int64_t>(1, 16 / static_cast<std::int64_t>(sizeof(T)));

  MatrixView<T> other;  // eigenvectors before or after each wave, from row aligned - 1 on
  int levels = 0;
  std::int64_t at_once;  // merged diamonds
  T* diamonds;
  T* parts = nullptr;   // what they were merged from
  T* halves = nullptr;  // products in between

  BackTransformationWorkspace(Arena& arena, std::int64_t n, std::int64_t b, std::int64_t columns, std::int64_t room,
                              int most_levels)
      : other(arena.matrix<T>((n + 2 * aligned - 2) / aligned * aligned, columns)),
        at_once(room),
        diamonds(arena.take<T>(room * 4 * b * b)) {
    for (int level = 1; level <= most_levels; ++level) {
      // The parts are as large as the diamonds, and products half as large.
      const std::int64_t fitting = 2 * room / 5 >> (2 * level);
      if (fitting < least_diamonds(n, b << level)) break;
      levels = level;
      at_once = fitting;
    }
    if (diamonds == nullptr || levels == 0) return;
    const std::int64_t order = 2 * b << levels;
    parts = diamonds + order * order * at_once;
    halves = parts + order * order * at_once;
  }
  BackTransformationWorkspace(Arena& arena, std::int64_t n, std::int64_t b, std::int64_t columns, std::int64_t room)
      : BackTransformationWorkspace(arena, n, b, columns, room, merge_levels(columns, b)) {}

  // The longest wave of a matrix of order n and diamonds of some width: it has to fit.
  static std::int64_t least_diamonds(std::int64_t n, std::int64_t width) { return n / (2 * width) + 1; }
};

template <class T, class E>
  requires BulgeChasingEngine<E, T>
class BackTransformation {
 public:
  BackTransformation(E& engine, Lane lane, const Reflectors<T>& q2, BackTransformationWorkspace<T>& workspace)
      : e_(engine), lane_(lane), q2_(q2), w_(workspace), grid_{q2.n, q2.b << workspace.levels} {}

  // Z = Q2 Z for any number of columns.
  void run(MatrixView<T> z) {
    if constexpr (is_complex<T>) e_.scale_rows(lane_, q2_.all_phases(), z);
    if (q2_.blocks() == 0 || z.empty()) return;
    for (std::int64_t j = 0; j < z.columns; j += w_.other.columns) {
      transform(z.block(0, j, z.rows, std::min(w_.other.columns, z.columns - j)));
    }
  }

 private:
  // Waves take strips of `width` rows from one of Z and `other` to the other one. A strip takes part in every wave from
  // its first to its last, for the strips of a wave are those of the wave before but for the ends; what comes into the
  // last strip's place every other wave lies beyond the matrix. Row 0 is in no strip: it waits in `other`, and in Z the
  // rows below it move up by one, so that strips are where GEMMs want them in both.
  void transform(MatrixView<T> z) {
    const std::int64_t n = q2_.n, width = grid_.width;
    const MatrixView<T> other = w_.other.block(w_.aligned - 1, 0, n, z.columns);
    const MatrixView<T> moved = z.block(0, 0, n - 1, z.columns), below = other.block(1, 0, n - 1, z.columns);
    e_.copy(lane_, z, other);
    e_.copy(lane_, below, moved);
    for (std::int64_t w = 0; w < grid_.waves();) {
      Batch<T> diamonds;
      for (const Wave& wave : form_diamonds(w, diamonds)) {
        diamonds.count = wave.count;
        apply(diamonds, grid_.row(wave.g, wave.t) - 1, w % 2 == 0 ? moved : below, w % 2 == 0 ? below : moved);
        diamonds.first = diamonds[wave.count];
        ++w;
      }
    }
    // The last wave of strip i, D(0, i) in it, is wave i + groups - 1.
    for (std::int64_t i = 0, row = 0; row < n - 1; ++i, row += width) {
      if ((i + grid_.groups()) % 2 == 1) continue;
      const std::int64_t rows = std::min(width, n - 1 - row);
      e_.copy(lane_, moved.block(row, 0, rows, z.columns), below.block(row, 0, rows, z.columns));
    }
    e_.copy(lane_, other, z);
  }

  // The strips that begin at `row` times a diamond each; of the last one there may be less in the matrix.
  void apply(Batch<T> diamonds, std::int64_t row, MatrixView<T> from, MatrixView<T> to) {
    const std::int64_t order = 2 * grid_.width, columns = from.columns;
    const std::int64_t whole = std::min(diamonds.count, (from.rows - row) / order);
    const auto strips = [&](MatrixView<T> z, std::int64_t first, std::int64_t rows, std::int64_t count) {
      return Batch<T>{z.block(row + first * order, 0, rows, columns), order, count};
    };
    e_.multiply_each(lane_, {diamonds.first, diamonds.stride, whole}, strips(from, 0, order, whole),
                     strips(to, 0, order, whole));
    if (whole == diamonds.count) return;
    const std::int64_t rest = from.rows - row - whole * order;
    e_.multiply_each(lane_, {diamonds[whole].block(0, 0, rest, rest), 0, 1}, strips(from, whole, rest, 1),
                     strips(to, whole, rest, 1));
  }

  // As many waves as fit, from the first one on, and their diamonds.
  std::vector<Wave> form_diamonds(std::int64_t first, Batch<T>& diamonds) {
    std::vector<Wave> waves;
    std::int64_t count = 0;
    for (std::int64_t w = first; w < grid_.waves() && count + grid_.wave(w).count <= w_.at_once; ++w) {
      waves.push_back(grid_.wave(w));
      count += waves.back().count;
    }
    if (waves.empty()) throw Error(ErrorCode::internal, "the workspace does not hold the diamonds of one wave");
    // Levels alternate between two buffers, so that the last one comes out in `diamonds`.
    const auto of_level = [&](int level) {
      const std::int64_t order = 2 * q2_.b << level;
      T* const data = (w_.levels - level) % 2 == 0 ? w_.diamonds : w_.parts;
      return Batch<T>{{data, order, order, order}, order * order, count << (2 * (w_.levels - level))};
    };
    e_.form_diamonds(lane_, q2_, waves, w_.levels, of_level(0));
    for (int level = 0; level < w_.levels; ++level) merge(of_level(level), of_level(level + 1));
    diamonds = of_level(w_.levels);
    return waves;
  }

  // Four diamonds, of two groups A, C (steps 2t, 2t + 1) and B, D, to one. Their rows, in strips of h = `width` rows,
  // are 1 and 2 of A, 2 and 3 of C and of B, 3 and 4 of D, so that
  //
  //   Q = (I + C + I) (A + D) (I + B + I)       (+ the direct sum)
  //
  //       | A11  A12 B1   0  |                 | A21  A22 B1   0  |
  //     = |      C Y         |     with   Y =  |  0   D11 B2  D12 |    and B1, B2 the halves of B's rows.
  //       |  0   D21 B2  D22 |
  void merge(Batch<T> parts, Batch<T> q) {
    const std::int64_t h = parts.first.rows / 2;
    const Batch<T> y{{w_.halves, 2 * h, 4 * h, 2 * h}, 8 * h * h, q.count};
    const auto quarter = [&](std::int64_t i) { return Batch<T>{parts[i], 4 * parts.stride, q.count}; };
    const auto a = quarter(0), c = quarter(1), b = quarter(2), d = quarter(3);
    const auto b1 = b.block(0, 0, h, 2 * h), b2 = b.block(h, 0, h, 2 * h);
    e_.merge_corners(lane_, parts, q, y);
    e_.multiply_each(lane_, a.block(0, h, h, h), b1, q.block(0, h, h, 2 * h));
    e_.multiply_each(lane_, a.block(h, h, h, h), b1, y.block(0, h, h, 2 * h));
    e_.multiply_each(lane_, d.block(0, 0, h, h), b2, y.block(h, h, h, 2 * h));
    e_.multiply_each(lane_, d.block(h, 0, h, h), b2, q.block(3 * h, h, h, 2 * h));
    e_.multiply_each(lane_, c, y, q.block(h, 0, 2 * h, 4 * h));
  }

  E& e_;
  Lane lane_;
  const Reflectors<T>& q2_;
  BackTransformationWorkspace<T>& w_;
  DiamondGrid grid_;
};

}  // namespace jaxmg
