#include "algorithms/host/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_QR, , HostEngine)

}  // namespace jaxmg
