#include "algorithms/cuda/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_SVD, , cuda::CudaEngine)

}  // namespace jaxmg
