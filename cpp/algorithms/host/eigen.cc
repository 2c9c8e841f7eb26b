#include "algorithms/host/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_EIGEN, , HostEngine)
JAXMG_FOR_REAL_SCALARS(JAXMG_TRIDIAGONAL, , HostEngine)

}  // namespace jaxmg
