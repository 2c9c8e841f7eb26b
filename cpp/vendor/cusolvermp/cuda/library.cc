#include "vendor/cusolvermp/cuda/library.h"

#include <dlfcn.h>

#include <string>

#include "core/error.h"
#include "engine/cuda/check.h"

namespace jaxmg::cuda {
namespace {

// The soname of all releases so far, for CUDA 12 and 13 alike.
constexpr const char* soname = "libcusolverMp.so.0";

[[noreturn]] void unusable(const std::string& why) {
  throw Error(ErrorCode::invalid_argument, "cuSOLVERMp cannot be used: " + why);
}

std::string text(int nccl_version) {
  return std::to_string(nccl_version / 10000) + '.' + std::to_string(nccl_version / 100 % 100) + '.' +
         std::to_string(nccl_version % 100);
}

// Checks the version of NCCL, which the process has loaded before, as XLA and this library link it. An older version
// would otherwise show up as a missing symbol.
void check_nccl() {
  int version = 0;
  JAXMG_CHECK(ncclGetVersion(&version));
  void* const nccl = dlopen("libnccl.so.2", RTLD_LAZY | RTLD_NOLOAD);
  const bool enough = dlsym(nccl != nullptr ? nccl : RTLD_DEFAULT, "ncclCommQueryProperties") != nullptr;
  if (nccl != nullptr) dlclose(nccl);
  if (!enough) {
    unusable("it requires NCCL 2.29 or newer, but this process has loaded NCCL " + text(version) +
             "; install a newer nvidia-nccl-cu" + std::to_string(CUDART_VERSION / 1000) + " (2.29.2 or newer)");
  }
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) unusable(std::string(soname) + " has no " + name + "; it requires version 0.9 or newer");
}

template <class Function>
void find_newer(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
}

CusolverMpLibrary load() {
  check_nccl();
  void* const library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const std::string why = dlerror();
    unusable(why + "; install nvidia-cusolvermp-cu" + std::to_string(CUDART_VERSION / 1000));
  }
  CusolverMpLibrary functions{};
  find(library, "cusolverMpCreate", functions.create);
  find(library, "cusolverMpDestroy", functions.destroy);
  find(library, "cusolverMpGetVersion", functions.get_version);
  find(library, "cusolverMpCreateDeviceGrid", functions.create_grid);
  find(library, "cusolverMpCreateMatrixDesc", functions.create_description);
  find(library, "cusolverMpDestroyMatrixDesc", functions.destroy_description);
  find(library, "cusolverMpPotrf_bufferSize", functions.potrf_size);
  find(library, "cusolverMpPotrf", functions.potrf);
  find(library, "cusolverMpPotrs_bufferSize", functions.potrs_size);
  find(library, "cusolverMpPotrs", functions.potrs);
  find(library, "cusolverMpGetrf_bufferSize", functions.getrf_size);
  find(library, "cusolverMpGetrf", functions.getrf);
  find(library, "cusolverMpGetrs_bufferSize", functions.getrs_size);
  find(library, "cusolverMpGetrs", functions.getrs);
  find(library, "cusolverMpSyevd_bufferSize", functions.syevd_size);
  find(library, "cusolverMpSyevd", functions.syevd);
  find(library, "cusolverMpGeqrf_bufferSize", functions.geqrf_size);
  find(library, "cusolverMpGeqrf", functions.geqrf);
  find_newer(library, "cusolverMpGesvd_bufferSize", functions.gesvd_size);
  find_newer(library, "cusolverMpGesvd", functions.gesvd);
  find_newer(library, "cusolverMpPolar_bufferSize", functions.polar_size);
  find_newer(library, "cusolverMpPolar", functions.polar);
  return functions;
}

}  // namespace

const CusolverMpLibrary& CusolverMpLibrary::instance() {
  static const CusolverMpLibrary library = load();
  return library;
}

int CusolverMpLibrary::version() const {
  int device = 0, version = 0;
  Handle handle{};
  JAXMG_CHECK(cudaGetDevice(&device));
  JAXMG_CHECK(create(&handle, device, nullptr));
  const cusolverStatus_t asked = get_version(handle, &version);
  JAXMG_CHECK(destroy(handle));
  JAXMG_CHECK(asked);
  return version;
}

}  // namespace jaxmg::cuda
