// Products of lower precision (engine/low_precision_ops.h) by the arithmetic of tensor cores, on the host.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/arithmetic.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/low_precision_ops.h"

namespace jaxmg::testing {

// To 11 significant bits; ties to even.
inline float to_tf32(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::isfinite(x) ? std::bit_cast<float>((bits + 0xfff + (bits >> 13 & 1)) & 0xffffe000) : x;
}
template <class T>
T to_tf32(T x) {
  return T(to_tf32(x.real()), to_tf32(x.imag()));
}

inline Half to_half(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (std::isnan(x)) return static_cast<Half>(sign | 0x7e00);
  if (size >= 0x477ff000) return static_cast<Half>(sign | 0x7c00);  // 65520
  // Subnormal numbers are multiples of 2^-24.
  if (size < 0x38800000) return static_cast<Half>(sign | static_cast<std::uint32_t>(std::rint(std::fabs(x) * 0x1p24F)));
  return static_cast<Half>(sign | (((size + 0xfff + (size >> 13 & 1)) >> 13) - (112 << 10)));
}

inline float from_half(Half x) {
  const int exponent = x >> 10 & 31, digits = x & 1023;
  const float size = exponent == 31  ? (digits == 0 ? std::numeric_limits<float>::infinity() : NAN)
                     : exponent == 0 ? std::ldexp(static_cast<float>(digits), -24)
                                     : std::ldexp(static_cast<float>(1024 + digits), exponent - 25);
  return (x & 0x8000) != 0 ? -size : size;
}

// Writes the parts of x to high and low.
inline void split(float x, Half& high, Half& low) {
  high = to_half(x);
  low = to_half(2048 * (x - from_half(high)));
}

template <class T>
void split_left(MatrixView<T> a, MatrixView<Half> parts) {
  const std::int64_t depth = parts.columns / 2;
  const auto put = [&](std::int64_t i, std::int64_t j, float x) { split(x, *parts.at(i, j), *parts.at(i, depth + j)); };
  for (std::int64_t j = 0; j < a.columns; ++j) {
    for (std::int64_t i = 0; i < a.rows; ++i) {
      const T x = *a.at(i, j);
      if constexpr (is_complex<T>) {
        put(2 * i, j, x.real());
        put(2 * i + 1, j, x.imag());
        put(2 * i, a.columns + j, -x.imag());
        put(2 * i + 1, a.columns + j, x.real());
      } else {
        put(i, j, x);
      }
    }
  }
}

template <class T>
void split_right(Op op, MatrixView<T> b, MatrixView<Half> parts) {
  const std::int64_t depth = (op == Op::none ? parts.rows : parts.columns) / 3;
  const auto at = [&](std::int64_t k, std::int64_t j) -> Half& {
    return op == Op::none ? *parts.at(k, j) : *parts.at(j, k);
  };
  const auto put = [&](std::int64_t k, std::int64_t j, float x) {
    split(x, at(k, j), at(depth + k, j));
    at(2 * depth + k, j) = at(k, j);
  };
  const std::int64_t own = depth / reals_of<T>, columns = op == Op::none ? b.columns : b.rows;
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t k = 0; k < own; ++k) {
      const T x = op == Op::none ? *b.at(k, j) : *b.at(j, k);
      if constexpr (is_complex<T>) {
        put(k, j, x.real());
        put(own + k, j, op == Op::none ? x.imag() : -x.imag());
      } else {
        put(k, j, x);
      }
    }
  }
}

template <class T>
void split_product(Op op, float alpha, MatrixView<Half> left, MatrixView<Half> right, MatrixView<T> c) {
  const std::int64_t depth = left.columns / 2, rows = reals_of<T> * c.rows;
  auto* const data = reinterpret_cast<float*>(c.data);
  const auto of_right = [&](std::int64_t k, std::int64_t j) {
    return from_half(op == Op::none ? *right.at(k, j) : *right.at(j, k));
  };
  for (std::int64_t j = 0; j < c.columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) {
      float high = 0, low = 0;
      for (std::int64_t k = 0; k < depth; ++k) high += from_half(*left.at(i, k)) * of_right(k, j);
      for (std::int64_t k = 0; k < 2 * depth; ++k) low += from_half(*left.at(i, k)) * of_right(depth + k, j);
      data[i + j * reals_of<T> * c.ld] += alpha * high + alpha / 2048 * low;
    }
  }
}

// C = C + alpha A op(B), for Op::none or Op::conj_transpose.
template <class T>
void rounded_product(Op op, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
  for (std::int64_t j = 0; j < c.columns; ++j) {
    for (std::int64_t i = 0; i < c.rows; ++i) {
      T sum = 0;
      for (std::int64_t k = 0; k < a.columns; ++k) {
        sum += to_tf32(*a.at(i, k)) * to_tf32(op == Op::none ? *b.at(k, j) : conjugate(*b.at(j, k)));
      }
      *c.at(i, j) += alpha * sum;
    }
  }
}

}  // namespace jaxmg::testing
