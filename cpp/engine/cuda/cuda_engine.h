// The engine of NVIDIA GPUs: a lane is a stream. Its operations are in blas_ops.h, cholesky_ops.h, lu_ops.h,
// panel_qr_ops.h, scaling_ops.h, svd_ops.h, tall_ops.h, band_ops.h, tridiagonal_ops.h and heevd_ops.h; exchanges and
// status are here.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <typeinfo>
#include <vector>

#include "comm/block.h"
#include "comm/fault_injection.h"
#include "comm/rendezvous.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/band_ops.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/check.h"
#include "engine/cuda/cholesky_ops.h"
#include "engine/cuda/copy_batches.h"
#include "engine/cuda/heevd_ops.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/launch_order.h"
#include "engine/cuda/lu_ops.h"
#include "engine/cuda/panel_qr_ops.h"
#include "engine/cuda/range.h"
#include "engine/cuda/scaling_ops.h"
#include "engine/cuda/svd_ops.h"
#include "engine/cuda/sweep.h"
#include "engine/cuda/tall_ops.h"
#include "engine/cuda/team.h"
#include "engine/cuda/tridiagonal_ops.h"
#include "engine/engine.h"
#include "engine/scratch.h"
#include "engine/sweep_ops.h"

namespace jaxmg::cuda {

class CudaEngine : public CudaBlasOps,
                   public CudaCholeskyOps,
                   public CudaLuOps,
                   public CudaPanelQrOps,
                   public CudaScalingOps,
                   public CudaSvdOps,
                   public CudaTallOps,
                   public CudaBandOps,
                   public CudaTridiagonalOps,
                   public CudaHeevdOps {
 public:
  using Event = cudaEvent_t;
  using Range = cuda::Range;

  // Work begins after all work in `stream`; finish() makes `stream` wait for the engine's work.
  CudaEngine(Team& team, int rank, cudaStream_t stream, const CudaScratch& scratch, std::int64_t largest_potrf,
             const Call& call)
      : CudaBlasOps(*team.resources(rank).lanes),
        CudaCholeskyOps(*team.resources(rank).lanes, scratch.potrf, cusolver_potrf_bytes(largest_potrf)),
        CudaLuOps(*team.resources(rank).lanes),
        CudaPanelQrOps(*team.resources(rank).lanes),
        CudaScalingOps(*team.resources(rank).lanes),
        CudaSvdOps(*team.resources(rank).lanes),
        CudaTallOps(*team.resources(rank).lanes),
        CudaBandOps(*team.resources(rank).lanes),
        CudaTridiagonalOps(*team.resources(rank).lanes),
        CudaHeevdOps(*team.resources(rank).lanes),
        team_(team),
        resources_(team.resources(rank)),
        lanes_(*resources_.lanes),
        transport_(*resources_.transport),
        participant_(call.participant),
        timeout_(call.timeout),
        buffers_(call.buffers),
        rank_(rank),
        size_(team.ranks()),
        stream_(stream),
        fault_(rank) {
    transport_.begin(call);
    lanes_.begin(stream, scratch.blas, static_cast<std::size_t>(cublas_workspace_bytes));
  }

  void finish() {
    lanes_.end(stream_);
    transport_.complete(stream_);
  }

  CudaEngine alone() const {
    CudaEngine engine = *this;
    engine.rank_ = 0;
    engine.size_ = 1;
    return engine;
  }

  int rank() const { return rank_; }
  int size() const { return size_; }

  // State that a backend keeps between calls for all ranks of the process.
  template <class State>
  std::shared_ptr<State> kept() {
    return team_.keep<State>();
  }
  // The same for this rank alone; make() is called on first use.
  template <class State, class Make>
  State& resident(Make&& make) {
    std::unique_ptr<Resident>& kept = resources_.residents[typeid(State)];
    if (!kept) kept = make();
    return static_cast<State&>(*kept);
  }
  cudaStream_t stream(Lane lane) const { return lanes_.stream(lane); }
  Participant& participant() const { return participant_; }
  std::chrono::milliseconds timeout() const { return timeout_; }
  // The devices of all ranks, for a library that drives all of them.
  std::vector<int> devices() const {
    std::vector<int> all;
    for (int r = 0; r < size_; ++r) {
      const RankResources& resources = team_.resources(r);
      if (std::find(all.begin(), all.end(), resources.device) != all.end() || (size_ > 1 && !resources.reaches_peers)) {
        throw Error(ErrorCode::invalid_argument,
                    "each rank must have a GPU of its own, with access to the GPUs of all other ranks");
      }
      all.push_back(resources.device);
    }
    return all;
  }
  // Runs work() on rank 0, for a library that drives the GPUs of all ranks from one thread. All work enqueued before on
  // any rank is then done, and the other ranks wait until it returns. All ranks must be in one process.
  template <class Work>
  void on_behalf_of_all(Work&& work) {
    if (participant_.members().size() != static_cast<std::size_t>(size_)) {
      throw Error(ErrorCode::invalid_argument, "all GPUs of the call must belong to one process");
    }
    lanes_.join();
    transport_.complete(lanes_.stream(Lane::panel));
    JAXMG_CHECK(cudaStreamSynchronize(lanes_.stream(Lane::panel)));
    participant_.barrier();
    if (rank_ == 0) work();
    participant_.unlimited_barrier();
  }
  // The symmetric address on another rank, whose buffers this rank reaches, for an address in the call's buffers.
  template <class T>
  T* address_on(int rank, T* address) const {
    const auto& own = buffers_[static_cast<std::size_t>(rank_)];
    return reinterpret_cast<T*>(symmetric_address(own, buffers_[static_cast<std::size_t>(rank)], address));
  }

  Event record(Lane lane) { return lanes_.record(lanes_.stream(lane)); }
  void wait(Lane lane, Event event) { Lanes::wait(lanes_.stream(lane), event); }
  void join() { lanes_.join(); }

  void exchange(Lane lane, const std::vector<Block>& blocks) {
    fault_.step();
    if (size_ > 1) {
      transport_.exchange(lane, lanes_.stream(lane), blocks);
    } else {
      copy_locally(lanes_.stream(lane), blocks);
    }
  }

  // Ranks must reach each other's memory, and their kernels must run at the same time. Ranks of several processes
  // cannot share a GPU for that, which runs one process after another.
  bool can_sweep() const {
    const bool several_processes = participant_.members().size() != static_cast<std::size_t>(size_);
    return resources_.peers && resources_.transport == resources_.peers.get() && size_ <= sweep_ranks &&
           !(several_processes && resources_.neighbours > 1);
  }

  template <class T>
  void sweep(Lane lane, const TileColumns& layout, const SweepSystem<T>& system, const SweepWorkspace<T>& w) {
    const cudaStream_t stream = lanes_.stream(lane);
    const std::int64_t batch = w.solved.columns;
    const SweepKernel kernel = load_sweep_kernel<T>(system.op, batch, resources_.neighbours);
    TriangularSweep p = describe_sweep(kernel, layout, system, w, rank_);
    p.limit = 2 * std::chrono::nanoseconds(timeout_).count();
    p.stop = resources_.peers->stop();
    for (int r = 0; r < size_; ++r) {
      p.offset[r] =
          reinterpret_cast<std::byte*>(address_on(r, w.solved.data)) - reinterpret_cast<std::byte*>(w.solved.data);
    }
    const auto bytes = static_cast<std::size_t>((w.solved.rows + w.sums.rows * layout.ranks()) * batch) * sizeof(T);
    std::vector<Block> greetings;
    for (int r = 0; r < size_; ++r) {
      greetings.push_back(make_block(r, all_ranks, w.present.block(r, 0, 1, 1), w.present.block(r, 0, 1, 1)));
    }
    for (std::int64_t first = 0; first < system.x.columns; first += batch) {
      const MatrixView<T> x = system.x.block(0, first, system.x.rows, std::min(batch, system.x.columns - first));
      JAXMG_CHECK(cudaMemsetAsync(w.solved.data, 0xff, bytes, stream));
      // The kernels of all ranks begin once the memory of each is ready. When this returns, every host has loaded its
      // kernel, and has only the launch before it.
      exchange(lane, greetings);
      auto& order = LaunchOrder::instance();
      std::uint64_t turn = 0;
      participant_.spin_until(
          [&] {
            turn = order.begin(&team_, static_cast<int>(participant_.members().size()));
            return turn > 0;
          },
          rank_, size_);
      {
        const LaunchTurn own(&team_);
        order.wait_for_earlier(resources_.device, stream);
        launch_sweep(stream, kernel, p, x);
        order.launched(resources_.device, stream);
      }
      participant_.spin_until([&] { return order.has_ended(turn); }, rank_, size_);
    }
  }

  void copy_all(Lane lane, const std::vector<Block>& blocks) { copy_locally(lanes_.stream(lane), blocks); }

  // Work in the lane may wait for other ranks. The transport waits first, since it detects lost ranks and a call of
  // CUDA does not.
  template <class T>
  void fetch(Lane lane, const T* from, std::int64_t count, T* to) {
    if (count == 0) return;
    const cudaStream_t stream = lanes_.stream(lane);
    transport_.complete(stream);
    JAXMG_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost, stream));
    JAXMG_CHECK(cudaStreamSynchronize(stream));
  }

  // CUDA has read pageable memory when the call returns.
  template <class T>
  void store(Lane lane, const T* from, std::int64_t count, T* to) {
    if (count == 0) return;
    const cudaStream_t stream = lanes_.stream(lane);
    JAXMG_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), cudaMemcpyHostToDevice, stream));
  }

  template <class R>
  void choose_scale(Lane lane, const R* norms, R* scale, std::int32_t* info) {
    launch(kernel<"choose_scale", R>(), {1, 1}, lanes_.stream(lane), norms, size_, scale, not_finite, info);
  }

  void set_info(Lane lane, std::int32_t* info, std::int32_t value) {
    launch(kernel<"set_i32">(), {1, 1}, lanes_.stream(lane), info, value);
  }

  template <class T>
  void conclude(Lane lane, const std::int32_t* infos, MatrixView<T> x, std::int32_t* status) {
    if (x.ld != x.rows) throw Error(ErrorCode::internal, "the result of a routine must be contiguous");
    const std::int64_t count = x.rows * x.columns * reals<T>;
    launch(kernel<"conclude", Real<T>>(), grid_for(count, 256), lanes_.stream(lane), infos, size_, no_failure, x.data,
           count, status);
  }

 private:
  Team& team_;
  RankResources& resources_;
  Lanes& lanes_;
  Transport& transport_;
  Participant& participant_;
  std::chrono::milliseconds timeout_;
  std::vector<MemoryRegions> buffers_;
  int rank_, size_;
  cudaStream_t stream_;
  FaultInjection fault_;
};

}  // namespace jaxmg::cuda
