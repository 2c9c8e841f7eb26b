// Queries of `python -m jaxmg doctor` to the CUDA library. Structs mirror those in python/jaxmg/_native/cuda.py; each
// function returns 0, or 1 with the reason in `message`.
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>
#include <nccl.h>

#include <cstdint>

#include "engine/cuda/check.h"
#include "engine/cuda/team.h"
#include "ffi/c_api.h"

// As 10000 major + 100 minor + patch.
struct jaxmg_cuda_versions_result {
  std::int64_t driver, cudart, cublas, cusolver, nccl;
};

struct jaxmg_cuda_link_result {
  std::int64_t access;   // one device reads and writes the memory of the other
  std::int64_t atomics;  // also by atomics: over NVLink, not over PCI Express
};

namespace jaxmg {
namespace {

// CUDA has 1000 major + 10 minor.
std::int64_t from_cuda(int version) { return version / 1000 * 10000 + version % 1000 / 10 * 100; }

// `get(kind, &value)` is the library's own function.
template <class Get>
std::int64_t from_parts(Get&& get) {
  int major = 0, minor = 0, patch = 0;
  JAXMG_CHECK(get(MAJOR_VERSION, &major));
  JAXMG_CHECK(get(MINOR_VERSION, &minor));
  JAXMG_CHECK(get(PATCH_LEVEL, &patch));
  return 10000 * std::int64_t{major} + 100 * minor + patch;
}

}  // namespace
}  // namespace jaxmg

// Versions of the loaded libraries, and the latest CUDA that the driver supports.
JAXMG_EXPORT int jaxmg_cuda_versions(jaxmg_cuda_versions_result* result, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] {
    int driver = 0, runtime = 0, nccl = 0;
    JAXMG_CHECK(cudaDriverGetVersion(&driver));
    JAXMG_CHECK(cudaRuntimeGetVersion(&runtime));
    JAXMG_CHECK(ncclGetVersion(&nccl));
    *result = {jaxmg::from_cuda(driver), jaxmg::from_cuda(runtime), jaxmg::from_parts(cublasGetProperty),
               jaxmg::from_parts(cusolverGetProperty), nccl};
  });
}

// Peer access between two devices, given by their CUDA indices.
JAXMG_EXPORT int jaxmg_cuda_link(std::int64_t from, std::int64_t to, jaxmg_cuda_link_result* result, char* message,
                                 std::int64_t message_size) {
  return jaxmg::answered(message, message_size, [&] {
    const int device = static_cast<int>(from), other = static_cast<int>(to);
    int access = 0, atomics = 0;
    JAXMG_CHECK(cudaDeviceCanAccessPeer(&access, device, other));
    JAXMG_CHECK(cudaDeviceGetP2PAttribute(&atomics, cudaDevP2PAttrNativeAtomicSupported, device, other));
    *result = {access, atomics};
  });
}

// How the GPUs of several processes exchanged blocks in the last call of this process, as a text; empty before it.
JAXMG_EXPORT int jaxmg_cuda_exchange(char* text, std::int64_t text_size, char* message, std::int64_t message_size) {
  return jaxmg::answered(message, message_size,
                         [&] { jaxmg::write_text(jaxmg::cuda::last_exchange_between_processes(), text, text_size); });
}
