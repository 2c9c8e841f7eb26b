// Properties of solvers of symmetric tridiagonal eigenproblems, for any kind of ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <vector>

#include "algorithms/eigen/bisection.h"
#include "algorithms/eigen/divide_and_conquer.h"
#include "algorithms/host/instances.h"
#include "algorithms/moves/rows_to_columns.h"
#include "core/larger.h"
#include "gtest/gtest.h"
#include "lapack.h"
#include "matrices.h"
#include "residuals.h"
#include "tridiagonals.h"
#include "typed.h"

namespace jaxmg::testing {

// Division of the work.
struct Division {
  int ranks = 1;
  std::int64_t leaf = 32;     // rows of the smallest parts
  std::int64_t columns = 32;  // of S at a time

  friend std::ostream& operator<<(std::ostream& out, const Division& d) {
    return out << d.ranks << " ranks, leaves of " << d.leaf << ", " << d.columns << " columns at a time";
  }
};

template <class R>
struct Decomposition {
  std::vector<Matrix<R>> w;  // of each rank
  Matrix<R> q;
  std::vector<std::int32_t> info;
};

template <class T, class Ranks>
struct Columns {
  Decomposition<Real<T>> rows;
  Matrix<T> z;
};

template <class Elements>
auto as_matrix(const Elements& elements) {
  Matrix<typename Elements::value_type> m(static_cast<std::int64_t>(elements.size()), 1);
  std::copy(elements.begin(), elements.end(), m.data());
  return m;
}

// The row blocks of all ranks, stacked, and the column blocks redistributed from them in the scalar type T.
template <class T, class Ranks>
Columns<T, Ranks> decompose(const Tridiagonal<Real<T>>& t, const Division& division) {
  using R = Real<T>;
  const std::int64_t n = t.order(), shard = (n + division.ranks - 1) / division.ranks;
  Ranks ranks(division.ranks);
  const auto columns = std::min(division.columns, n);
  Arena measure;
  DivideAndConquerWorkspace<R>(measure, n, shard, columns);
  auto d = ranks.template matrix<R>(n, 1), e = ranks.template matrix<R>(n, 1), w = ranks.template matrix<R>(n, 1);
  auto info = ranks.template matrix<std::int32_t>(1, 1);
  auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
  auto q = ranks.template matrix<R>(shard, n);
  auto z = ranks.template matrix<T>(n, shard);
  for (int r = 0; r < division.ranks; ++r) {
    d.upload(r, as_matrix(t.d));
    if (n > 1) {
      auto padded = t.e;
      padded.push_back(std::numeric_limits<R>::quiet_NaN());  // must not be read
      e.upload(r, as_matrix(padded));
    }
  }
  ranks.run([&](auto& engine) {
    const int r = engine.rank();
    Arena arena(workspace.view(r).data, measure.used());
    DivideAndConquerWorkspace<R> memory(arena, n, shard, columns);
    engine.set_info(Lane::panel, info.view(r).data, no_failure);
    DivideAndConquer<R, typename Ranks::Engine> merging(engine, n, shard, d.view(r).data, e.view(r).data,
                                                        w.view(r).data, info.view(r).data, memory, division.leaf);
    merging.values();
    merging.vectors({0, n});
    engine.copy(Lane::panel, memory.rows, q.view(r));
    rows_to_columns<T>(engine, memory.rows, 0, memory.rows.columns, z.view(r), memory.other.data);
  });
  Columns<T, Ranks> all{{{}, Matrix<R>(n, n), {}}, Matrix<T>(n, n)};
  for (int r = 0; r < division.ranks; ++r) {
    all.rows.w.push_back(w.download(r));
    all.rows.info.push_back(info.download(r)(0, 0));
    const Matrix<R> rows = q.download(r);
    const Matrix<T> own = z.download(r);
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = r * shard; i < std::min(n, (r + 1) * shard); ++i) all.rows.q(i, j) = rows(i - r * shard, j);
    }
    for (std::int64_t j = r * shard; j < std::min(n, (r + 1) * shard); ++j) {
      for (std::int64_t i = 0; i < n; ++i) all.z(i, j) = own(i, j - r * shard);
    }
  }
  return all;
}

// max |Q^T Q - I| and max |T Q - Q W| / max |T|, in n eps.
template <class R>
void expect_eigenvectors(const Tridiagonal<R>& t, const Decomposition<R>& found, double bound) {
  const std::int64_t n = t.order();
  const double scale = t.largest() > 0 ? t.largest() : 1;
  const auto q = widened(found.q);
  Matrix<double> square(n, n), transposed(n, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) transposed(j, i) = q(i, j);
  }
  gemm(1.0, transposed, Op::none, q, square);
  double loss = 0, residual = 0;
  const auto at = [](const std::vector<R>& v, std::int64_t i) {
    return static_cast<double>(v[static_cast<std::size_t>(i)]);
  };
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < n; ++i) {
      const double one = i == j ? 1 : 0;
      loss = larger_or_nan(loss, std::fabs(square(i, j) - one));
      double r = (at(t.d, i) / scale - static_cast<double>(found.w[0](j, 0)) / scale) * q(i, j);
      if (i > 0) r += at(t.e, i - 1) / scale * q(i - 1, j);
      if (i + 1 < n) r += at(t.e, i) / scale * q(i + 1, j);
      residual = larger_or_nan(residual, std::fabs(r));
    }
  }
  EXPECT_LE(loss / n_eps<R>(n), bound) << "orthogonality";
  EXPECT_LE(residual / n_eps<R>(n), bound) << "residual";
}

// |w - w of LAPACK| / max |T|, in n eps.
template <class R>
void expect_eigenvalues(const Tridiagonal<R>& t, const Matrix<R>& w, double bound) {
  const double scale = t.largest() > 0 ? t.largest() : 1;
  const auto expected = lapack_eigenvalues(t, scale);
  double worst = 0;
  for (std::int64_t i = 0; i < t.order(); ++i) {
    const double error = std::fabs(static_cast<double>(w(i, 0)) / scale - expected[static_cast<std::size_t>(i)]);
    worst = larger_or_nan(worst, error);
    if (i > 0) {
      EXPECT_LE(w(i - 1, 0), w(i, 0));
    }
  }
  EXPECT_LE(worst / n_eps<R>(t.order()), bound) << "eigenvalues";
}

// Orders below, at and above the numbers of ranks and the sizes of leaves, with all divisions of the work.
template <class Ranks>
std::vector<std::pair<std::int64_t, Division>> divisions() {
  std::vector<std::pair<std::int64_t, Division>> all;
  std::int64_t turn = 0;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!Ranks::available(ranks)) continue;
    for (const std::int64_t n : {1, 2, 3, 4, 7, 21, 32, 33, 64, 85, 130}) {
      const std::int64_t leaves[] = {2, 3, 32}, columns[] = {1, 9, 130};
      all.push_back({n, {ranks, leaves[turn % 3], columns[turn / 3 % 3]}});
      ++turn;
    }
  }
  return all;
}

template <class Parameter>
class DivideAndConquerTest : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using R = typename Parameter::Scalar;

  static Decomposition<R> decompose(const Tridiagonal<R>& t, const Division& division) {
    return testing::decompose<R, Ranks>(t, division).rows;
  }
};

TYPED_TEST_SUITE_P(DivideAndConquerTest);

// Every merge adds a few eps to an element of Q^T Q - I and of the residual, and deflation adds 8 eps. An element takes
// part in at most log2(n) merges. (LAPACK's testers allow 30 n eps.)
inline constexpr double bound = 4;

TYPED_TEST_P(DivideAndConquerTest, EigenvectorsAreOrthogonalAndSolve) {
  using R = typename TypeParam::Scalar;
  for (const auto& [n, division] : divisions<typename TypeParam::Ranks>()) {
    for (const auto& t : tridiagonals<R>(n)) {
      SCOPED_TRACE(::testing::Message() << t.name << ", order " << n << ", " << division);
      const auto found = this->decompose(t, division);
      for (const std::int32_t info : found.info) EXPECT_EQ(info, no_failure);
      for (const auto& w : found.w) EXPECT_EQ(w, found.w[0]);
      expect_eigenvectors(t, found, bound);
      expect_eigenvalues(t, found.w[0], bound);
    }
  }
}

TYPED_TEST_P(DivideAndConquerTest, LargerMatrices) {
  using R = typename TypeParam::Scalar;
  for (const int ranks : {1, 3, 4}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const auto& t : tridiagonals<R>(500)) {
      const Division division{ranks, 32, 300};
      SCOPED_TRACE(::testing::Message() << t.name << ", order 500, " << division);
      const auto found = this->decompose(t, division);
      for (const std::int32_t info : found.info) EXPECT_EQ(info, no_failure);
      expect_eigenvectors(t, found, bound);
      expect_eigenvalues(t, found.w[0], bound);
    }
  }
}

TYPED_TEST_P(DivideAndConquerTest, IsDeterministic) {
  using R = typename TypeParam::Scalar;
  for (const int ranks : {1, 2, 4}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    const auto t = tridiagonals<R>(150)[0];
    const auto first = this->decompose(t, {ranks, 32, 70}), second = this->decompose(t, {ranks, 32, 70});
    EXPECT_EQ(first.w, second.w);
    EXPECT_EQ(first.q, second.q);
  }
}

TYPED_TEST_P(DivideAndConquerTest, RowsBecomeColumns) {
  using R = typename TypeParam::Scalar;
  for (const auto& [n, division] : divisions<typename TypeParam::Ranks>()) {
    SCOPED_TRACE(::testing::Message() << "order " << n << ", " << division);
    const auto t = tridiagonals<R>(n)[0];
    const auto real = testing::decompose<R, typename TypeParam::Ranks>(t, division);
    EXPECT_EQ(real.z, real.rows.q);
    const auto complex = testing::decompose<std::complex<R>, typename TypeParam::Ranks>(t, division);
    Matrix<std::complex<R>> expected(n, n);
    std::copy_n(complex.rows.q.data(), n * n, expected.data());
    EXPECT_EQ(complex.z, expected);
  }
}

TYPED_TEST_P(DivideAndConquerTest, NonFiniteMatricesAreReported) {
  using R = typename TypeParam::Scalar;
  for (const int ranks : {1, 3}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const std::int64_t n : {1, 50}) {
      for (const R bad : {std::numeric_limits<R>::quiet_NaN(), std::numeric_limits<R>::infinity()}) {
        auto t = tridiagonals<R>(n)[0];
        (n > 1 ? t.e[0] : t.d[0]) = bad;
        const auto found = this->decompose(t, {ranks, 8, 20});
        for (const std::int32_t info : found.info) EXPECT_EQ(info, 1);
        for (const auto& w : found.w) EXPECT_TRUE(all_nan(w));
        EXPECT_TRUE(all_nan(found.q));
      }
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(DivideAndConquerTest, EigenvectorsAreOrthogonalAndSolve, LargerMatrices, IsDeterministic,
                            RowsBecomeColumns, NonFiniteMatricesAreReported);

template <class Parameter>
class Bisection : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using R = typename Parameter::Scalar;

  struct Found {
    std::vector<Matrix<R>> w;
    std::vector<std::int32_t> info;
  };

  static Found bisect(const Tridiagonal<R>& t, int count, std::int64_t first, std::int64_t last) {
    const std::int64_t n = t.order();
    Ranks ranks(count);
    Arena measure;
    BisectionWorkspace<R>(measure, n);
    auto d = ranks.template matrix<R>(n, 1), e = ranks.template matrix<R>(n, 1);
    auto w = ranks.template matrix<R>(last - first, 1);
    auto info = ranks.template matrix<std::int32_t>(1, 1);
    auto workspace = ranks.template matrix<std::byte>(measure.used(), 1);
    for (int r = 0; r < count; ++r) {
      d.upload(r, as_matrix(t.d));
      if (n > 1) {
        auto padded = t.e;
        padded.push_back(std::numeric_limits<R>::quiet_NaN());
        e.upload(r, as_matrix(padded));
      }
    }
    ranks.run([&](auto& engine) {
      const int r = engine.rank();
      Arena arena(workspace.view(r).data, measure.used());
      BisectionWorkspace<R> memory(arena, n);
      engine.set_info(Lane::panel, info.view(r).data, no_failure);
      tridiagonal_eigenvalues(engine, n, d.view(r).data, e.view(r).data, first, last, w.view(r).data, info.view(r).data,
                              memory);
    });
    Found found;
    for (int r = 0; r < count; ++r) {
      found.w.push_back(w.download(r));
      found.info.push_back(info.download(r)(0, 0));
    }
    return found;
  }
};

TYPED_TEST_SUITE_P(Bisection);

// The error of an eigenvalue is at most eps times the largest modulus in the bisected interval, 4 max |T|, plus as much
// for the rounding of counts.
TYPED_TEST_P(Bisection, AgreesWithLapack) {
  using R = typename TypeParam::Scalar;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const std::int64_t n : {1, 2, 3, 21, 65, 130}) {
      for (const auto& t : tridiagonals<R>(n)) {
        SCOPED_TRACE(::testing::Message() << t.name << ", order " << n << ", " << ranks << " ranks");
        const auto found = this->bisect(t, ranks, 0, n);
        for (const std::int32_t info : found.info) EXPECT_EQ(info, no_failure);
        for (const auto& w : found.w) EXPECT_EQ(w, found.w[0]);
        expect_eigenvalues(t, found.w[0], bound);
      }
    }
  }
}

TYPED_TEST_P(Bisection, PartOfTheSpectrum) {
  using R = typename TypeParam::Scalar;
  const std::int64_t n = 77;
  for (const auto& t : tridiagonals<R>(n)) {
    const auto all = this->bisect(t, 1, 0, n).w[0];
    for (const auto& [first, last] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {76, 77}, {20, 55}}) {
      const auto part = this->bisect(t, 1, first, last).w[0];
      for (std::int64_t i = first; i < last; ++i) EXPECT_EQ(part(i - first, 0), all(i, 0)) << t.name;
    }
  }
}

TYPED_TEST_P(Bisection, NonFiniteMatricesAreReported) {
  using R = typename TypeParam::Scalar;
  auto t = tridiagonals<R>(9)[0];
  t.d[8] = std::numeric_limits<R>::infinity();
  const auto found = this->bisect(t, 1, 2, 5);
  EXPECT_EQ(found.info[0], 1);
  EXPECT_TRUE(all_nan(found.w[0]));
}

REGISTER_TYPED_TEST_SUITE_P(Bisection, AgreesWithLapack, PartOfTheSpectrum, NonFiniteMatricesAreReported);

}  // namespace jaxmg::testing
