#include "engine/cuda/driver.h"

#include "engine/cuda/check.h"

namespace jaxmg::cuda {
namespace {

template <class Function>
void find(const char* name, Function& function) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 13000
  JAXMG_CHECK(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result));
#else
  JAXMG_CHECK(cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &result));
#endif
  if (result != cudaDriverEntryPointSuccess || found == nullptr) {
    fail(name, "the CUDA driver of this machine lacks this function; install a driver for CUDA 12.0 or newer");
  }
  function = reinterpret_cast<Function>(found);
}

Driver load() {
  Driver driver{};
  find("cuLibraryLoadData", driver.library_load);
  find("cuLibraryGetKernel", driver.library_get_kernel);
  find("cuLaunchKernel", driver.launch_kernel);
  find("cuLaunchCooperativeKernel", driver.launch_cooperative_kernel);
  find("cuOccupancyMaxActiveBlocksPerMultiprocessor", driver.occupancy_max_active_blocks);
  find("cuKernelSetAttribute", driver.kernel_set_attribute);
  find("cuStreamBatchMemOp", driver.stream_batch_mem_op);
  find("cuMemGetAddressRange", driver.mem_get_address_range);
  find("cuPointerGetAttribute", driver.pointer_get_attribute);
  find("cuMemRetainAllocationHandle", driver.mem_retain_allocation_handle);
  find("cuMemGetAllocationPropertiesFromHandle", driver.mem_get_allocation_properties);
  find("cuMemExportToShareableHandle", driver.mem_export);
  find("cuMemImportFromShareableHandle", driver.mem_import);
  find("cuMemCreate", driver.mem_create);
  find("cuMemRelease", driver.mem_release);
  find("cuMemAddressReserve", driver.mem_address_reserve);
  find("cuMemAddressFree", driver.mem_address_free);
  find("cuMemMap", driver.mem_map);
  find("cuMemUnmap", driver.mem_unmap);
  find("cuMemSetAccess", driver.mem_set_access);
  return driver;
}

}  // namespace

const Driver& Driver::instance() {
  static const Driver driver = load();
  return driver;
}

}  // namespace jaxmg::cuda
