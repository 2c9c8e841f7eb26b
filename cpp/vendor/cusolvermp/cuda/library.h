// The functions of cuSOLVERMp, resolved at run time: nothing links it. They are declared here because most build
// machines lack its header.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>
#include <nccl.h>

#include <cstddef>
#include <cstdint>

namespace jaxmg::cuda {

struct CusolverMpLibrary {
  // Opaque in the header, too.
  using Handle = struct CusolverMpHandle*;
  using Grid = struct CusolverMpGrid*;
  using Description = struct CusolverMpDescription*;

  enum class GridMapping : int { down_columns = 0, along_rows = 1 };

  cusolverStatus_t (*create)(Handle*, int device, cudaStream_t);
  cusolverStatus_t (*destroy)(Handle);
  cusolverStatus_t (*get_version)(Handle, int*);
  cusolverStatus_t (*create_grid)(Handle, Grid*, ncclComm_t, std::int32_t rows, std::int32_t columns, GridMapping);
  cusolverStatus_t (*create_description)(Description*, Grid, cudaDataType, std::int64_t m, std::int64_t n,
                                         std::int64_t mb, std::int64_t nb, std::uint32_t first_row,
                                         std::uint32_t first_column, std::int64_t ld);
  cusolverStatus_t (*destroy_description)(Description);

  // Row and column indices start at 1. Workspace sizes are in bytes, on the device and on the host.
  cusolverStatus_t (*potrf_size)(Handle, cublasFillMode_t, std::int64_t n, const void* a, std::int64_t ia,
                                 std::int64_t ja, Description, cudaDataType, std::size_t* device, std::size_t* host);
  cusolverStatus_t (*potrf)(Handle, cublasFillMode_t, std::int64_t n, void* a, std::int64_t ia, std::int64_t ja,
                            Description, cudaDataType, void* device, std::size_t device_bytes, void* host,
                            std::size_t host_bytes, int* info);
  cusolverStatus_t (*potrs_size)(Handle, cublasFillMode_t, std::int64_t n, std::int64_t nrhs, const void* a,
                                 std::int64_t ia, std::int64_t ja, Description, const void* b, std::int64_t ib,
                                 std::int64_t jb, Description, cudaDataType, std::size_t* device, std::size_t* host);
  cusolverStatus_t (*potrs)(Handle, cublasFillMode_t, std::int64_t n, std::int64_t nrhs, const void* a, std::int64_t ia,
                            std::int64_t ja, Description, void* b, std::int64_t ib, std::int64_t jb, Description,
                            cudaDataType, void* device, std::size_t device_bytes, void* host, std::size_t host_bytes,
                            int* info);
  cusolverStatus_t (*getrf_size)(Handle, std::int64_t m, std::int64_t n, void* a, std::int64_t ia, std::int64_t ja,
                                 Description, std::int64_t* pivots, cudaDataType, std::size_t* device,
                                 std::size_t* host);
  cusolverStatus_t (*getrf)(Handle, std::int64_t m, std::int64_t n, void* a, std::int64_t ia, std::int64_t ja,
                            Description, std::int64_t* pivots, cudaDataType, void* device, std::size_t device_bytes,
                            void* host, std::size_t host_bytes, int* info);
  cusolverStatus_t (*getrs_size)(Handle, cublasOperation_t, std::int64_t n, std::int64_t nrhs, const void* a,
                                 std::int64_t ia, std::int64_t ja, Description, const std::int64_t* pivots, void* b,
                                 std::int64_t ib, std::int64_t jb, Description, cudaDataType, std::size_t* device,
                                 std::size_t* host);
  cusolverStatus_t (*getrs)(Handle, cublasOperation_t, std::int64_t n, std::int64_t nrhs, const void* a,
                            std::int64_t ia, std::int64_t ja, Description, const std::int64_t* pivots, void* b,
                            std::int64_t ib, std::int64_t jb, Description, cudaDataType, void* device,
                            std::size_t device_bytes, void* host, std::size_t host_bytes, int* info);
  cusolverStatus_t (*syevd_size)(Handle, char* jobz, cublasFillMode_t, std::int64_t n, void* a, std::int64_t ia,
                                 std::int64_t ja, Description, void* w, void* q, std::int64_t iq, std::int64_t jq,
                                 Description, cudaDataType, std::size_t* device, std::size_t* host);
  cusolverStatus_t (*syevd)(Handle, char* jobz, cublasFillMode_t, std::int64_t n, void* a, std::int64_t ia,
                            std::int64_t ja, Description, void* w, void* q, std::int64_t iq, std::int64_t jq,
                            Description, cudaDataType, void* device, std::size_t device_bytes, void* host,
                            std::size_t host_bytes, int* info);

  cusolverStatus_t (*geqrf_size)(Handle, std::int64_t m, std::int64_t n, void* a, std::int64_t ia, std::int64_t ja,
                                 Description, cudaDataType, std::size_t* device, std::size_t* host);
  cusolverStatus_t (*geqrf)(Handle, std::int64_t m, std::int64_t n, void* a, std::int64_t ia, std::int64_t ja,
                            Description, void* tau, cudaDataType, void* device, std::size_t device_bytes, void* host,
                            std::size_t host_bytes, int* info);
  // Null in releases without them. `settings` may be null: the defaults.
  cusolverStatus_t (*gesvd_size)(Handle, void* settings, cusolverEigMode_t u_mode, cusolverEigMode_t vh_mode,
                                 std::int64_t m, std::int64_t n, const void* a, std::int64_t ia, std::int64_t ja,
                                 Description, const void* s, const void* u, std::int64_t iu, std::int64_t ju,
                                 Description, const void* vh, std::int64_t ivh, std::int64_t jvh, Description,
                                 cudaDataType, std::size_t* device, std::size_t* host);
  cusolverStatus_t (*gesvd)(Handle, void* settings, cusolverEigMode_t u_mode, cusolverEigMode_t vh_mode, std::int64_t m,
                            std::int64_t n, void* a, std::int64_t ia, std::int64_t ja, Description, void* s, void* u,
                            std::int64_t iu, std::int64_t ju, Description, void* vh, std::int64_t ivh, std::int64_t jvh,
                            Description, cudaDataType, void* device, std::size_t device_bytes, void* host,
                            std::size_t host_bytes, int* info);
  cusolverStatus_t (*polar_size)(Handle, void* settings, cublasFillMode_t, std::int64_t m, std::int64_t n,
                                 const void* a, std::int64_t ia, std::int64_t ja, Description, const void* h,
                                 std::int64_t ih, std::int64_t jh, Description, cudaDataType, std::size_t* device,
                                 std::size_t* host);
  cusolverStatus_t (*polar)(Handle, void* settings, cublasFillMode_t, std::int64_t m, std::int64_t n, void* a,
                            std::int64_t ia, std::int64_t ja, Description, void* h, std::int64_t ih, std::int64_t jh,
                            Description, cudaDataType, void* device, std::size_t device_bytes, void* host,
                            std::size_t host_bytes, int* info);

  // Loads it on first use. Throws Error with the reason if it is missing, or incompatible with the NCCL of this
  // process.
  static const CusolverMpLibrary& instance();

  // The library's version, 10000 major + 100 minor + patch. Creates a handle on the current device.
  int version() const;
};

}  // namespace jaxmg::cuda
