// The routines, and the backends that serve them. A new routine is a record and a line in this list.
#pragma once

#include "routines/diagonal.h"
#include "routines/equilibrate.h"
#include "routines/geqrf.h"
#include "routines/gesv.h"
#include "routines/gesvd.h"
#include "routines/getrf.h"
#include "routines/getri.h"
#include "routines/getrs.h"
#include "routines/getsls.h"
#include "routines/hemm.h"
#include "routines/lower.h"
#include "routines/orgqr.h"
#include "routines/ormqr.h"
#include "routines/polar.h"
#include "routines/posv.h"
#include "routines/potrf.h"
#include "routines/potri.h"
#include "routines/potrs.h"
#include "routines/rtrs.h"
#include "routines/seminormal.h"
#include "routines/serve.h"
#include "routines/served/cusolvermg/cholesky.h"
#include "routines/served/cusolvermg/eigen.h"
#include "routines/served/cusolvermg/lu.h"
#include "routines/served/cusolvermp/cholesky.h"
#include "routines/served/cusolvermp/eigen.h"
#include "routines/served/cusolvermp/lu.h"
#include "routines/served/cusolvermp/qr.h"
#include "routines/served/cusolvermp/svd.h"
#include "routines/syevd.h"
#include "routines/tall_gels.h"
#include "routines/trtrs.h"
#include "routines/tsqr.h"
#include "routines/upper.h"

namespace jaxmg {

// Plans name a routine by its place here.
using Routines = List<routines::Posv,        //
                      routines::Potrf,       //
                      routines::Potrs,       //
                      routines::Potri,       //
                      routines::Lower,       //
                      routines::Diagonal,    //
                      routines::Syevd,       //
                      routines::Gesv,        //
                      routines::Getrf,       //
                      routines::Getrs,       //
                      routines::Getri,       //
                      routines::Trtrs,       //
                      routines::Geqrf,       //
                      routines::Ormqr,       //
                      routines::Orgqr,       //
                      routines::Upper,       //
                      routines::Rtrs,        //
                      routines::Tsqr,        //
                      routines::Polar,       //
                      routines::Gesvd,       //
                      routines::Hemm,        //
                      routines::TallGels,    //
                      routines::Seminormal,  //
                      routines::Getsls,      //
                      routines::Equilibrate>;

}  // namespace jaxmg
