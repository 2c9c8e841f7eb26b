#include "algorithms/cuda/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_EIGEN, , cuda::CudaEngine)
JAXMG_FOR_REAL_SCALARS(JAXMG_TRIDIAGONAL, , cuda::CudaEngine)

}  // namespace jaxmg
