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
#include "vendor/workspace.h"

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
  visit(getrf_buffer_size, Getrf_bufferSize)           \
  visit(getrf, Getrf)                                  \
  visit(getrs_buffer_size, Getrs_bufferSize)           \
  visit(getrs, Getrs)                                  \
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

  // LAPACK's routines, on the lower triangle of a Hermitian matrix; they return when the devices are done. With a
  // workspace that measures they only record the bytes that they need. syevd overwrites A with the eigenvectors; getrs
  // solves A X = B, and has no transpose.
  void potrf(DealtColumns& a, VendorWorkspace& work);
  void potrs(DealtColumns& a, DealtColumns& b, VendorWorkspace& work);
  void potri(DealtColumns& a, VendorWorkspace& work);
  void getrf(DealtColumns& a, DealtPivots& pivots, VendorWorkspace& work);
  void getrs(DealtColumns& a, DealtPivots& pivots, DealtColumns& b, VendorWorkspace& work);
  void syevd(DealtColumns& a, bool vectors, VendorWorkspace& work);

  // LAPACK's info of the last routine.
  int info() const { return info_; }
  // The eigenvalues of the last syevd, in ascending order, in the real type of the matrix.
  const std::byte* eigenvalues() const { return eigenvalues_.data(); }

 private:
  // Measures the workspace of a function of the library, by `size`, which takes the same arguments; or calls it.
  template <class Size, class Function, class... Arguments>
  void call(const char* routine, ScalarType type, VendorWorkspace& work, Size size, Function function,
            Arguments... arguments);

  cusolverMgHandle_t handle_ = nullptr;
  cudaLibMgGrid_t grid_ = nullptr;
  std::vector<int> devices_;
  std::vector<std::byte> eigenvalues_;
  int info_ = 0;
};

}  // namespace jaxmg::cuda
