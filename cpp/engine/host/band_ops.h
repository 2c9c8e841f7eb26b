// The host engine's operations from band to tridiagonal form and back (BandOps).
#pragma once

#include <cstdint>
#include <vector>

#include "core/batch.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/band_ops.h"
#include "engine/host/blas.h"
#include "engine/host/blas_ops.h"
#include "engine/host/chase.h"
#include "engine/reflectors.h"

namespace jaxmg {

class HostBandOps {
 public:
  template <class T>
  static constexpr bool applies_waves = true;

  template <class T>
  void chase(Lane, MatrixView<T> band, const Reflectors<T>& reflectors, std::int32_t*, Real<T>* d, Real<T>* e,
             std::int32_t*) {
    BandChase<T>(band, reflectors).run();
    real_tridiagonal(band, reflectors.n, d, e, reflectors.phases);
  }

  template <class T>
  void form_diamonds(Lane, const Reflectors<T>& reflectors, const std::vector<Wave>& waves, int levels,
                     Batch<T> parts) {
    std::int64_t next = 0;
    for (const Wave& wave : waves) {
      for (std::int64_t i = 0; i < wave.count << (2 * levels); ++i) {
        const std::int64_t whole = i >> (2 * levels);
        const DiamondPart part(i - (whole << (2 * levels)), levels);
        form_diamond(reflectors, ((wave.g + whole) << levels) + part.g, ((wave.t + whole) << levels) + part.t,
                     parts[next++]);
      }
    }
  }

  template <class T>
  void multiply_each(Lane, Batch<T> a, Batch<T> b, Batch<T> c) {
    const int m = checked_int(c.first.rows, "m"), n = checked_int(c.first.columns, "n");
    const int k = checked_int(a.first.columns, "k");
    const int lda = leading_dimension(a.first), ldb = leading_dimension(b.first), ldc = leading_dimension(c.first);
    const T one = 1, zero = 0;
    for (std::int64_t i = 0; m > 0 && n > 0 && i < c.count; ++i) {
      Blas<T>::instance().gemm("N", "N", &m, &n, &k, &one, a[i].data, &lda, b[i].data, &ldb, &zero, c[i].data, &ldc);
    }
  }

  template <class T>
  void merge_corners(Lane lane, Batch<T> parts, Batch<T> q, Batch<T> y) {
    HostBlasOps blas;
    const std::int64_t h = parts.first.rows / 2;
    for (std::int64_t i = 0; i < q.count; ++i) {
      const MatrixView<T> a = parts[4 * i], d = parts[4 * i + 3];
      blas.copy(lane, a.block(0, 0, h, h), q[i].block(0, 0, h, h));
      blas.zero(lane, q[i].block(0, 3 * h, h, h));
      blas.zero(lane, q[i].block(3 * h, 0, h, h));
      blas.copy(lane, d.block(h, h, h, h), q[i].block(3 * h, 3 * h, h, h));
      blas.copy(lane, a.block(h, 0, h, h), y[i].block(0, 0, h, h));
      blas.zero(lane, y[i].block(0, 3 * h, h, h));
      blas.zero(lane, y[i].block(h, 0, h, h));
      blas.copy(lane, d.block(0, h, h, h), y[i].block(h, 3 * h, h, h));
    }
  }

  // One reflector at a time.
  template <class T>
  void apply_waves(Lane, const Reflectors<T>& reflectors, std::int64_t begin, std::int64_t end, T*, std::int32_t*,
                   MatrixView<T> z) {
    const DiamondGrid grid = reflectors.grid();
    for (std::int64_t w = begin; w < end; ++w) {
      const Wave wave = grid.wave(w);
      for (std::int64_t i = 0; i < wave.count; ++i) {
        apply_diamond(reflectors.block(wave.g + i, wave.t + i), grid.row(wave.g + i, wave.t + i), z);
      }
    }
  }

  template <class T>
  void scale_rows(Lane, MatrixView<T> factors, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      for (std::int64_t i = 0; i < a.rows; ++i) *a.at(i, j) = product(*factors.at(i, 0), *a.at(i, j));
    }
  }
};

}  // namespace jaxmg
