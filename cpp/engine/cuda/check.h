// Checks of status codes of CUDA and its libraries, which throw Error.
#pragma once

#include <cublas_v2.h>
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>
#include <nccl.h>

#include <string>

#include "core/error.h"

namespace jaxmg::cuda {

[[noreturn]] inline void fail(const char* what, const std::string& why) {
  throw Error(ErrorCode::internal, std::string(what) + ": " + why);
}

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail(what, cudaGetErrorString(status));
}
inline void check(CUresult status, const char* what) {
  if (status != CUDA_SUCCESS) fail(what, "CUDA driver error " + std::to_string(static_cast<int>(status)));
}
inline void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(what, cublasGetStatusString(status));
}
inline void check(cusolverStatus_t status, const char* what) {
  if (status != CUSOLVER_STATUS_SUCCESS) fail(what, "cuSOLVER error " + std::to_string(static_cast<int>(status)));
}
inline void check(ncclResult_t status, const char* what) {
  if (status != ncclSuccess) fail(what, ncclGetErrorString(status));
}

}  // namespace jaxmg::cuda

#define JAXMG_CHECK(call) ::jaxmg::cuda::check(call, #call)
