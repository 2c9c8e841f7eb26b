// One rank's part in cuSOLVERMp, NVIDIA's distributed solver: a communicator of NCCL, grids of ranks, and calls.
//
// Every rank makes its own calls, in the same order as the others, be it alone in its process or one of its threads.
// Hermitian matrices are given by their lower triangles.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "comm/gathering.h"
#include "core/scalar.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/team.h"
#include "layout/block_cyclic.h"
#include "vendor/cusolvermp/cuda/library.h"
#include "vendor/workspace.h"

namespace jaxmg::cuda {

class CusolverMp final : public Resident {
 public:
  // On the current device; work goes into `stream`. Returns once all ranks have called it with the same id.
  CusolverMp(int ranks, int rank, const ncclUniqueId& id, cudaStream_t stream);
  ~CusolverMp() override { abandon(); }

  // The part of an engine's rank, which works in the lane `panel`. All ranks ask for it together; `id` are id_words
  // numbers through which rank 0 broadcasts how to meet, when it is made.
  static constexpr std::int64_t id_words = sizeof(ncclUniqueId) / sizeof(std::uint32_t);
  static CusolverMp& of(CudaEngine& engine, std::uint32_t* id);

  // At the begin of a call.
  void begin(Attendance& attendance, std::chrono::milliseconds timeout) {
    attendance_ = &attendance;
    timeout_ = timeout;
  }

  // They return LAPACK's info when the work is done. A workspace that measures gets bytes on the device, the same on
  // all ranks or not; then pointers have to be some, but are not followed. A = L L^H.
  template <class T>
  std::int32_t potrf(const BlockCyclicMatrix<T>& a, VendorWorkspace& workspace);
  // L L^H X = B, in place of B.
  template <class T>
  std::int32_t potrs(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& b, VendorWorkspace& workspace);
  // P A = L U, and A X = B with these factors, in place of B. `pivots` has room for
  // the rows that A has here, and for a block more.
  template <class T>
  std::int32_t getrf(const BlockCyclicMatrix<T>& a, std::int64_t* pivots, VendorWorkspace& workspace);
  template <class T>
  std::int32_t getrs(const BlockCyclicMatrix<T>& a, std::int64_t* pivots, const BlockCyclicMatrix<T>& b,
                     VendorWorkspace& workspace);
  // A = Z diag(w) Z^H, w on every rank; Z is not written unless vectors are wanted. A is lost.
  template <class T>
  std::int32_t syevd(const BlockCyclicMatrix<T>& a, Real<T>* w, const BlockCyclicMatrix<T>& z, bool vectors,
                     VendorWorkspace& workspace);

  // After an error: kernels no longer wait for other ranks.
  void abandon() noexcept override;

 private:
  using Library = CusolverMpLibrary;

  class Description;  // of a matrix, as long as it lives

  Library::Grid grid(ProcessGrid shape);
  template <class T>
  Description describe(const BlockCyclicMatrix<T>& a);
  // Measures, or calls, a function of the library that is named `routine`, and waits for what it enqueues; `size` has
  // the same arguments.
  template <class Size, class Function, class... Arguments>
  std::int32_t call(const char* routine, VendorWorkspace& workspace, Size size, Function function,
                    Arguments... arguments);
  void wait();

  const Library& library_;
  int ranks_, rank_;
  cudaStream_t stream_;
  cudaEvent_t reached_{};
  ncclComm_t communicator_{};
  Library::Handle handle_{};
  std::vector<std::pair<ProcessGrid, Library::Grid>> grids_;
  std::vector<std::byte> host_;  // the library's workspace on the host
  Attendance* attendance_ = nullptr;
  std::chrono::milliseconds timeout_{};
};

}  // namespace jaxmg::cuda
