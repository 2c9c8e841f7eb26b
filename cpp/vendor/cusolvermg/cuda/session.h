// Session of NVIDIA's cuSOLVERMg, which is loaded on first use: one thread drives all GPUs of a matrix whose columns
// are dealt in blocks. (cuSOLVER library documentation, "cuSolverMG API Reference"; deprecated since CUDA 13.0.)
#pragma once

#include <cuda_runtime_api.h>
#include <library_types.h>
// Silences the deprecation warning, which addresses new programs.
#define DISABLE_CUSOLVERMG_DEPRECATED
#include <cusolverMg.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vendor/cusolvermg/dealt_columns.h"

namespace jaxmg::cuda {

// visit(function, its name in the library)
// clang-format off
#define JAXMG_CUSOLVERMG(visit)                        \
  visit(create, Create)                                \
  visit(destroy, Destroy)                              \
  visit(device_select, DeviceSelect)                   \
  visit(create_device_grid, CreateDeviceGrid)          \
  visit(destroy_grid, DestroyGrid)                     \
  visit(create_matrix_desc, CreateMatrixDesc)          \
  visit(destroy_matrix_desc, DestroyMatrixDesc)        \
  visit(potrf_buffer_size, Potrf_bufferSize)           \
  visit(potrf, Potrf)                                  \
  visit(potrs_buffer_size, Potrs_bufferSize)           \
  visit(potrs, Potrs)                                  \
  visit(potri_buffer_size, Potri_bufferSize)           \
  visit(potri, Potri)                                  \
  visit(syevd_buffer_size, Syevd_bufferSize)           \
  visit(syevd, Syevd)
// clang-format on

// The functions of the library, resolved at run time: nothing links it.
struct CusolverMg {
#define JAXMG_MEMBER(function, name) decltype(&cusolverMg##name) function;
  JAXMG_CUSOLVERMG(JAXMG_MEMBER)
#undef JAXMG_MEMBER
  // Throws Error on every call if the library cannot be loaded.
  static const CusolverMg& instance();
  // Version of the cuSOLVER that contains it: 10000 major + 100 minor + patch.
  static int version();
};

// A handle and a grid of devices. One thread at a time may use it; the thread's current device is preserved.
class CusolverMgSession {
 public:
  CusolverMgSession() = default;
  ~CusolverMgSession();
  CusolverMgSession(const CusolverMgSession&) = delete;
  CusolverMgSession& operator=(const CusolverMgSession&) = delete;

  // Call first; later calls do nothing.
  void open(const std::vector<int>& devices);

  // Bytes of workspace on each device.
  std::int64_t potrf_bytes(DealtColumns& a);
  std::int64_t potrs_bytes(DealtColumns& a, DealtColumns& b);
  std::int64_t potri_bytes(DealtColumns& a);
  std::int64_t syevd_bytes(DealtColumns& a, bool vectors);

  // LAPACK's routines on the lower triangle; they return when the devices are done. syevd overwrites A with the
  // eigenvectors.
  void potrf(DealtColumns& a, DealtWorkspace& work);
  void potrs(DealtColumns& a, DealtColumns& b, DealtWorkspace& work);
  void potri(DealtColumns& a, DealtWorkspace& work);
  void syevd(DealtColumns& a, bool vectors, DealtWorkspace& work);

  // LAPACK's info of the last routine.
  int info() const { return info_; }
  // The eigenvalues of the last syevd, in ascending order, in the real type of the matrix.
  const std::byte* eigenvalues() const { return eigenvalues_.data(); }

 private:
  void finish(cusolverStatus_t status, const char* routine);

  cusolverMgHandle_t handle_ = nullptr;
  cudaLibMgGrid_t grid_ = nullptr;
  std::vector<int> devices_;
  std::vector<std::byte> eigenvalues_;
  int info_ = 0;
};

}  // namespace jaxmg::cuda
