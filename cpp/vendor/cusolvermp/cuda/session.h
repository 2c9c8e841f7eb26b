// Session of one rank in cuSOLVERMp, NVIDIA's distributed solver: an NCCL communicator, grids of ranks, and calls.
//
// All ranks make the same calls in the same order, each from its own process or thread. Hermitian matrices are given by
// their lower triangles.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "comm/rendezvous.h"
#include "core/scalar.h"
#include "engine/cuda/cuda_engine.h"
#include "engine/cuda/team.h"
#include "layout/block_cyclic.h"
#include "vendor/cusolvermp/cuda/library.h"
#include "vendor/workspace.h"

namespace jaxmg::cuda {

class CusolverMp final : public Resident {
 public:
  // Uses the current device and enqueues its work in `stream`. Returns once all ranks have called it with the same id.
  CusolverMp(int ranks, int rank, const ncclUniqueId& id, cudaStream_t stream);
  ~CusolverMp() override { abandon(); }

  // The session of an engine's rank, which works in the lane `panel`; made on first use. All ranks call it together;
  // `id` is device scratch of id_words numbers, through which rank 0 broadcasts the NCCL id.
  static constexpr std::int64_t id_words = sizeof(ncclUniqueId) / sizeof(std::uint32_t);
  static CusolverMp& of(CudaEngine& engine, std::uint32_t* id);

  // Call at the beginning of a call.
  void begin(Participant& participant, std::chrono::milliseconds timeout) {
    participant_ = &participant;
    timeout_ = timeout;
  }

  // These routines return LAPACK's info when the work is done. With a workspace that measures they only record the
  // bytes that they need on the device, which may differ between ranks; pointers must not be null, but are not
  // dereferenced. A = L L^H.
  template <class T>
  std::int32_t potrf(const BlockCyclicMatrix<T>& a, VendorWorkspace& workspace);
  // L L^H X = B, in place of B.
  template <class T>
  std::int32_t potrs(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& b, VendorWorkspace& workspace);
  // P A = L U, and A X = B with these factors, in place of B. `pivots` has room for the local rows of A plus one
  // block.
  template <class T>
  std::int32_t getrf(const BlockCyclicMatrix<T>& a, std::int64_t* pivots, VendorWorkspace& workspace);
  template <class T>
  std::int32_t getrs(const BlockCyclicMatrix<T>& a, std::int64_t* pivots, const BlockCyclicMatrix<T>& b,
                     VendorWorkspace& workspace);
  // A = Z diag(w) Z^H, w on every rank; Z is written only if `vectors`. A is overwritten.
  template <class T>
  std::int32_t syevd(const BlockCyclicMatrix<T>& a, Real<T>* w, const BlockCyclicMatrix<T>& z, bool vectors,
                     VendorWorkspace& workspace);

  // A = Q R as LAPACK's geqrf: R, below it the reflectors, and their scalars of the local columns.
  template <class T>
  std::int32_t geqrf(const BlockCyclicMatrix<T>& a, T* tau, VendorWorkspace& workspace);
  // A = U diag(s) V^H of a square matrix, s on every rank; U and V^H are written only if `vectors`. A is overwritten.
  template <class T>
  std::int32_t gesvd(const BlockCyclicMatrix<T>& a, Real<T>* s, const BlockCyclicMatrix<T>& u,
                     const BlockCyclicMatrix<T>& vh, bool vectors, VendorWorkspace& workspace);
  // A = U H of a square matrix, U in place of A.
  template <class T>
  std::int32_t polar(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& h, VendorWorkspace& workspace);

  // Call after an error: kernels stop waiting for other ranks.
  void abandon() noexcept override;

 private:
  using Library = CusolverMpLibrary;

  class Description;  // of a matrix, as long as it lives

  Library::Grid grid(ProcessGrid shape);
  template <class T>
  Description describe(const BlockCyclicMatrix<T>& a);
  // Measures the workspace of a function of the library, by `size`, which takes the same arguments; or calls the
  // function and waits for the work it enqueues.
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
  Participant* participant_ = nullptr;
  std::chrono::milliseconds timeout_{};
};

}  // namespace jaxmg::cuda
