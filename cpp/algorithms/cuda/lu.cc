#include "algorithms/cuda/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_LU, , cuda::CudaEngine)

}  // namespace jaxmg
