// Deflation reduces D + rho v v^T to an equivalent smaller problem.
#include "algorithms/eigen/deflation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"

namespace jaxmg::testing {
namespace {

// Two neighbouring subproblems whose eigenvectors are the identity: row i belongs to eigenvalue i.
struct Case {
  const char* name;
  double (*eigenvalue)(std::mt19937&);
  double (*weight)(std::mt19937&);
};

double any(std::mt19937& random) { return std::uniform_real_distribution<double>(-1, 1)(random); }
double few(std::mt19937& random) { return std::uniform_int_distribution<int>(0, 3)(random); }
double nearly_few(std::mt19937& random) { return few(random) + 1e-17 * any(random); }
double one(std::mt19937&) { return 1; }
double often_nothing(std::mt19937& random) { return few(random) < 2 ? 0 : any(random); }
double tiny(std::mt19937& random) { return 1e-20 * any(random); }

constexpr Case cases[] = {{"all different", any, any},
                          {"few eigenvalues", few, any},
                          {"clusters", nearly_few, any},
                          {"one eigenvalue", one, any},
                          {"weights that vanish", any, often_nothing},
                          {"few eigenvalues, weights that vanish", few, often_nothing},
                          {"nothing couples", any, tiny}};

template <class R>
class DeflationTest : public ::testing::Test {};

using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(DeflationTest, Reals);

TYPED_TEST(DeflationTest, PreservesTheProblem) {
  using R = TypeParam;
  const double eps = static_cast<double>(std::numeric_limits<R>::epsilon());
  for (const std::int64_t n : {2, 3, 9, 40}) {
    for (const R coupling : {R(0.7), R(-0.7), R(1e-3), R(0)}) {
      for (const Case& c : cases) {
        SCOPED_TRACE(::testing::Message() << c.name << ", order " << n << ", coupling " << coupling);
        const Halving merges{n, 1};
        const std::int64_t middle = merges.middle(0);
        std::mt19937 random(static_cast<unsigned>(n));
        Deflation<R> deflation(n);
        std::vector<double> value, v;
        for (std::int64_t i = 0; i < n; ++i) value.push_back(static_cast<double>(static_cast<R>(c.eigenvalue(random))));
        for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<double>(static_cast<R>(c.weight(random))));
        std::sort(value.begin(), value.begin() + middle);
        std::sort(value.begin() + middle, value.end());
        for (std::int64_t i = 0; i < n; ++i) {
          deflation.values()[i] = static_cast<R>(value[static_cast<std::size_t>(i)]);
          deflation.values()[n + i] = static_cast<R>(v[static_cast<std::size_t>(i)]);
          if (i >= middle && coupling < 0) v[static_cast<std::size_t>(i)] *= -1;
        }
        Arena measure;
        DeflationTables<R>(measure, n);
        std::vector<std::byte> memory(static_cast<std::size_t>(measure.used()));
        Arena arena(memory.data(), measure.used());
        DeflationTables<R> tables(arena, n);
        const int whole[] = {static_cast<int>(middle), static_cast<int>(n - middle)};
        deflation.sort({n, 2}, whole);
        const ColumnKinds kinds = deflation.merge(merges, 0, coupling, tables);
        const int kept = tables.kept[0];
        EXPECT_EQ(kinds.upper + kinds.dense + kinds.lower, kept);

        // G is the product of the chains, applied to the identity.
        Matrix<double> g(n, n, std::numeric_limits<double>::quiet_NaN());
        for (int chain = 0; chain < tables.chains.count; ++chain) {
          const int last = tables.chains.begin[chain + 1] - 1;
          std::vector<double> running(static_cast<std::size_t>(n), 0.0);
          running[static_cast<std::size_t>(tables.chains.source[tables.chains.begin[chain]])] = 1;
          for (int k = tables.chains.begin[chain]; k <= last; ++k) {
            const double cosine = static_cast<double>(tables.chains.cosine[k]);
            const double sine = static_cast<double>(tables.chains.sine[k]);
            for (std::int64_t i = 0; i < n; ++i) {
              double& x = running[static_cast<std::size_t>(i)];
              const double next = k < last && tables.chains.source[k + 1] == i ? 1 : 0;
              g(i, tables.chains.target[k]) = k < last ? cosine * x + sine * next : x;
              x = cosine * next - sine * x;
            }
          }
        }

        // D + rho v v^T - G (D' + rho z z^T) G^T, where the kept part is ordered by kinds.
        Matrix<double> difference(n, n), inner(n, n), product(n, n);
        const double rho = std::fabs(static_cast<double>(coupling));
        for (std::int64_t j = 0; j < n; ++j) {
          for (std::int64_t i = 0; i < n; ++i) {
            difference(i, j) = rho * v[static_cast<std::size_t>(i)] * v[static_cast<std::size_t>(j)];
            inner(i, j) = static_cast<double>(tables.rho[0]) * static_cast<double>(tables.z[tables.order[i]]) *
                          static_cast<double>(tables.z[tables.order[j]]);
          }
          difference(j, j) += value[static_cast<std::size_t>(j)];
          inner(j, j) += static_cast<double>(tables.d[tables.order[j]]);
        }
        const double norm = std::max(1.0, frobenius(difference));
        gemm(1.0, g, Op::none, inner, product);
        gemm(-1.0, product, Op::conj_transpose, g, difference);
        EXPECT_LE(frobenius(difference) / norm, 16 * static_cast<double>(n) * eps);

        // Columns are zero in the rows that their kind declares, and poles ascend by more than rounding errors.
        for (std::int64_t i = 0; i < n; ++i) {
          for (std::int64_t j = 0; j < kept; ++j) {
            const bool nothing = (j < kinds.upper && i >= middle) || (j >= kinds.upper + kinds.dense && i < middle);
            if (nothing) {
              EXPECT_EQ(g(i, j), 0);
            }
          }
        }
        for (int j = 0; j + 1 < kept; ++j) EXPECT_GT(tables.d[j + 1], tables.d[j]);
        for (int j = 0; j < kept; ++j) EXPECT_NE(tables.z[j], 0);
        for (std::int64_t j = kept; j + 1 < n; ++j) EXPECT_LE(tables.d[j], tables.d[j + 1]);
      }
    }
  }
}

// Of any number of equal eigenvalues with equal weights, one is kept.
TYPED_TEST(DeflationTest, KeepsOneOfEqualEigenvalues) {
  using R = TypeParam;
  const std::int64_t n = 10;
  Deflation<R> deflation(n);
  std::fill_n(deflation.values(), 2 * n, R(1));
  Arena measure;
  DeflationTables<R>(measure, n);
  std::vector<std::byte> memory(static_cast<std::size_t>(measure.used()));
  Arena arena(memory.data(), measure.used());
  DeflationTables<R> tables(arena, n);
  const int whole[] = {5, 5};
  deflation.sort({n, 2}, whole);
  deflation.merge({n, 1}, 0, R(1), tables);
  EXPECT_EQ(tables.kept[0], 1);
  EXPECT_EQ(tables.chains.count, 1);
}

}  // namespace
}  // namespace jaxmg::testing
