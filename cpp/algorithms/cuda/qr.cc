#include "algorithms/cuda/instances.h"

namespace jaxmg {

JAXMG_FOR_ALL_SCALARS(JAXMG_QR, , cuda::CudaEngine)

}  // namespace jaxmg
