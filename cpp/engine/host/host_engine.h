// The engine of the CPU: LAPACK and BLAS on threads, one thread a rank. Every call has finished when it
// returns, so lanes and events have nothing to do. It is the oracle the CUDA engine is tested against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "comm/thread_communicator.h"
#include "core/error.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/host/blas.h"

namespace jaxmg {

class HostEngine {
 public:
  struct Event {};

  explicit HostEngine(ThreadCommunicator& communicator) : communicator_(communicator) {}

  int rank() const { return communicator_.rank(); }
  int size() const { return communicator_.size(); }

  Event record(Lane) { return {}; }
  void wait(Lane, Event) {}
  void join() {}

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

  template <class T>
  void trsm(Lane, Side side, Op op, MatrixView<T> l, MatrixView<T> x) {
    if (x.empty()) return;
    const int m = checked_int(x.rows, "m"), n = checked_int(x.columns, "n"), lda = leading(l), ldb = leading(x);
    const T one = 1;
    Blas<T>::instance().trsm(side == Side::left ? "L" : "R", "L", letter(op), "N", &m, &n, &one, l.data, &lda, x.data,
                             &ldb);
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
  void subtract(Lane, const std::vector<MatrixView<T>>& terms, MatrixView<T> x) {
    for (const MatrixView<T>& term : terms) {
      for (std::int64_t j = 0; j < x.columns; ++j) {
        for (std::int64_t i = 0; i < x.rows; ++i) *x.at(i, j) -= *term.at(i, j);
      }
    }
  }

  void exchange(Lane, const std::vector<Block>& blocks) { communicator_.exchange(blocks); }

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

 private:
  static const char* letter(Op op) { return op == Op::none ? "N" : "C"; }
  template <class T>
  static int leading(MatrixView<T> a) {
    return std::max(1, checked_int(a.ld, "leading dimension"));
  }

  ThreadCommunicator& communicator_;
};

}  // namespace jaxmg
