// Tests that are written once for all kinds of ranks (see ranks.h) and all scalar types.
#pragma once

#include <complex>

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

}  // namespace jaxmg::testing
