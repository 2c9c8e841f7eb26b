// Properties of the reduction from band to tridiagonal form, for any kind of ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <tuple>
#include <vector>

#include "algorithms/eigen/back_transformation.h"
#include "algorithms/eigen/bulge_chasing.h"
#include "core/larger.h"
#include "dealt.h"
#include "gtest/gtest.h"
#include "hermitian.h"
#include "lapack.h"
#include "matrices.h"
#include "residuals.h"
#include "solves.h"
#include "typed.h"

extern "C" {
void dsterf_(const int* n, double* d, double* e, int* info);
}

namespace jaxmg::testing {

// A band and the blocking of its reduction and back-transformation.
struct BandShape {
  std::int64_t n, b;
  int ranks = 1;
  std::int64_t columns = 0;   // eigenvectors at a time; 0: all
  std::int64_t diamonds = 0;  // formed at a time, in addition to the longest wave
  int levels = 0;             // merge levels of diamonds
  bool shared = false;        // whether each rank keeps a share of the reflectors
  bool vectors = true;        // whether Q2 is computed
  bool in_place = false;      // whether waves are applied in place

  friend std::ostream& operator<<(std::ostream& out, const BandShape& s) {
    return out << "n = " << s.n << ", b = " << s.b << " on " << s.ranks << " ranks, " << s.columns << " columns and "
               << s.diamonds << " more diamonds at a time, merged " << s.levels << " times"
               << (s.shared ? ", reflectors shared" : "") << (s.in_place ? ", in place" : "");
  }
};

template <class T>
struct Tridiagonalization {
  std::vector<Real<T>> d, e;
  Matrix<T> q2;

  bool operator==(const Tridiagonalization&) const = default;

  Matrix<Wide<T>> t() const { return tridiagonal<Wide<T>>({d.begin(), d.end()}, {e.begin(), e.end()}); }
};

// Reduces the band of half-bandwidth b in the lower triangle of `a`, and applies Q2 to the identity.
template <class T, class Ranks>
Tridiagonalization<T> tridiagonalize(Ranks& ranks, const Matrix<T>& a, const BandShape& shape) {
  const std::int64_t n = shape.n, b = shape.b, shard = std::max<std::int64_t>(1, shard_of(n, shape.ranks));
  const std::int64_t columns = shape.columns == 0 ? shard : std::min(shape.columns, shard);
  const std::int64_t least = BackTransformationWorkspace<T>::least_diamonds(n, b << shape.levels) + shape.diamonds;
  const std::int64_t room = shape.levels == 0 ? least : ((5 * least + 1) / 2) << (2 * shape.levels);
  const auto reserve = [&](Arena& arena) {
    const std::int64_t kept = !shape.vectors ? 0 : shape.shared ? Reflectors<T>::share(b, shape.ranks) : b;
    return std::tuple(Reflectors<T>(arena, n, b, kept), BulgeChasingWorkspace<T>(arena, n, b),
                      shape.in_place
                          ? BackTransformationWorkspace<T>::for_waves(arena, n, b, shard, shape.diamonds, kept < b)
                          : BackTransformationWorkspace<T>(arena, n, b, columns, room, shape.levels, kept < b));
  };
  Arena measure;
  reserve(measure);
  auto band = ranks.template matrix<T>(2 * b, n);
  auto z = ranks.template matrix<T>(n, shard);
  auto d = ranks.template matrix<Real<T>>(n, 1);
  auto e = ranks.template matrix<Real<T>>(n, 1);
  auto info = ranks.template matrix<std::int32_t>(1, 1);
  auto memory = ranks.template matrix<std::byte>(measure.used(), 1);
  Matrix<T> packed(2 * b, n);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = j; i < std::min(n, j + b + 1); ++i) packed(i - j, j) = a(i, j);
  }
  for (int r = 0; r < shape.ranks; ++r) {
    Matrix<T> own(n, shard, not_a_number<T>());
    for (std::int64_t j = 0; j < shard && r * shard + j < n; ++j) {
      for (std::int64_t i = 0; i < n; ++i) own(i, j) = T(i == r * shard + j ? 1 : 0);
    }
    band.upload(r, packed);
    z.upload(r, own);
    info.upload(r, Matrix<std::int32_t>(1, 1, no_failure));
  }

  ranks.run([&](auto& engine) {
    const int r = engine.rank();
    Arena arena = arena_over(memory.view(r));
    auto [q2, chasing, back] = reserve(arena);
    EXPECT_EQ(back.levels, shape.levels);
    chasing.clear(engine, Lane::bulk);
    engine.copy(Lane::bulk, band.view(r), chasing.band());
    chase_bulges(engine, Lane::bulk, chasing, q2, d.view(r).data, e.view(r).data, info.view(r).data);
    const std::int64_t own = std::clamp<std::int64_t>(n - r * shard, 0, shard);
    if (!shape.vectors) return;
    BackTransformation<T, typename Ranks::Engine>(engine, Lane::bulk, q2, back)
        .run(z.view(r).block(0, 0, n, own), shard);
  });

  Tridiagonalization<T> found;
  found.q2 = Matrix<T>(n, n);
  for (int r = 0; r < shape.ranks; ++r) {
    const auto own_d = d.download(r), own_e = e.download(r);
    const std::vector<Real<T>> rank_d(own_d.data(), own_d.data() + n), rank_e(own_e.data(), own_e.data() + n - 1);
    if (r == 0) {
      found.d = rank_d;
      found.e = rank_e;
    } else {
      EXPECT_EQ(found.d, rank_d) << "ranks differ";
      EXPECT_EQ(found.e, rank_e);
    }
    EXPECT_EQ(info.download(r)(0, 0), no_failure);
    const auto own = z.download(r);
    for (std::int64_t j = 0; j < shard && r * shard + j < n; ++j) {
      std::copy_n(&own(0, j), n, &found.q2(0, r * shard + j));
    }
  }
  return found;
}

// Sets elements outside of the band to zero.
template <class T>
Matrix<T> banded(Matrix<T> a, std::int64_t b) {
  for (std::int64_t j = 0; j < a.columns(); ++j) {
    for (std::int64_t i = 0; i < a.rows(); ++i) {
      if (std::abs(i - j) > b) a(i, j) = T(0);
    }
  }
  return mirrored(a);
}

// ||A Q2 - Q2 T|| / (n eps ||A||).
template <class T>
double reduction_error(const Matrix<T>& a, const Tridiagonalization<T>& found) {
  const auto q2 = widened(found.q2);
  Matrix<Wide<T>> difference(a.rows(), a.rows());
  gemm<Wide<T>>(1.0, widened(a), Op::none, q2, difference);
  gemm<Wide<T>>(-1.0, q2, Op::none, found.t(), difference);
  return frobenius(a) == 0 ? frobenius(difference) : frobenius(difference) / (n_eps<T>(a.rows()) * frobenius(a));
}

// ||Q2 Q2^H - I|| / (n eps).
template <class T>
double orthogonality_error(const Tridiagonalization<T>& found) {
  const auto q2 = widened(found.q2);
  auto difference = identity<Wide<T>>(q2.rows());
  gemm<Wide<T>>(-1.0, q2, Op::conj_transpose, q2, difference);
  return frobenius(difference) / n_eps<T>(q2.rows());
}

// The largest difference between eigenvalues of A and T, in units of n eps ||A||.
template <class T>
double spectrum_error(const Matrix<T>& a, const Tridiagonalization<T>& found) {
  const std::vector<double> expected = lapack_eigenvalues(a);
  std::vector<double> w(found.d.begin(), found.d.end()), e(found.e.begin(), found.e.end());
  const int n = static_cast<int>(w.size());
  int info = 0;
  dsterf_(&n, w.data(), e.data(), &info);
  EXPECT_EQ(info, 0);
  double largest = 0, norm = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    norm = std::max(norm, std::abs(expected[i]));
    largest = larger_or_nan(largest, std::abs(w[i] - expected[i]));
  }
  return norm == 0 ? largest : largest / (n_eps<T>(n) * norm);
}

// Each of n sweeps applies reflectors on disjoint rows, an orthogonal transformation up to a few eps of the norm
// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., lemma 19.3; the factor b of that bound is not
// attained in practice). The bound is therefore a few times n eps, for T and for Q2.
template <class T>
void expect_reduced(const Matrix<T>& a, const Tridiagonalization<T>& found) {
  EXPECT_LE(reduction_error(a, found), 5);
  EXPECT_LE(orthogonality_error(found), 5);
  EXPECT_LE(spectrum_error(a, found), 5);
}

template <class Parameter>
class BulgeChasing : public ::testing::Test {
 protected:
  using Ranks = typename Parameter::Ranks;
  using T = typename Parameter::Scalar;

  static Tridiagonalization<T> reduce(const Matrix<T>& a, const BandShape& shape) {
    Ranks ranks(shape.ranks);
    return tridiagonalize(ranks, a, shape);
  }
  static std::vector<std::int64_t> all_bandwidths() { return bandwidths<typename Ranks::Engine, T>(); }
};

TYPED_TEST_SUITE_P(BulgeChasing);

// Orders below, at and above the bandwidth, and just beyond multiples of it, where steps and groups begin and end.
TYPED_TEST_P(BulgeChasing, BandBecomesTridiagonal) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    std::vector<std::int64_t> orders{1, 2, 3, 4, 5, 7, 29};
    for (const std::int64_t k : {1, 2, 3}) {
      for (const std::int64_t more : {-1, 0, 1, 2, 3}) orders.push_back(std::max<std::int64_t>(1, k * b + more));
    }
    orders.push_back(5 * b + b / 2);
    for (const std::int64_t n : orders) {
      const BandShape shape{n, b};
      SCOPED_TRACE(shape);
      const auto a = banded(random_hermitian<T>(n, 1), b);
      expect_reduced(a, this->reduce(a, shape));
    }
  }
}

TYPED_TEST_P(BulgeChasing, BandOfSomeHundreds) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    const BandShape shape{311, b};
    SCOPED_TRACE(shape);
    const auto a = banded(random_hermitian<T>(shape.n, 2), b);
    expect_reduced(a, this->reduce(a, shape));
  }
}

// T depends neither on the ranks nor on the blocking; Q2 depends on them only by the rounding of products of other
// shapes.
TYPED_TEST_P(BulgeChasing, ResultDoesNotDependOnTheDivisionOfWork) {
  using T = typename TypeParam::Scalar;
  const std::int64_t b = this->all_bandwidths()[std::min<std::size_t>(3, this->all_bandwidths().size() - 1)];
  const std::int64_t n = 6 * b + 5;
  const auto a = banded(random_hermitian<T>(n, 3), b);
  const auto expected = this->reduce(a, {n, b});
  for (const int ranks : {1, 2, 3, 4, 8}) {
    if (!TypeParam::Ranks::available(ranks)) continue;
    for (const std::int64_t columns : {0, 1, 5}) {
      const BandShape shape{n, b, ranks, columns, 3 * columns};
      SCOPED_TRACE(shape);
      const auto found = this->reduce(a, shape);
      EXPECT_EQ(found.d, expected.d);
      EXPECT_EQ(found.e, expected.e);
      EXPECT_LE(reduction_error(a, found), 5);
      EXPECT_LE(orthogonality_error(found), 5);
    }
  }
}

// Orders that leave ranks without columns, bandwidths that leave ranks without reflectors, several rounds and windows.
TYPED_TEST_P(BulgeChasing, SharedReflectorsGiveTheSameResult) {
  using T = typename TypeParam::Scalar;
  const auto choice = this->all_bandwidths();
  for (const std::size_t i : {2, 3}) {
    if (i > 2 && i >= choice.size()) continue;
    const std::int64_t b = choice[std::min(i, choice.size() - 1)];
    for (const int ranks : {2, 3, 4, 8}) {
      if (!TypeParam::Ranks::available(ranks)) continue;
      std::vector<BandShape> shapes;
      for (const std::int64_t n : {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, std::int64_t{5}, 2 * b + 3}) {
        shapes.push_back({n, b, ranks});
      }
      shapes.push_back({3 * b + 5, b, ranks, 4});
      shapes.push_back({4 * b + 2, b, ranks, 0, 1, 1});
      shapes.push_back({5 * b + 3, b, ranks, b, 0, 2});
      for (BandShape& shape : shapes) {
        const auto a = banded(random_hermitian<T>(shape.n, 10), b);
        const auto expected = this->reduce(a, shape);
        shape.shared = true;
        SCOPED_TRACE(shape);
        EXPECT_EQ(this->reduce(a, shape), expected);
      }
    }
  }
}

TYPED_TEST_P(BulgeChasing, MergedDiamondsGiveTheSameResult) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    if (b == 1) continue;
    for (const int levels : {1, 2}) {
      const std::int64_t width = b << levels;
      for (const std::int64_t n : {b + 2, width - 1, width + 1, width + 2, 2 * width + b + 2, 5 * width / 2}) {
        const BandShape shape{n, b, 1, 0, n % 3, levels};
        SCOPED_TRACE(shape);
        const auto a = banded(random_hermitian<T>(n, 9), b);
        const auto found = this->reduce(a, shape);
        EXPECT_LE(reduction_error(a, found), 5);
        EXPECT_LE(orthogonality_error(found), 5);
      }
    }
  }
}

// All waves at once, as few as possible, and in between; on GPUs with columns for several thread blocks, and odd
// orders, at which columns of Z are not aligned. Columns do not depend on each other: the division of work does not
// matter.
TYPED_TEST_P(BulgeChasing, WavesAreAppliedInPlace) {
  using T = typename TypeParam::Scalar;
  if constexpr (TypeParam::Ranks::Engine::template applies_waves<T>) {
    for (const std::int64_t b : this->all_bandwidths()) {
      const bool kernel = this->all_bandwidths().front() > 1;
      if (b == 1 || (!kernel && b > 4)) continue;
      std::vector<std::int64_t> orders{b + 2, 3 * b + 1};
      if (kernel) orders.insert(orders.end(), {2 * b, 4 * b + 3, 9 * b + 6});
      for (const std::int64_t n : orders) {
        const auto a = banded(random_hermitian<T>(n, 11), b);
        BandShape shape{n, b};
        shape.in_place = true;
        const auto expected = this->reduce(a, shape);
        EXPECT_LE(reduction_error(a, expected), 5) << shape;
        EXPECT_LE(orthogonality_error(expected), 5) << shape;
        for (const auto& [ranks, shared, diamonds] :
             {std::tuple(1, false, 3), {2, true, 0}, {3, true, 1000}, {4, false, 1}}) {
          if (!TypeParam::Ranks::available(ranks)) continue;
          shape.ranks = ranks;
          shape.shared = shared;
          shape.diamonds = diamonds;
          SCOPED_TRACE(shape);
          EXPECT_EQ(this->reduce(a, shape), expected);
        }
      }
    }
  } else {
    GTEST_SKIP() << "not an operation of this engine";
  }
}

TYPED_TEST_P(BulgeChasing, IsDeterministic) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    const BandShape shape{4 * b + 3, b};
    SCOPED_TRACE(shape);
    const auto a = banded(random_hermitian<T>(shape.n, 4), b);
    const auto expected = this->reduce(a, shape);
    for (int run = 0; run < 3; ++run) EXPECT_EQ(this->reduce(a, shape), expected);
  }
}

TYPED_TEST_P(BulgeChasing, EigenvaluesAloneNeedNoReflectors) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    BandShape shape{3 * b + 5, b};
    SCOPED_TRACE(shape);
    const auto a = banded(random_hermitian<T>(shape.n, 8), b);
    const auto expected = this->reduce(a, shape);
    shape.vectors = false;
    const auto found = this->reduce(a, shape);
    EXPECT_EQ(found.d, expected.d);
    EXPECT_EQ(found.e, expected.e);
  }
}

// A tridiagonal matrix needs no reduction.
TYPED_TEST_P(BulgeChasing, TridiagonalMatrixIsUnchanged) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    const std::int64_t n = 2 * b + 7;
    for (const bool off_diagonal : {false, true}) {
      std::vector<double> d, e;
      for (std::int64_t i = 0; i < n; ++i) {
        d.push_back(static_cast<double>(i * 7 % n - n / 2));
        e.push_back(off_diagonal ? static_cast<double>(1 + i % 3) : 0);
      }
      const BandShape shape{n, b};
      SCOPED_TRACE(shape);
      const auto found = this->reduce(tridiagonal<T>(d, e), shape);
      e.pop_back();
      EXPECT_EQ(found.d, std::vector<Real<T>>(d.begin(), d.end()));
      EXPECT_EQ(found.e, std::vector<Real<T>>(e.begin(), e.end()));
      EXPECT_EQ(found.q2, identity<T>(n));
    }
  }
}

TYPED_TEST_P(BulgeChasing, ZeroStaysZero) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    const BandShape shape{3 * b + 1, b};
    SCOPED_TRACE(shape);
    const auto found = this->reduce(Matrix<T>(shape.n, shape.n), shape);
    EXPECT_EQ(found.t(), Matrix<Wide<T>>(shape.n, shape.n));
    EXPECT_EQ(found.q2, identity<T>(shape.n));
  }
}

TYPED_TEST_P(BulgeChasing, HardMatrices) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    const BandShape shape{2 * b + 37, b};
    for (const auto& [name, full] : hard_matrices<T>(shape.n)) {
      SCOPED_TRACE(::testing::Message() << name << ", " << shape);
      const auto a = banded(full, b);
      const auto found = this->reduce(a, shape);
      EXPECT_LE(reduction_error(a, found), 5);
      EXPECT_LE(orthogonality_error(found), 5);
    }
  }
}

// Squares of entries over- and underflow, but the entries themselves are normal numbers.
TYPED_TEST_P(BulgeChasing, NearOverflowAndUnderflow) {
  using T = typename TypeParam::Scalar;
  const int range = std::numeric_limits<Real<T>>::max_exponent;
  for (const std::int64_t b : this->all_bandwidths()) {
    const BandShape shape{3 * b + 2, b};
    const auto a = banded(random_hermitian<T>(shape.n, 5), b);
    for (const int power : {-range * 2 / 3, -range / 2, range / 2, range * 7 / 8}) {
      SCOPED_TRACE(::testing::Message() << "2^" << power << ", " << shape);
      auto scaled = a;
      for (std::int64_t i = 0; i < a.rows() * a.rows(); ++i) {
        scaled.data()[i] *= std::ldexp(Real<T>(1), power);
      }
      auto found = this->reduce(scaled, shape);
      for (Real<T>& x : found.d) x = std::ldexp(x, -power);
      for (Real<T>& x : found.e) x = std::ldexp(x, -power);
      expect_reduced(a, found);
    }
  }
}

// Columns whose parts below the subdiagonal span the whole range of magnitudes.
TYPED_TEST_P(BulgeChasing, GradedWithinColumns) {
  using T = typename TypeParam::Scalar;
  using Limits = std::numeric_limits<Real<T>>;
  for (const std::int64_t b : this->all_bandwidths()) {
    const BandShape shape{2 * b + 9, b};
    SCOPED_TRACE(shape);
    auto a = random_hermitian<T>(shape.n, 6);
    for (std::int64_t j = 0; j < shape.n; ++j) {
      for (std::int64_t i = j + 1; i < shape.n; ++i) {
        a(i, j) *= std::ldexp(Real<T>(1), static_cast<int>((i * i + j) % 5) * (Limits::min_exponent / 4));
      }
    }
    a = banded(a, b);
    const auto found = this->reduce(a, shape);
    EXPECT_LE(reduction_error(a, found), 5);
    EXPECT_LE(orthogonality_error(found), 5);
  }
}

// The reduction terminates, and NaN in the input appears in the result.
TYPED_TEST_P(BulgeChasing, NanPropagates) {
  using T = typename TypeParam::Scalar;
  for (const std::int64_t b : this->all_bandwidths()) {
    const BandShape shape{3 * b + 2, b};
    SCOPED_TRACE(shape);
    auto a = banded(random_hermitian<T>(shape.n, 7), b);
    a(1, 0) = not_a_number<T>();
    const auto found = this->reduce(a, shape);
    const auto is_nan = [](Real<T> x) { return std::isnan(x); };
    EXPECT_TRUE(std::any_of(found.e.begin(), found.e.end(), is_nan));
  }
}

REGISTER_TYPED_TEST_SUITE_P(BulgeChasing, BandBecomesTridiagonal, BandOfSomeHundreds,
                            ResultDoesNotDependOnTheDivisionOfWork, SharedReflectorsGiveTheSameResult,
                            MergedDiamondsGiveTheSameResult, WavesAreAppliedInPlace, IsDeterministic,
                            EigenvaluesAloneNeedNoReflectors, TridiagonalMatrixIsUnchanged, ZeroStaysZero, HardMatrices,
                            NearOverflowAndUnderflow, GradedWithinColumns, NanPropagates);

}  // namespace jaxmg::testing
