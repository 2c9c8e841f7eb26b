// Typed tests, written once for all kinds of ranks (see ranks.h) and all scalar types.
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

// Case<S> for each scalar type S. Sanitizers are slow, and all types share the same templates: sanitizer builds define
// JAXMG_FEW_SCALARS and compile one real and one complex type, one of each precision, as algorithms/instances.h does.
// ThreadSanitizer looks for races between ranks, on which the type has no bearing: one is enough.
#if defined(__SANITIZE_THREAD__)
template <template <class> class Case>
using ForAllScalars = ::testing::Types<Case<double>>;
template <template <class> class Case>
using ForRealScalars = ::testing::Types<Case<double>>;
#elif defined(JAXMG_FEW_SCALARS)
template <template <class> class Case>
using ForAllScalars = ::testing::Types<Case<double>, Case<std::complex<float>>>;
template <template <class> class Case>
using ForRealScalars = ::testing::Types<Case<double>>;
#else
template <template <class> class Case>
using ForAllScalars =
    ::testing::Types<Case<float>, Case<double>, Case<std::complex<float>>, Case<std::complex<double>>>;
template <template <class> class Case>
using ForRealScalars = ::testing::Types<Case<float>, Case<double>>;
#endif

// On<Ranks, S> as a template of the scalar type alone.
template <class Ranks>
struct OnRanks {
  template <class S>
  using With = On<Ranks, S>;
};

template <class Ranks>
using OnAllScalars = ForAllScalars<OnRanks<Ranks>::template With>;
template <class Ranks>
using OnRealScalars = ForRealScalars<OnRanks<Ranks>::template With>;

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
