// Symmetric tridiagonal test matrices, and their eigenvalues by LAPACK.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "matrices.h"

extern "C" {
void dsterf_(const int* n, double* d, double* e, int* info);
void dstevd_(const char* jobz, const int* n, double* d, double* e, double* z, const int* ldz, double* work,
             const int* lwork, int* iwork, const int* liwork, int* info);
}

namespace jaxmg::testing {

template <class R>
struct Tridiagonal {
  std::string name;
  std::vector<R> d, e;

  std::int64_t order() const { return static_cast<std::int64_t>(d.size()); }
  double largest() const {
    double largest = 0;
    for (const auto* elements : {&d, &e}) {
      for (const R x : *elements) largest = std::max(largest, std::fabs(static_cast<double>(x)));
    }
    return largest;
  }
};

// d_i = diagonal(i), e_i = off(i).
template <class R, class Diagonal, class Off>
Tridiagonal<R> make_tridiagonal(std::string name, std::int64_t n, Diagonal&& diagonal, Off&& off) {
  Tridiagonal<R> t{std::move(name), {}, {}};
  for (std::int64_t i = 0; i < n; ++i) t.d.push_back(static_cast<R>(diagonal(i)));
  for (std::int64_t i = 0; i + 1 < n; ++i) t.e.push_back(static_cast<R>(off(i)));
  return t;
}

// Test matrices of order n, among them the hard cases of LAPACK's testers and of the literature on divide and conquer.
template <class R>
std::vector<Tridiagonal<R>> tridiagonals(std::int64_t n) {
  using Limits = std::numeric_limits<R>;
  const double eps = static_cast<double>(Limits::epsilon()), x_n = static_cast<double>(n);
  std::mt19937_64 random(static_cast<std::uint64_t>(n));
  std::uniform_real_distribution<double> spread(-1, 1);
  const auto any = [&](std::int64_t) { return spread(random); };
  const auto constant = [](double value) { return [value](std::int64_t) { return value; }; };
  const auto power = [&](double from, double to) {
    return [=](std::int64_t i) { return std::pow(10.0, from + (to - from) * static_cast<double>(i) / x_n); };
  };
  // Wilkinson's matrix of order 21, repeated along the diagonal.
  const auto wilkinson = [](std::int64_t i) { return std::fabs(10.0 - static_cast<double>(i % 21)); };
  const auto glue = [](double coupling) { return [=](std::int64_t i) { return i % 21 == 20 ? coupling : 1.0; }; };
  // Eigenvalues are at most three times as large.
  const double huge = 0.33 * static_cast<double>(Limits::max()), tiny = 8 * static_cast<double>(Limits::min());

  std::vector<Tridiagonal<R>> all;
  const auto add = [&](const char* name, auto&& diagonal, auto&& off) {
    all.push_back(make_tridiagonal<R>(name, n, diagonal, off));
  };
  add("random", any, any);
  add("random diagonal, weak coupling", any, [&](std::int64_t) { return 1e-4 * spread(random); });
  add("Toeplitz (1, 2, 1)", constant(2), constant(1));
  add("Toeplitz (-1, 2, -1)", constant(2), constant(-1));
  add("zero diagonal", constant(0), any);
  add("zero", constant(0), constant(0));
  add("identity", constant(1), constant(0));
  add("diagonal", any, constant(0));
  add(
      "one cluster", [&](std::int64_t) { return 1 + x_n * eps * spread(random); },
      [&](std::int64_t) { return x_n * eps * spread(random); });
  add(
      "clusters", [&](std::int64_t i) { return static_cast<double>(i % 4) + x_n * eps * spread(random); },
      [&](std::int64_t) { return 10 * eps * spread(random); });
  add("Wilkinson", [&](std::int64_t i) { return std::fabs((x_n - 1) / 2 - static_cast<double>(i)); }, constant(1));
  add("glued Wilkinson, strong glue", wilkinson, glue(std::sqrt(eps)));
  add("glued Wilkinson, weak glue", wilkinson, glue(eps));
  add("graded downwards", power(12, -12), power(11.5, -12.5));
  add("graded upwards", power(-12, 12), power(-12.5, 11.5));
  add("one huge off-diagonal", any, [&](std::int64_t i) { return i == n / 3 ? 1e12 : spread(random); });
  add("huge coupling in the middle", any, [&](std::int64_t i) { return i == n / 2 - 1 ? -1e12 : spread(random); });
  add(
      "near overflow", [&](std::int64_t) { return huge * spread(random); },
      [&](std::int64_t) { return huge * spread(random); });
  add(
      "near underflow", [&](std::int64_t) { return tiny * spread(random); },
      [&](std::int64_t) { return tiny * spread(random); });
  add("Hermite", constant(0), [](std::int64_t i) { return std::sqrt(static_cast<double>(i + 1) / 2); });
  return all;
}

// LAPACK's eigenvalues of T / scale, ascending, in double precision.
template <class R>
std::vector<double> lapack_eigenvalues(const Tridiagonal<R>& t, double scale) {
  std::vector<double> d, e;
  for (const R x : t.d) d.push_back(static_cast<double>(x) / scale);
  for (const R x : t.e) e.push_back(static_cast<double>(x) / scale);
  const int n = static_cast<int>(d.size());
  int info = 0;
  dsterf_(&n, d.data(), e.data(), &info);
  return d;
}

}  // namespace jaxmg::testing
