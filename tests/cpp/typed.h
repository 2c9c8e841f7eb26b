// Tests that are written once for all kinds of ranks (see ranks.h) and all scalar types.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace jaxmg::testing {

// The parameter of a typed test.
template <class R, class S>
struct On {
  using Ranks = R;
  using Scalar = S;
};

template <class Ranks>
using OnAllScalars = ::testing::Types<On<Ranks, float>, On<Ranks, double>, On<Ranks, std::complex<float>>,
                                      On<Ranks, std::complex<double>>>;

// The half-bandwidths that the ranks' engines take.
template <class Engine, class T>
std::vector<std::int64_t> bandwidths() {
  if constexpr (requires { Engine::template bandwidths<T>(); }) {
    return Engine::template bandwidths<T>();
  } else {
    return {1, 2, 3, 8, 16, 64};
  }
}

}  // namespace jaxmg::testing
