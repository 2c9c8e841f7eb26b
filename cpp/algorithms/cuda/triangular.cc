#include "algorithms/cuda/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_TRIANGULAR, , cuda::CudaEngine)

}  // namespace jaxmg
