// By what a Hermitian matrix is scaled before its eigenvalues are sought.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace jaxmg {

// Squares are formed freely while a matrix is reduced. Between rmin and rmax neither they nor sums of many of them
// overflow, and entries whose squares underflow are below eps times the norm. (LAPACK's syevd may go down to
// sqrt(safmin / eps), since its nrm2 scales on its own; this is sqrt(safmin) / eps.) A power of two brings other
// norms near 1 without a rounding error.
template <class Real>
Real scale_for(Real norm) {
  using Limits = std::numeric_limits<Real>;
  const Real rmin = std::sqrt(Limits::min()) / Limits::epsilon(), rmax = 1 / rmin;
  if (!std::isfinite(norm)) return 0;
  if (norm == 0 || (norm >= rmin && norm <= rmax)) return 1;
  // Neither the power nor its reciprocal may leave the range of normal numbers.
  return std::ldexp(Real(1), std::clamp(-std::ilogb(norm), Limits::min_exponent, Limits::max_exponent - 2));
}

}  // namespace jaxmg
