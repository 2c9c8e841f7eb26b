#include "engine/cuda/launch.h"

extern const unsigned char jaxmg_kernels_image[];

namespace jaxmg::cuda {

CUkernel find_kernel(const std::string& name) {
  static const CUlibrary library = [] {
    CUlibrary loaded{};
    JAXMG_CHECK(
        Driver::instance().library_load(&loaded, jaxmg_kernels_image, nullptr, nullptr, 0, nullptr, nullptr, 0));
    return loaded;
  }();
  CUkernel kernel{};
  JAXMG_CHECK(Driver::instance().library_get_kernel(&kernel, library, ("jaxmg_" + name).c_str()));
  return kernel;
}

}  // namespace jaxmg::cuda
