// Explicit instantiation of the algorithms over an engine: a library compiles each once, and handlers and tests link
// it. Lists take `extern` to declare instances, and nothing to define them. A member defined inside its class is
// inline, and inline functions are compiled by every caller nevertheless: define outside the class what callers call.
//
// A new algorithm is a line in the list of its family.
#pragma once

#include <complex>

#include "algorithms/cholesky/hemm.h"
#include "algorithms/cholesky/potrf.h"
#include "algorithms/cholesky/potri.h"
#include "algorithms/eigen/back_transformation.h"
#include "algorithms/eigen/band_back_transformation.h"
#include "algorithms/eigen/band_reduction.h"
#include "algorithms/eigen/divide_and_conquer.h"
#include "algorithms/eigen/syevd.h"
#include "algorithms/lu/getrf.h"
#include "algorithms/lu/getri.h"
#include "algorithms/qr/geqrf.h"
#include "algorithms/qr/getsls.h"
#include "algorithms/qr/orgqr.h"
#include "algorithms/qr/ormqr.h"
#include "algorithms/qr/seminormal.h"
#include "algorithms/qr/tsqr.h"
#include "algorithms/svd/extreme_values.h"
#include "algorithms/svd/gesvd.h"
#include "algorithms/svd/polar.h"
#include "algorithms/svd/polar_factors.h"
#include "algorithms/svd/products.h"
#include "algorithms/triangular/trsm_few.h"
#include "algorithms/triangular/trsm_many.h"

// NOLINTBEGIN(bugprone-macro-parentheses): arguments are types and keywords.
#define JAXMG_TRIANGULAR(declare, E, T) \
  declare template class TrsmFew<T, E>; \
  declare template class TrsmMany<T, E>;

#define JAXMG_CHOLESKY(declare, E, T) \
  declare template class Hemm<T, E>;  \
  declare template class Potrf<T, E>; \
  declare template class Potri<T, E>;

#define JAXMG_LU(declare, E, T)       \
  declare template class Getrf<T, E>; \
  declare template class Getri<T, E>;

#define JAXMG_QR(declare, E, T)            \
  declare template class Geqrf<T, E>;      \
  declare template class Ormqr<T, E>;      \
  declare template class Orgqr<T, E>;      \
  declare template class Tsqr<T, E>;       \
  declare template class Seminormal<T, E>; \
  declare template class Getsls<T, E>;

#define JAXMG_EIGEN(declare, E, T)                     \
  declare template class BandReduction<T, E>;          \
  declare template class BackTransformation<T, E>;     \
  declare template class BandBackTransformation<T, E>; \
  declare template class Syevd<T, E>;

#define JAXMG_SVD(declare, E, T)              \
  declare template class Products<T, E>;      \
  declare template class ExtremeValues<T, E>; \
  declare template class Polar<T, E>;         \
  declare template class PolarFactors<T, E>;  \
  declare template class Gesvd<T, E>;

#define JAXMG_TRIDIAGONAL(declare, E, R) declare template class DivideAndConquer<R, E>;

// Sanitizer builds have instances for two scalar types, as tests/cpp/typed.h has.
#ifdef JAXMG_FEW_SCALARS
#define JAXMG_FOR_ALL_SCALARS(list, declare, E) list(declare, E, double) list(declare, E, std::complex<float>)
#else
#define JAXMG_FOR_ALL_SCALARS(list, declare, E)                                          \
  list(declare, E, float) list(declare, E, double) list(declare, E, std::complex<float>) \
      list(declare, E, std::complex<double>)
#endif
#define JAXMG_FOR_REAL_SCALARS(list, declare, E) list(declare, E, float) list(declare, E, double)

#define JAXMG_ALL_ALGORITHMS(declare, E)              \
  JAXMG_FOR_ALL_SCALARS(JAXMG_TRIANGULAR, declare, E) \
  JAXMG_FOR_ALL_SCALARS(JAXMG_CHOLESKY, declare, E)   \
  JAXMG_FOR_ALL_SCALARS(JAXMG_LU, declare, E)         \
  JAXMG_FOR_ALL_SCALARS(JAXMG_QR, declare, E)         \
  JAXMG_FOR_ALL_SCALARS(JAXMG_EIGEN, declare, E)      \
  JAXMG_FOR_ALL_SCALARS(JAXMG_SVD, declare, E)        \
  JAXMG_FOR_REAL_SCALARS(JAXMG_TRIDIAGONAL, declare, E)
// NOLINTEND(bugprone-macro-parentheses)
