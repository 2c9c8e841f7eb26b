// Roots of the secular equation, and the eigenvectors computed from them.
#include "engine/secular.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/larger.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {
namespace {

template <class R>
struct Problem {
  std::string name;
  std::vector<R> d, z;
  R rho;

  int size() const { return static_cast<int>(d.size()); }
};

// Problems as deflation leaves them: norm of z 1, rho |z_j| and gaps above 8 eps.
template <class R>
std::vector<Problem<R>> problems(int size) {
  constexpr double tolerance = 16 * static_cast<double>(unit_roundoff<R>());
  std::mt19937 random(static_cast<unsigned>(size));
  std::uniform_real_distribution<double> spread(-1, 1);
  const auto any = [&](int) { return spread(random); };
  const auto ones = [](int) { return 1.0; };
  // Weights of all magnitudes; every third one is large, and none vanishes once the norm is 1.
  const auto uneven = [&](int i) {
    return i % 3 == 0 ? 1.0 : std::pow(tolerance * 1e3, std::fabs(spread(random))) * (i % 2 == 0 ? 1 : -1);
  };
  std::vector<Problem<R>> all;
  const auto add = [&](const char* name, auto&& pole, auto&& weight, double rho) {
    Problem<R> p{name, {}, {}, static_cast<R>(rho)};
    std::vector<double> poles, weights;
    for (int i = 0; i < size; ++i) poles.push_back(pole(i));
    for (int i = 0; i < size; ++i) weights.push_back(weight(i));
    std::sort(poles.begin(), poles.end());
    double norm = 0;
    for (const double w : weights) norm = std::hypot(norm, w);
    for (int i = 0; i < size; ++i) {
      p.d.push_back(static_cast<R>(poles[static_cast<std::size_t>(i)]));
      p.z.push_back(static_cast<R>(weights[static_cast<std::size_t>(i)] / norm));
    }
    all.push_back(std::move(p));
  };
  const auto even = [&](int i) { return static_cast<double>(i) / size; };
  const auto close = [&](int i) { return i * tolerance; };
  const auto pairs = [&](int i) { return even(i - i % 2) + i % 2 * tolerance; };
  const auto graded = [&](int i) { return std::pow(tolerance * 1e2, 1 - even(i)); };
  for (const double rho : {2.0, 1.0, 1e-2}) {
    add("even poles", even, ones, rho);
    add("even poles, random weights", even, any, rho);
    add("even poles, uneven weights", even, uneven, rho);
    add("poles as close as possible", close, any, rho);
    add("close pairs of poles", pairs, any, rho);
    add("close pairs of poles, uneven weights", pairs, uneven, rho);
    add("graded poles", graded, any, rho);
  }
  return all;
}

// One lane that counts how often the equation is evaluated: four sums each time.
struct CountingLane : OneLane {
  int* sums;

  explicit CountingLane(int* count) : sums(count) {}
  template <class Real>
  Real sum(Real x) const {
    ++*sums;
    return x;
  }
};

template <class R>
class SecularEquation : public ::testing::Test {};

using Reals = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SecularEquation, Reals);

TYPED_TEST(SecularEquation, RootsInterlaceAndConvergeFast) {
  using R = TypeParam;
  for (const int size : {1, 2, 3, 10, 100, 300}) {
    for (const auto& p : problems<R>(size)) {
      SCOPED_TRACE(::testing::Message() << p.name << ", order " << size << ", rho " << p.rho);
      for (int i = 0; i < size; ++i) {
        int sums = 0;
        const Root<R> root = secular_root(size, p.d.data(), p.z.data(), p.rho, i, CountingLane(&sums));
        const auto k = static_cast<std::size_t>(i);
        ASSERT_TRUE(root.converged);
        // Quadratic convergence takes a handful, a bad start some halvings of the exponent more.
        EXPECT_LE(sums / 4, 20);
        EXPECT_TRUE(root.origin == i || root.origin == i + 1);
        EXPECT_EQ(root.tau > 0, root.origin == i);
        const R value = p.d[static_cast<std::size_t>(root.origin)] + root.tau;
        EXPECT_GE(value, p.d[k]);
        if (i + 1 < size) {
          EXPECT_LE(value, p.d[k + 1]);
        }
      }
    }
  }
}

// Gu and Eisenstat's theorem: the roots are exact for weights that differ by O(eps) from the given ones, and with those
// the eigenvectors are orthogonal. Each of the 2 K factors of zhat_j^2, and each of the K terms of a dot product, adds
// a few eps.
TYPED_TEST(SecularEquation, EigenvectorsAreOrthogonal) {
  using R = TypeParam;
  const double eps = static_cast<double>(std::numeric_limits<R>::epsilon());
  for (const int size : {1, 2, 3, 10, 100, 300}) {
    for (const auto& p : problems<R>(size)) {
      SCOPED_TRACE(::testing::Message() << p.name << ", order " << size << ", rho " << p.rho);
      std::vector<int> origin;
      std::vector<R> tau, zhat;
      for (int i = 0; i < size; ++i) {
        const Root<R> root = secular_root(size, p.d.data(), p.z.data(), p.rho, i, OneLane{});
        origin.push_back(root.origin);
        tau.push_back(root.tau);
      }
      for (int j = 0; j < size; ++j) {
        zhat.push_back(secular_weight(size, p.d.data(), p.z.data(), p.rho, origin.data(), tau.data(), j, OneLane{}));
        const auto k = static_cast<std::size_t>(j);
        EXPECT_LE(std::fabs(static_cast<double>(zhat[k]) - static_cast<double>(p.z[k])), 4 * size * eps);
      }
      std::vector<std::vector<double>> s;
      for (int i = 0; i < size; ++i) {
        const auto k = static_cast<std::size_t>(i);
        const R norm = secular_norm(size, p.d.data(), zhat.data(), origin[k], tau[k], OneLane{});
        std::vector<double> column;
        for (int j = 0; j < size; ++j) {
          column.push_back(static_cast<double>(zhat[static_cast<std::size_t>(j)] /
                                               pole_distance(p.d.data(), j, origin[k], tau[k]) / norm));
        }
        s.push_back(std::move(column));
      }
      double worst = 0;
      for (std::size_t a = 0; a < s.size(); ++a) {
        for (std::size_t b = 0; b <= a; ++b) {
          double dot = a == b ? -1 : 0;
          for (std::size_t j = 0; j < s.size(); ++j) dot += s[a][j] * s[b][j];
          worst = larger_or_nan(worst, std::fabs(dot));
        }
      }
      EXPECT_LE(worst, 4 * size * eps);
    }
  }
}

TYPED_TEST(SecularEquation, NanTerminates) {
  using R = TypeParam;
  for (auto p : problems<R>(10)) {
    p.z[4] = std::numeric_limits<R>::quiet_NaN();
    for (int i = 0; i < 10; ++i) {
      EXPECT_FALSE(secular_root(10, p.d.data(), p.z.data(), p.rho, i, OneLane{}).converged);
    }
  }
}

}  // namespace
}  // namespace jaxmg::testing
