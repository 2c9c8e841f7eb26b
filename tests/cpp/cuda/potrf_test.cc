#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "cuda_ranks.h"
#include "engine/cuda/diagonal_blocks.h"
#include "potrf_checks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, Potrf, OnAllScalars<PeerRanks>);
// NCCL transports bytes: one scalar type is enough.
using ThroughNccl = ::testing::Types<On<NcclRanks, double>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, Potrf, ThroughNccl);

namespace {

// ||A - L L^H|| / ||A|| of a factor whose products use an arithmetic, for block columns that tiles fill or not.
template <class T>
double error_with(Arithmetic arithmetic, const Shape& shape) {
  const Matrix<T> a = kernel<T>(shape.n, 10, 1);
  PeerRanks ranks(shape.ranks);
  const auto result = factor(ranks, a, shape, {}, arithmetic);
  EXPECT_EQ(result.info, 0);
  return factor_error(a, result.l) * n_eps<T>(shape.n);
}

// Rounding the operands of the products causes errors of 2 u |L| |L^H|, whose norm is at most 2 u sqrt(n) ||A||. The
// errors of float32 are clearly smaller, if the matrix is not dominated by its diagonal: tensor cores have been used.
TEST(TensorCores, ErrorsAreThoseOfTheArithmetic) {
  for (const int count : {1, 2, 3, 4}) {
    if (!PeerRanks::available(count)) continue;
    for (const Shape& shape :
         {Shape{700, count, 32, 96, 2}, Shape{512, count, 64, 64, 1}, Shape{333, count, 40, 80, 3}}) {
      SCOPED_TRACE(shape);
      const double root = std::sqrt(static_cast<double>(shape.n));
      const double tf32 = error_with<float>(Arithmetic::tf32, shape);
      EXPECT_LE(tf32, 2 * 0x1p-11 * root);
      EXPECT_GE(tf32, 4 * error_with<float>(Arithmetic::full, shape));
      EXPECT_LE(error_with<std::complex<float>>(Arithmetic::tf32, shape), 4 * 0x1p-11 * root);
      EXPECT_LE(error_with<float>(Arithmetic::fp16x2, shape), 2 * 0x1p-22 * root);
      EXPECT_LE(error_with<std::complex<float>>(Arithmetic::fp16x2, shape), 4 * 0x1p-22 * root);
    }
  }
}

template <class T>
Matrix<T> rows_of(const Matrix<T>& a, std::int64_t first, std::int64_t count) {
  Matrix<T> rows(count, a.columns());
  for (std::int64_t j = 0; j < a.columns(); ++j) std::copy_n(&a(first, j), count, &rows(0, j));
  return rows;
}

// Operations of the engine on one GPU.
template <class S>
class DiagonalBlock : public ::testing::Test {
 protected:
  void SetUp() override { JAXMG_NEEDS_RANKS(PeerRanks, 1); }

  struct Factored {
    Matrix<S> l;
    std::int32_t failed;
  };

  // potrf of several matrices of one order. Above and below them are `margin` rows.
  static std::vector<Factored> factor(const std::vector<Matrix<S>>& matrices) {
    constexpr std::int64_t margin = 3;
    const auto count = static_cast<std::int64_t>(matrices.size());
    const std::int64_t n = matrices[0].rows(), rows = n + 2 * margin;
    PeerRanks ranks(1);
    auto stored = ranks.matrix<S>(rows, n * count);
    auto failed = ranks.matrix<std::int32_t>(count, 1);
    Matrix<S> all(rows, n * count, S(7));
    for (std::int64_t k = 0; k < count; ++k) {
      for (std::int64_t j = 0; j < n; ++j) {
        std::copy_n(&matrices[static_cast<std::size_t>(k)](0, j), n, &all(margin, k * n + j));
      }
    }
    stored.upload(0, all);
    ranks.run([&](auto& engine) {
      for (std::int64_t k = 0; k < count; ++k) {
        engine.potrf(Lane::diagonal, stored.view(0).block(margin, k * n, n, n), failed.view(0).at(k, 0));
      }
      engine.join();
    });
    const Matrix<S> found = stored.download(0);
    const Matrix<std::int32_t> infos = failed.download(0);
    std::vector<Factored> results;
    for (std::int64_t k = 0; k < count; ++k) {
      Factored& result = results.emplace_back(Factored{Matrix<S>(n, n), infos(k, 0)});
      for (std::int64_t j = 0; j < n; ++j) {
        std::copy_n(&found(margin, k * n + j), n, &result.l(0, j));
        for (std::int64_t i = 0; i < margin; ++i) {
          EXPECT_EQ(found(i, k * n + j), S(7));
          EXPECT_EQ(found(n + margin + i, k * n + j), S(7));
        }
      }
    }
    return results;
  }
  static Factored factor(const Matrix<S>& matrix) { return factor(std::vector{matrix})[0]; }

  // X L^H = B.
  static Matrix<S> solve(const Matrix<S>& l, const Matrix<S>& b) {
    constexpr std::int64_t margin = 3;
    PeerRanks ranks(1);
    auto factor = ranks.matrix<S>(l.rows(), l.columns());
    auto stored = ranks.matrix<S>(b.rows() + margin, b.columns());
    Matrix<S> all(b.rows() + margin, b.columns(), S(7));
    for (std::int64_t j = 0; j < b.columns(); ++j) std::copy_n(&b(0, j), b.rows(), &all(0, j));
    factor.upload(0, l);
    stored.upload(0, all);
    ranks.run([&](auto& engine) {
      engine.trsm(Lane::panel, Side::right, Uplo::lower, Op::conj_transpose, Diag::non_unit, factor.view(0),
                  stored.view(0).block(0, 0, b.rows(), b.columns()));
      engine.join();
    });
    const Matrix<S> found = stored.download(0);
    Matrix<S> x(b.rows(), b.columns());
    for (std::int64_t j = 0; j < b.columns(); ++j) {
      std::copy_n(&found(0, j), b.rows(), &x(0, j));
      for (std::int64_t i = 0; i < margin; ++i) EXPECT_EQ(found(b.rows() + i, j), S(7));
    }
    return x;
  }

  // ||B - X L^H|| / (n eps ||X|| ||L||): at most 1 or, in complex arithmetic, a small multiple in exact analysis of
  // substitution (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 8.5). With an inverse of L
  // it would grow with the condition of L.
  static double right_error(const Matrix<S>& l, const Matrix<S>& x, const Matrix<S>& b) {
    auto residual = widened(b);
    testing::gemm<Wide<S>>(-1.0, widened(x), Op::conj_transpose, widened(l), residual);
    return frobenius(residual) / (n_eps<S>(l.rows()) * frobenius(x) * frobenius(l));
  }
};

using DiagonalBlockScalars = ::testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(DiagonalBlock, DiagonalBlockScalars);

// Orders around multiples of the widths of tiles, 16 and 32.
TYPED_TEST(DiagonalBlock, IsFactoredInPlace) {
  for (const std::int64_t n : {1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 200, 257, 512, 1000}) {
    SCOPED_TRACE(n);
    const auto a = positive_definite<TypeParam>(n, 1);
    const auto found = this->factor(lower_only(a));
    EXPECT_EQ(found.failed, 0);
    EXPECT_LE(factor_error(a, lower_triangle(found.l)), 2);
    if (n > cuda::largest_own_potrf<TypeParam>) continue;  // cuSOLVER may write there
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = 0; i < j; ++i) ASSERT_TRUE(std::isnan(std::real(found.l(i, j)))) << i << ", " << j;
    }
  }
}

// The condition is 1 / (20 n eps), near the largest for which A is positive definite in working precision.
TYPED_TEST(DiagonalBlock, OfASmoothKernelIsFactoredAndSolvedWithStably) {
  using T = TypeParam;
  for (const std::int64_t n : {100, 513, 1000}) {
    SCOPED_TRACE(n);
    const std::int64_t rows = 70;
    const auto whole = kernel<T>(n + rows, 20, 20 * n_eps<T>(n) * 50);
    Matrix<T> a(n, n), b(rows, n);
    for (std::int64_t j = 0; j < n; ++j) {
      std::copy_n(&whole(0, j), n, &a(0, j));
      std::copy_n(&whole(n, j), rows, &b(0, j));
    }
    const auto found = this->factor(a);
    const auto l = lower_triangle(found.l);
    EXPECT_EQ(found.failed, 0);
    EXPECT_LE(factor_error(a, l), 2);
    EXPECT_LE(this->right_error(l, this->solve(l, b), b), 3);
  }
}

TYPED_TEST(DiagonalBlock, InfoIsTheFailingMinorAtEveryPosition) {
  using T = TypeParam;
  const std::int64_t n = 70;
  std::vector<Matrix<T>> negative, zero, not_finite;
  for (std::int64_t minor = 1; minor <= n; ++minor) {
    negative.push_back(indefinite_from<T>(n, minor, 2));
    negative.back()(n - 1, n - 1) = T(-1);  // a later failure, too
    zero.push_back(Matrix<T>(n, n));
    for (std::int64_t i = 0; i < n; ++i) zero.back()(i, i) = T(i + 1 == minor ? 0 : 4);
    not_finite.push_back(positive_definite<T>(n, 3));
    not_finite.back()(minor - 1, (minor - 1) / 2) = not_a_number<T>();
  }
  for (const auto& matrices : {negative, zero, not_finite}) {
    const auto found = this->factor(matrices);
    for (std::int64_t minor = 1; minor <= n; ++minor) {
      EXPECT_EQ(found[static_cast<std::size_t>(minor - 1)].failed, minor);
    }
  }
}

// Square roots of the smallest numbers are exact, and scaling by powers of two changes no digit.
TYPED_TEST(DiagonalBlock, TinyPivotsAreFactored) {
  using T = TypeParam;
  using R = Real<T>;
  const std::int64_t n = 40;
  const R least = std::numeric_limits<R>::denorm_min();
  Matrix<T> a(n, n), expected(n, n);
  for (std::int64_t i = 0; i < n; ++i) {
    a(i, i) = T(static_cast<R>(i + 1) * least);
    expected(i, i) = T(std::sqrt(static_cast<R>(i + 1) * least));
  }
  const auto found = this->factor(a);
  EXPECT_EQ(found.failed, 0);
  EXPECT_EQ(lower_triangle(found.l), expected);
}

// All numbers of rows per thread block, and more rows than the kernel takes.
TYPED_TEST(DiagonalBlock, SolvesFromTheRight) {
  using T = TypeParam;
  for (const std::int64_t n : {1, 2, 16, 31, 32, 33, 64, 100}) {
    auto l = positive_definite<T>(n, 4);
    ASSERT_EQ(lapack_potrf(l), 0);
    for (const std::int64_t rows :
         {std::int64_t{1}, std::int64_t{7}, std::int64_t{8}, std::int64_t{17}, std::int64_t{33}, std::int64_t{100},
          cuda::few_rows_of_own_solve + 1, cuda::most_rows_of_own_solve<T>(n) + 1}) {
      SCOPED_TRACE(::testing::Message() << rows << " x " << n);
      const auto b = random_matrix<T>(rows, n, 5);
      EXPECT_LE(this->right_error(lower_triangle(l), this->solve(lower_only(l), b), b), 3);
    }
  }
}

// Many columns, whose last tile is full or not, by both kernels. The error of a row does not depend on the other rows:
// some of them are enough.
TYPED_TEST(DiagonalBlock, SolvesManyColumnsFromTheRight) {
  using T = TypeParam;
  for (const std::int64_t n : {519, 1024}) {
    auto l = positive_definite<T>(n, 4);
    ASSERT_EQ(lapack_potrf(l), 0);
    for (const std::int64_t rows : {std::int64_t{5}, std::int64_t{33}, cuda::few_rows_of_own_solve + 9}) {
      SCOPED_TRACE(::testing::Message() << rows << " x " << n);
      const auto b = random_matrix<T>(rows, n, 5);
      const auto x = this->solve(lower_only(l), b);
      const std::int64_t some = std::min<std::int64_t>(rows, 40);
      for (const std::int64_t first : {std::int64_t{0}, rows - some}) {
        EXPECT_LE(this->right_error(lower_triangle(l), rows_of(x, first, some), rows_of(b, first, some)), 3);
      }
    }
  }
}

// A number that is not finite spoils its row from its column on, and no other element.
TYPED_TEST(DiagonalBlock, SolvesKeepNumbersThatAreNotFiniteInTheirRows) {
  using T = TypeParam;
  const std::int64_t n = 139, rows = 70;
  auto l = positive_definite<T>(n, 4);
  ASSERT_EQ(lapack_potrf(l), 0);
  const auto b = random_matrix<T>(rows, n, 5);
  const auto expected = this->solve(l, b);
  for (const Real<T> number : {std::numeric_limits<Real<T>>::quiet_NaN(), std::numeric_limits<Real<T>>::infinity()}) {
    for (const std::int64_t column : {0, 15, 37, 95, 138}) {
      for (const std::int64_t row : {0, 31, 69}) {
        SCOPED_TRACE(::testing::Message() << number << " in " << row << ", " << column);
        auto spoilt = b;
        spoilt(row, column) = T(number);
        const auto x = this->solve(l, spoilt);
        for (std::int64_t j = 0; j < n; ++j) {
          for (std::int64_t i = 0; i < rows; ++i) {
            if (i == row && j >= column) {
              ASSERT_FALSE(std::isfinite(std::abs(x(i, j)))) << i << ", " << j;
            } else {
              ASSERT_EQ(x(i, j), expected(i, j)) << i << ", " << j;
            }
          }
        }
      }
    }
  }
}

// In the last tile of the longest block that the kernel takes and that does not fill it, and in the tile before.
TYPED_TEST(DiagonalBlock, InfoIsTheFailingMinorOfALongBlock) {
  using T = TypeParam;
  const std::int64_t n = cuda::largest_own_potrf<T> - 24;
  const auto a = positive_definite<T>(n, 2);
  std::vector<Matrix<T>> matrices;
  std::vector<std::int64_t> minors;
  for (const std::int64_t minor : {n - 8, n - 7, n - 3, n}) {
    auto& negative = matrices.emplace_back(a);
    negative(minor - 1, minor - 1) = -negative(minor - 1, minor - 1);
    matrices.emplace_back(a)(minor - 1, minor / 2) = not_a_number<T>();
    matrices.emplace_back(a)(minor - 1, minor / 2) = T(std::numeric_limits<Real<T>>::infinity());
    minors.insert(minors.end(), 3, minor);
  }
  const auto found = this->factor(matrices);
  for (std::size_t k = 0; k < minors.size(); ++k) EXPECT_EQ(found[k].failed, minors[k]) << "matrix " << k;
}

// Results do not depend on the order in which thread blocks run.
TYPED_TEST(DiagonalBlock, IsFactoredReproducibly) {
  const auto a = positive_definite<TypeParam>(std::min<std::int64_t>(500, cuda::largest_own_potrf<TypeParam>), 6);
  const auto found = this->factor(std::vector(20, a));
  for (const auto& again : found) EXPECT_EQ(lower_triangle(again.l), lower_triangle(found[0].l));
}

}  // namespace
}  // namespace jaxmg::testing
