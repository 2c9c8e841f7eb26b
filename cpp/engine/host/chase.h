// Bulge chasing from band to tridiagonal form on the host, one Householder reflector at a time (Lang, A parallel
// algorithm for reducing symmetric banded matrices to tridiagonal form, SIAM J. Sci. Comput. 14, 1993).
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/reflectors.h"

namespace jaxmg {

// Product of complex numbers without C's special treatment of infinities: results that are not finite become NaN or
// infinite in any case.
template <class T>
T product(T a, T b) {
  if constexpr (is_complex<T>) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  } else {
    return a * b;
  }
}
template <class T>
T conjugate_product(T a, T b) {
  if constexpr (is_complex<T>) {
    return {a.real() * b.real() + a.imag() * b.imag(), a.real() * b.imag() - a.imag() * b.real()};
  } else {
    return a * b;
  }
}

// x^H y.
template <class T>
T dot(const T* x, const T* y, std::int64_t count) {
  constexpr std::int64_t chains = 4;  // independent sums: a single one would wait for each addition
  T sums[chains] = {};
  std::int64_t i = 0;
  for (; i + chains <= count; i += chains) {
    for (std::int64_t c = 0; c < chains; ++c) sums[c] += conjugate_product(x[i + c], y[i + c]);
  }
  for (; i < count; ++i) sums[0] += conjugate_product(x[i], y[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// y = y + alpha x.
template <class T>
void axpy(T alpha, const T* x, T* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] += product(alpha, x[i]);
}

// Finds u with (I - u u^H) x = beta e1 and |beta| = ||x||; returns beta. u^H u = 2, or u = 0 and beta = x1 where the
// rest of x is zero. With x1 = |x1| phase,
//
//   beta = -phase ||x||,    u = (x - beta e1) / sqrt(||x|| (||x|| + |x1|)).
//
// x is first scaled near 1 by a power of two: then no square overflows, and squares that underflow are negligible.
template <class T>
T reflector(const T* x, std::int64_t count, T* u) {
  using R = Real<T>;
  const auto largest = [&](std::int64_t from) {
    R found = 0;
    for (std::int64_t i = from; i < count; ++i) {
      for (const R part : {std::abs(std::real(x[i])), std::abs(std::imag(x[i]))}) {
        if (!(part <= found)) found = part;
      }
    }
    return found;
  };
  if (largest(1) == 0) {
    std::fill_n(u, count, T(0));
    return x[0];
  }
  const R bound = largest(0);
  const int scale = std::isfinite(bound) ? std::ilogb(bound) : 0;
  const auto scaled = [](T value, int by) {
    if constexpr (is_complex<T>) {
      return T(std::scalbn(value.real(), by), std::scalbn(value.imag(), by));
    } else {
      return std::scalbn(value, by);
    }
  };
  for (std::int64_t i = 0; i < count; ++i) u[i] = scaled(x[i], -scale);
  const R first = std::abs(u[0]);
  const R norm = std::sqrt(std::real(dot(u, u, count)));
  const T phase = first < std::numeric_limits<R>::min() ? T(1) : u[0] / first;
  const T beta = -phase * norm;
  u[0] -= beta;
  const R factor = 1 / std::sqrt(norm * (norm + first));
  for (std::int64_t i = 0; i < count; ++i) u[i] *= factor;
  return scaled(beta, scale);
}

// One copy of a band, element (i, j) at band(i - j, j), under reduction.
template <class T>
class BandChase {
 public:
  BandChase(MatrixView<T> band, const Reflectors<T>& reflectors)
      : band_(band),
        q2_(reflectors),
        n_(reflectors.n),
        b_(reflectors.b),
        u_(static_cast<std::size_t>(b_)),
        w_(static_cast<std::size_t>(b_)) {}

  void run() {
    for (std::int64_t s = 0; b_ > 1 && s < n_ - 2; ++s) {
      // Rows from `row` on of column `column` are annihilated, except the first.
      std::int64_t column = s;
      for (std::int64_t t = 0; s + 1 + t * b_ < n_; ++t) {
        const std::int64_t row = s + 1 + t * b_, size = std::min(b_, n_ - row);
        annihilate(row, column, size);
        if (q2_.keeps(s % b_)) std::copy_n(u_.data(), size, q2_.block(s / b_, t).at(0, s % b_ - q2_.first));
        for (std::int64_t j = column + 1; j < row; ++j) reflect_left(row, j, size);
        reflect_both(row, size);
        const std::int64_t below = row + b_;
        if (below < n_) reflect_right(below, std::min(b_, n_ - below), row, size);
        column = row;
      }
    }
  }

 private:
  T* at(std::int64_t i, std::int64_t j) const { return band_.at(i - j, j); }

  void annihilate(std::int64_t row, std::int64_t column, std::int64_t size) {
    T* const x = at(row, column);
    const T beta = reflector(x, size, u_.data());
    std::fill_n(x, size, T(0));
    *x = beta;
  }

  // x = H x for rows of column j.
  void reflect_left(std::int64_t row, std::int64_t j, std::int64_t size) {
    T* const x = at(row, j);
    axpy(-dot(u_.data(), x, size), u_.data(), x, size);
  }

  // C = C H:  y = C u,  C = C - y u^H.
  void reflect_right(std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns) {
    T* const y = w_.data();
    std::fill_n(y, rows, T(0));
    for (std::int64_t j = 0; j < columns; ++j) axpy(u(j), at(row, column + j), y, rows);
    for (std::int64_t j = 0; j < columns; ++j) axpy(-conjugate(u(j)), y, at(row, column + j), rows);
  }

  // D = H D H, the lower triangle:  p = D u,  w = p - (u^H p / 2) u,  D = D - u w^H - w u^H.
  void reflect_both(std::int64_t row, std::int64_t size) {
    T* const w = w_.data();
    std::fill_n(w, size, T(0));
    for (std::int64_t j = 0; j < size; ++j) {
      T* const d = at(row + j, row + j);
      const std::int64_t below = size - j - 1;
      w[j] += u(j) * std::real(*d) + dot(d + 1, u_.data() + j + 1, below);
      axpy(u(j), d + 1, w + j + 1, below);
    }
    axpy(T(-std::real(dot(u_.data(), w, size)) / 2), u_.data(), w, size);
    for (std::int64_t j = 0; j < size; ++j) {
      T* const d = at(row + j, row + j);
      axpy(-conjugate(w[j]), u_.data() + j, d, size - j);
      axpy(-conjugate(u(j)), w + j, d, size - j);
      *d = std::real(*d);
    }
  }

  T u(std::int64_t i) const { return u_[static_cast<std::size_t>(i)]; }

  MatrixView<T> band_;
  const Reflectors<T>& q2_;
  std::int64_t n_, b_;
  std::vector<T> u_, w_;
};

// Diagonal and off-diagonal of a Hermitian tridiagonal matrix T1 in band storage, and the phases P that make it real:
// T1 = P T P^H with e >= 0, or e unchanged and P = I if T1 is real.
template <class T>
void real_tridiagonal(MatrixView<T> band, std::int64_t n, Real<T>* d, Real<T>* e, T* phases) {
  for (std::int64_t j = 0; j < n; ++j) {
    d[j] = std::real(*band.at(0, j));
    if constexpr (is_complex<T>) {
      if (j == 0) phases[0] = 1;
      if (j + 1 == n) continue;
      const T off = *band.at(1, j);
      e[j] = std::abs(off);
      // Renormalise every phase to modulus one, or errors would accumulate.
      T next = e[j] == 0 ? phases[j] : product(phases[j], off / e[j]);
      phases[j + 1] = next / std::abs(next);
    } else {
      phases[j] = 1;
      if (j + 1 < n) e[j] = *band.at(1, j);
    }
  }
}

// Q = D(g, t) of order 2b; its last row and column equal the identity's.
template <class T>
void form_diamond(const Reflectors<T>& reflectors, std::int64_t g, std::int64_t t, MatrixView<T> q) {
  for (std::int64_t j = 0; j < q.columns; ++j) {
    std::fill_n(q.at(0, j), q.rows, T(0));
    *q.at(j, j) = 1;
  }
  if (g >= reflectors.grid().groups() || t >= reflectors.grid().steps(g)) return;
  const MatrixView<T> block = reflectors.block(g, t);
  for (std::int64_t k = block.columns - 1; k >= 0; --k) {
    // Reflectors k and later leave the columns before k unchanged.
    for (std::int64_t j = k; j < q.columns; ++j) {
      axpy(-dot(block.at(0, k), q.at(k, j), block.rows), block.at(0, k), q.at(k, j), block.rows);
    }
  }
}

// Z = D Z for the diamond whose reflectors are the columns of `block`, the first from row `row` on.
template <class T>
void apply_diamond(MatrixView<T> block, std::int64_t row, MatrixView<T> z) {
  for (std::int64_t k = block.columns - 1; k >= 0; --k) {
    const std::int64_t size = std::min(block.rows, z.rows - row - k);
    for (std::int64_t j = 0; size > 0 && j < z.columns; ++j) {
      T* const x = z.at(row + k, j);
      axpy(-dot(block.at(0, k), x, size), block.at(0, k), x, size);
    }
  }
}

}  // namespace jaxmg
