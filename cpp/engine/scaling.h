// Scale factor applied to a Hermitian matrix before the eigensolver.
#pragma once

#include "engine/portable.h"

namespace jaxmg {

// Sums of squares below this, safmin / eps, have lost digits to underflow, and vectors with such sums count as zero.
template <class Real>
JAXMG_PORTABLE constexpr Real least_squares_sum() {
  return sizeof(Real) == 8 ? Real(0x1p-969) : Real(0x1p-102);
}

// The reduction of a matrix forms squares without further scaling. If its norm is at least rmin = sqrt(safmin / eps) /
// eps, elements that count as zero are below eps times the norm; if it is at most 1 / rmin, no square overflows. A
// power of two brings other norms near 1 without rounding errors. Returns 1 where no scaling is needed, and 0 for a
// norm that is not finite. (LAPACK's syevd allows norms down to sqrt(safmin / eps), since its nrm2 scales by itself.)
template <class Real>
JAXMG_PORTABLE Real scale_for(Real norm) {
  const Real rmin = sizeof(Real) == 8 ? Real(0x1p-431) : Real(0x1p-27);
  // Neither the power nor its reciprocal may leave the range of normal numbers.
  const Real most = sizeof(Real) == 8 ? Real(0x1p1021) : Real(0x1p125);
  if (norm == 0 || (norm >= rmin && norm <= 1 / rmin)) return 1;
  if (!(norm / 2 < norm)) return 0;  // NaN or infinite
  Real scale = 1;
  while (norm * scale < 1 && scale < most) scale *= 2;
  while (norm * scale >= 2 && scale > 1 / most) scale /= 2;
  return scale;
}

}  // namespace jaxmg
