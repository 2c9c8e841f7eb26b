// The functions of the CUDA driver that the engine uses, resolved at run time: nothing links libcuda.
#pragma once

#include <cuda.h>

#include <cstddef>

namespace jaxmg::cuda {

struct Driver {
  CUresult (*library_load)(CUlibrary*, const void*, CUjit_option*, void**, unsigned, CUlibraryOption*, void**,
                           unsigned);
  CUresult (*library_get_kernel)(CUkernel*, CUlibrary, const char*);
  CUresult (*launch_kernel)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
                            void**, void**);
  CUresult (*launch_cooperative_kernel)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                        unsigned, CUstream, void**);
  CUresult (*occupancy_max_active_blocks)(int*, CUfunction, int, std::size_t);  // on one multiprocessor
  CUresult (*kernel_set_attribute)(CUfunction_attribute, int, CUkernel, CUdevice);
  CUresult (*stream_batch_mem_op)(CUstream, unsigned, CUstreamBatchMemOpParams*, unsigned);

  CUresult (*mem_get_address_range)(CUdeviceptr*, std::size_t*, CUdeviceptr);
  CUresult (*pointer_get_attribute)(void*, CUpointer_attribute, CUdeviceptr);

  // Virtual memory management.
  CUresult (*mem_retain_allocation_handle)(CUmemGenericAllocationHandle*, void*);
  CUresult (*mem_get_allocation_properties)(CUmemAllocationProp*, CUmemGenericAllocationHandle);
  CUresult (*mem_export)(void*, CUmemGenericAllocationHandle, CUmemAllocationHandleType, unsigned long long);
  CUresult (*mem_import)(CUmemGenericAllocationHandle*, void*, CUmemAllocationHandleType);
  CUresult (*mem_create)(CUmemGenericAllocationHandle*, std::size_t, const CUmemAllocationProp*, unsigned long long);
  CUresult (*mem_release)(CUmemGenericAllocationHandle);
  CUresult (*mem_address_reserve)(CUdeviceptr*, std::size_t, std::size_t, CUdeviceptr, unsigned long long);
  CUresult (*mem_address_free)(CUdeviceptr, std::size_t);
  CUresult (*mem_map)(CUdeviceptr, std::size_t, std::size_t, CUmemGenericAllocationHandle, unsigned long long);
  CUresult (*mem_unmap)(CUdeviceptr, std::size_t);
  CUresult (*mem_set_access)(CUdeviceptr, std::size_t, const CUmemAccessDesc*, std::size_t);

  static const Driver& instance();
};

}  // namespace jaxmg::cuda
