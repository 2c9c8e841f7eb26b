#include "algorithms/host/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_TRIANGULAR, , HostEngine)
JAXMG_FOR_ALL_SCALARS(JAXMG_CHOLESKY, , HostEngine)

}  // namespace jaxmg
