// What Python asks the CUDA library about vendors' backends.
#include <cstdint>

#include "engine/cuda/cusolvermp_library.h"
#include "ffi/c_api.h"

// Loads cuSOLVERMp and tells its version, 10000 major + 100 minor + patch. Returns 0, or 1 with the reason in
// `message`.
JAXMG_EXPORT int jaxmg_cusolvermp_load(std::int64_t* version, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size,
                         [&] { *version = jaxmg::cuda::CusolverMpLibrary::instance().version(); });
}
