#include "algorithms/cuda/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_CHOLESKY, , cuda::CudaEngine)

}  // namespace jaxmg
