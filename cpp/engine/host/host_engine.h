// The CPU engine: LAPACK and BLAS, with one thread for each rank. Every call has finished when it returns, so lanes and
// events are empty. It is the oracle of the CUDA engine's tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "comm/communicator.h"
#include "core/batch.h"
#include "core/error.h"
#include "core/scalar.h"
#include "engine/band_ops.h"
#include "engine/cholesky_ops.h"
#include "engine/engine.h"
#include "engine/host/blas.h"
#include "engine/host/chase.h"
#include "engine/host/tridiagonal.h"
#include "engine/panel_qr_ops.h"
#include "engine/reflectors.h"
#include "engine/scaling.h"
#include "engine/scaling_ops.h"

namespace jaxmg {

class HostEngine : public HostTridiagonal {
 public:
  struct Event {};

  explicit HostEngine(Communicator& communicator) : communicator_(&communicator) {}

  HostEngine alone() const { return HostEngine(); }

  int rank() const { return communicator_ != nullptr ? communicator_->rank() : 0; }
  int size() const { return communicator_ != nullptr ? communicator_->size() : 1; }

  Event record(Lane) { return {}; }
  void wait(Lane, Event) {}
  void join() {}

  // Cholesky.

  template <class T>
  void potrf(Lane, MatrixView<T> a, std::int32_t* failed) {
    if (a.empty()) return;
    const int n = checked_int(a.rows, "n"), lda = leading(a);
    Blas<T>::instance().potrf("L", &n, a.data, &lda, failed);
  }

  // Not every LAPACK reports NaN or infinite pivots, but they show on the diagonal of the factor.
  template <class T>
  void check_factor(Lane, MatrixView<T> l, const std::int32_t* failed, std::int64_t row, std::int32_t* info) {
    std::int64_t first = *failed > 0 ? *failed : l.rows + 1;
    for (std::int64_t i = 0; i + 1 < first; ++i) {
      const Real<T> pivot = std::real(*l.at(i, i));
      if (!(pivot > 0) || !std::isfinite(pivot)) first = i + 1;
    }
    if (first <= l.rows) *info = std::min(*info, checked_int(row + first, "info"));
  }

  // BLAS.

  template <class T>
  void trsm(Lane, Side side, Uplo uplo, Op op, Diag diag, MatrixView<T> a, MatrixView<T> x) {
    if (x.empty()) return;
    const int m = checked_int(x.rows, "m"), n = checked_int(x.columns, "n"), lda = leading(a), ldb = leading(x);
    const T one = 1;
    Blas<T>::instance().trsm(side == Side::left ? "L" : "R", uplo == Uplo::lower ? "L" : "U", letter(op),
                             diag == Diag::unit ? "U" : "N", &m, &n, &one, a.data, &lda, x.data, &ldb);
  }

  template <class T>
  void gemm(Lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    const std::int64_t depth = opa == Op::none ? a.columns : a.rows;
    if (c.empty() || depth == 0) return;
    const int m = checked_int(c.rows, "m"), n = checked_int(c.columns, "n"), k = checked_int(depth, "k");
    const int lda = leading(a), ldb = leading(b), ldc = leading(c);
    const T one = 1;
    Blas<T>::instance().gemm(letter(opa), letter(opb), &m, &n, &k, &alpha, a.data, &lda, b.data, &ldb, &one, c.data,
                             &ldc);
  }

  template <class T>
  void copy(Lane, MatrixView<T> from, MatrixView<T> to) {
    for (std::int64_t j = 0; j < from.columns; ++j) {
      std::copy_n(from.at(0, j), from.rows, to.at(0, j));
    }
  }

  template <class T>
  void conj_transpose(Lane, MatrixView<T> from, MatrixView<T> to) {
    for (std::int64_t j = 0; j < from.columns; ++j) {
      for (std::int64_t i = 0; i < from.rows; ++i) *to.at(j, i) = conjugate(*from.at(i, j));
    }
  }

  template <class T>
  void zero(Lane, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) std::fill_n(a.at(0, j), a.rows, T(0));
  }

  template <class T>
  void identity(Lane lane, MatrixView<T> a) {
    zero(lane, a);
    for (std::int64_t j = 0; j < a.columns; ++j) *a.at(j, j) = T(1);
  }

  template <class T>
  void mirror(Lane, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      *a.at(j, j) = std::real(*a.at(j, j));
      for (std::int64_t i = j + 1; i < a.rows; ++i) *a.at(j, i) = conjugate(*a.at(i, j));
    }
  }

  template <class T>
  void zero_below(Lane, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) std::fill_n(a.at(j + 1, j), a.rows - j - 1, T(0));
  }

  template <class T>
  void unit_lower(Lane, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      std::fill_n(a.at(0, j), std::min(j, a.rows), T(0));
      if (j < a.rows) *a.at(j, j) = T(1);
    }
  }

  template <class T>
  void subtract(Lane, const std::vector<MatrixView<T>>& terms, MatrixView<T> x) {
    for (const MatrixView<T>& term : terms) {
      for (std::int64_t j = 0; j < x.columns; ++j) {
        for (std::int64_t i = 0; i < x.rows; ++i) *x.at(i, j) -= *term.at(i, j);
      }
    }
  }

  // Exchanges.

  void exchange(Lane lane, const std::vector<Block>& blocks) {
    if (communicator_ != nullptr) {
      communicator_->exchange(blocks);
    } else {
      copy_all(lane, blocks);
    }
  }

  void copy_all(Lane, const std::vector<Block>& blocks) {
    for (const Block& block : blocks) {
      for (std::int64_t j = 0; j < block.columns; ++j) {
        std::memcpy(block.to + j * block.to_pitch, block.from + j * block.from_pitch,
                    static_cast<std::size_t>(block.column_bytes));
      }
    }
  }

  // Status.

  void set_info(Lane, std::int32_t* info, std::int32_t value) { *info = value; }

  template <class T>
  void conclude(Lane, const std::int32_t* infos, MatrixView<T> x, std::int32_t* status) {
    const std::int32_t first = *std::min_element(infos, infos + size());
    *status = first == no_failure ? 0 : first;
    if (*status == 0) return;
    for (std::int64_t j = 0; j < x.columns; ++j) {
      std::fill_n(x.at(0, j), x.rows, T(std::numeric_limits<Real<T>>::quiet_NaN()));
    }
  }

  // Scaling.

  template <class T>
  void largest(Lane, MatrixView<T> a, Real<T>* norm) {
    constexpr Real<T> infinity = std::numeric_limits<Real<T>>::infinity();
    Real<T> largest = *norm;
    for (std::int64_t j = 0; j < a.columns; ++j) {
      for (std::int64_t i = 0; i < a.rows; ++i) {
        const T value = *a.at(i, j);
        for (const Real<T> part : {std::abs(std::real(value)), std::abs(std::imag(value))}) {
          largest = std::max(largest, std::isfinite(part) ? part : infinity);
        }
      }
    }
    *norm = largest;
  }

  template <class Real>
  void choose_scale(Lane, const Real* norms, Real* scale, std::int32_t* info) {
    const Real norm = *std::max_element(norms, norms + size());
    *scale = scale_for(norm);
    if (*scale == 0) *info = not_finite;
  }

  template <class T>
  void multiply(Lane, const Real<T>* scale, MatrixView<T> a) {
    if (*scale == 1) return;
    for (std::int64_t j = 0; j < a.columns; ++j) {
      for (std::int64_t i = 0; i < a.rows; ++i) *a.at(i, j) = *scale == 0 ? T(0) : *a.at(i, j) * *scale;
    }
  }

  template <class Real>
  void divide(Lane, const Real* scale, MatrixView<Real> w) {
    for (std::int64_t j = 0; j < w.columns; ++j) {
      for (std::int64_t i = 0; i < w.rows; ++i) *w.at(i, j) /= *scale;
    }
  }

  // Panel QR.

  template <class T>
  void geqrt(Lane, MatrixView<T> a, MatrixView<T> t, T*) {
    if (a.empty()) return;
    const int m = checked_int(a.rows, "m"), n = checked_int(a.columns, "n"), k = std::min(m, n);
    const int lda = leading(a), ldt = leading(t), lwork = 32 * n;  // ILAENV's block size for geqrf is 32
    std::vector<T> tau(static_cast<std::size_t>(k)), work(static_cast<std::size_t>(lwork));
    int info = 0;
    Blas<T>::instance().geqrf(&m, &n, a.data, &lda, tau.data(), work.data(), &lwork, &info);
    zero(Lane::panel, t);
    Blas<T>::instance().larft("F", "C", &m, &k, a.data, &lda, tau.data(), t.data, &ldt);
  }

  // Band to tridiagonal and back.

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
    const int lda = leading(a.first), ldb = leading(b.first), ldc = leading(c.first);
    const T one = 1, zero = 0;
    for (std::int64_t i = 0; m > 0 && n > 0 && i < c.count; ++i) {
      Blas<T>::instance().gemm("N", "N", &m, &n, &k, &one, a[i].data, &lda, b[i].data, &ldb, &zero, c[i].data, &ldc);
    }
  }

  template <class T>
  void merge_corners(Lane lane, Batch<T> parts, Batch<T> q, Batch<T> y) {
    const std::int64_t h = parts.first.rows / 2;
    for (std::int64_t i = 0; i < q.count; ++i) {
      const MatrixView<T> a = parts[4 * i], d = parts[4 * i + 3];
      copy(lane, a.block(0, 0, h, h), q[i].block(0, 0, h, h));
      zero(lane, q[i].block(0, 3 * h, h, h));
      zero(lane, q[i].block(3 * h, 0, h, h));
      copy(lane, d.block(h, h, h, h), q[i].block(3 * h, 3 * h, h, h));
      copy(lane, a.block(h, 0, h, h), y[i].block(0, 0, h, h));
      zero(lane, y[i].block(0, 3 * h, h, h));
      zero(lane, y[i].block(h, 0, h, h));
      copy(lane, d.block(0, h, h, h), y[i].block(h, 3 * h, h, h));
    }
  }

  template <class T>
  void scale_rows(Lane, MatrixView<T> factors, MatrixView<T> a) {
    for (std::int64_t j = 0; j < a.columns; ++j) {
      for (std::int64_t i = 0; i < a.rows; ++i) *a.at(i, j) = product(*factors.at(i, 0), *a.at(i, j));
    }
  }

 private:
  HostEngine() = default;

  static const char* letter(Op op) { return op == Op::none ? "N" : op == Op::transpose ? "T" : "C"; }
  template <class T>
  static int leading(MatrixView<T> a) {
    return std::max(1, checked_int(a.ld, "leading dimension"));
  }

  Communicator* communicator_ = nullptr;  // null: this is the only rank
};

}  // namespace jaxmg
