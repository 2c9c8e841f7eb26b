// The engine of NVIDIA GPUs: cuBLAS, cuSOLVERDn, a few kernels; a lane is a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "comm/block.h"
#include "comm/fault_injection.h"
#include "comm/gathering.h"
#include "core/batch.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/band_ops.h"
#include "engine/cholesky_ops.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"
#include "engine/cuda/copy_batches.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/team.h"
#include "engine/cuda/tridiagonal.h"
#include "engine/engine.h"
#include "engine/panel_qr_ops.h"
#include "engine/scaling_ops.h"
#include "engine/scratch.h"

namespace jaxmg::cuda {

class CudaEngine : public CudaTridiagonal {
 public:
  using Event = cudaEvent_t;

  // Work begins after what is in `stream`; finish() makes `stream` wait for all of it.
  CudaEngine(Team& team, int rank, cudaStream_t stream, const CudaScratch& scratch, std::int64_t largest_potrf,
             const Call& call)
      : CudaTridiagonal(*team.seat(rank).lanes, *team.seat(rank).transport),
        team_(team),
        seat_(team.seat(rank)),
        lanes_(*seat_.lanes),
        transport_(*seat_.transport),
        attendance_(call.attendance),
        timeout_(call.timeout),
        buffers_(call.buffers),
        rank_(rank),
        size_(team.ranks()),
        stream_(stream),
        scratch_(scratch),
        fault_(rank),
        potrf_bytes_(cusolver_potrf_bytes(largest_potrf)) {
    for (std::size_t i = 0; i < lane_count; ++i) {
      JAXMG_CHECK(cublasSetWorkspace(lanes_.blas(static_cast<Lane>(i)), scratch_.blas[i],
                                     static_cast<std::size_t>(cublas_workspace_bytes)));
    }
    transport_.begin(call);
    lanes_.recycle_events();
    lanes_.fork_from(stream);
  }

  void finish() {
    lanes_.join_into(stream_);
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

  // What a backend keeps from call to call for all ranks of the process.
  template <class State>
  std::shared_ptr<State> kept() {
    return team_.keep<State>();
  }
  // The devices of the ranks, for a library that drives all of them.
  std::vector<int> devices() const {
    std::vector<int> all;
    for (int r = 0; r < size_; ++r) {
      const Seat& seat = team_.seat(r);
      if (std::find(all.begin(), all.end(), seat.device) != all.end() || (size_ > 1 && !seat.reaches_peers)) {
        throw Error(ErrorCode::invalid_argument, "each rank must have a GPU that has access to those of the others");
      }
      all.push_back(seat.device);
    }
    return all;
  }
  // Runs work() on rank 0, for a library that drives the GPUs of all ranks from one thread: what was enqueued before on
  // any of them is done then, and the others go on when it returns. All ranks have to be in one process.
  template <class Work>
  void on_behalf_of_all(Work&& work) {
    if (attendance_.members().size() != static_cast<std::size_t>(size_)) {
      throw Error(ErrorCode::invalid_argument, "one process must have all GPUs of the call");
    }
    lanes_.join();
    transport_.complete(lanes_.stream(Lane::panel));
    JAXMG_CHECK(cudaStreamSynchronize(lanes_.stream(Lane::panel)));
    attendance_.barrier();
    if (rank_ == 0) work();
    attendance_.patient_barrier();
  }
  // Where a rank of this process has what this rank has at an address of the call's buffers.
  template <class T>
  T* address_on(int rank, T* address) const {
    const auto& own = buffers_[static_cast<std::size_t>(rank_)];
    return reinterpret_cast<T*>(symmetric_address(own, buffers_[static_cast<std::size_t>(rank)], address));
  }

  Event record(Lane lane) { return lanes_.record(lanes_.stream(lane)); }
  void wait(Lane lane, Event event) { Lanes::wait(lanes_.stream(lane), event); }
  void join() { lanes_.join(); }

  template <class T>
  void potrf(Lane lane, MatrixView<T> a, std::int32_t* failed) {
    if (a.empty()) return;
    const int n = checked_int(a.rows, "n"), lda = leading(a);
    cusolverDnHandle_t solver = lanes_.solver(lane);
    int elements = 0;
    JAXMG_CHECK(potrf_buffer_size(solver, n, a.data, lda, &elements));
    if (elements * static_cast<std::int64_t>(sizeof(T)) > potrf_bytes_) {
      throw Error(ErrorCode::internal, "cuSOLVER's potrf of order " + std::to_string(n) + " wants " +
                                           std::to_string(elements * sizeof(T)) + " bytes of workspace, " +
                                           std::to_string(potrf_bytes_) + " were planned");
    }
    JAXMG_CHECK(cuda::potrf(solver, n, a.data, lda, reinterpret_cast<T*>(scratch_.potrf), elements, failed));
  }

  template <class T>
  void check_factor(Lane lane, MatrixView<T> l, const std::int32_t* failed, std::int64_t row, std::int32_t* info) {
    if (l.empty()) return;
    launch_check_factor(reinterpret_cast<const Real<T>*>(l.data), (l.ld + 1) * reals<T>, checked_int(l.rows, "n"),
                        checked_int(row, "row"), failed, info, lanes_.stream(lane));
  }

  template <class T>
  void trsm(Lane lane, Side side, Uplo uplo, Op op, Diag diag, MatrixView<T> a, MatrixView<T> x) {
    if (x.empty()) return;
    const int m = checked_int(x.rows, "m"), n = checked_int(x.columns, "n");
    if (side == Side::left && n == 1) {
      JAXMG_CHECK(cuda::trsv(lanes_.blas(lane), uplo, op, diag, m, a.data, leading(a), x.data));
    } else {
      JAXMG_CHECK(cuda::trsm(lanes_.blas(lane), side, uplo, op, diag, m, n, a.data, leading(a), x.data, leading(x)));
    }
  }

  template <class T>
  void gemm(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    const std::int64_t depth = opa == Op::none ? a.columns : a.rows;
    if (c.empty() || depth == 0) return;
    const T one = 1;
    cublasHandle_t blas = lanes_.blas(lane);
    if (c.columns == 1 && opb == Op::none) {
      JAXMG_CHECK(cuda::gemv(blas, opa, checked_int(a.rows, "m"), checked_int(a.columns, "n"), &alpha, a.data,
                             leading(a), b.data, &one, c.data));
      return;
    }
    JAXMG_CHECK(cuda::gemm(blas, opa, opb, checked_int(c.rows, "m"), checked_int(c.columns, "n"),
                           checked_int(depth, "k"), &alpha, a.data, leading(a), b.data, leading(b), &one, c.data,
                           leading(c)));
  }

  template <class T>
  void copy(Lane lane, MatrixView<T> from, MatrixView<T> to) {
    if (from.empty()) return;
    JAXMG_CHECK(cudaMemcpy2DAsync(to.data, bytes<T>(to.ld), from.data, bytes<T>(from.ld), bytes<T>(from.rows),
                                  static_cast<std::size_t>(from.columns), cudaMemcpyDeviceToDevice,
                                  lanes_.stream(lane)));
  }

  template <class T>
  void zero(Lane lane, MatrixView<T> a) {
    if (a.empty()) return;
    JAXMG_CHECK(cudaMemset2DAsync(a.data, bytes<T>(a.ld), 0, bytes<T>(a.rows), static_cast<std::size_t>(a.columns),
                                  lanes_.stream(lane)));
  }

  template <class T>
  void conj_transpose(Lane lane, MatrixView<T> from, MatrixView<T> to) {
    if (from.empty()) return;
    JAXMG_CHECK(cuda::conj_transpose(lanes_.blas(lane), checked_int(to.rows, "m"), checked_int(to.columns, "n"),
                                     from.data, leading(from), to.data, leading(to)));
  }

  template <class T>
  void identity(Lane lane, MatrixView<T> a) {
    if (a.empty()) return;
    zero(lane, a);
    launch_set_diagonal(reinterpret_cast<Real<T>*>(a.data), (a.ld + 1) * reals<T>, checked_int(a.rows, "n"),
                        lanes_.stream(lane));
  }

  template <class T>
  void mirror(Lane lane, MatrixView<T> a) {
    if (!a.empty()) launch_mirror(a.data, a.ld, checked_int(a.rows, "n"), lanes_.stream(lane));
  }

  template <class T>
  void zero_below(Lane lane, MatrixView<T> a) {
    if (!a.empty()) launch_zero_below(a.data, a.ld, checked_int(a.rows, "n"), lanes_.stream(lane));
  }

  template <class T>
  void subtract(Lane lane, const std::vector<MatrixView<T>>& terms, MatrixView<T> x) {
    if (x.empty()) return;
    Subtraction s{};
    s.x = x.data;
    s.x_ld = x.ld * reals<T>;
    s.rows = checked_int(x.rows * reals<T>, "rows");
    s.columns = checked_int(x.columns, "columns");
    for (std::size_t i = 0; i < terms.size(); ++i) {
      s.terms[s.count] = terms[i].data;
      s.term_ld[s.count++] = terms[i].ld * reals<T>;
      if (s.count == subtract_terms || i + 1 == terms.size()) {
        launch_subtract<Real<T>>(s, lanes_.stream(lane));
        s.count = 0;
      }
    }
  }

  void exchange(Lane lane, const std::vector<Block>& blocks) {
    fault_.step();
    if (size_ > 1) {
      transport_.exchange(lane, lanes_.stream(lane), blocks);
    } else {
      copy_locally(lanes_.stream(lane), blocks);
    }
  }

  void set_info(Lane lane, std::int32_t* info, std::int32_t value) { launch_set(info, value, lanes_.stream(lane)); }

  template <class T>
  void conclude(Lane lane, const std::int32_t* infos, MatrixView<T> x, std::int32_t* status) {
    if (x.ld != x.rows) throw Error(ErrorCode::internal, "the solution must be contiguous");
    launch_conclude(infos, size_, reinterpret_cast<Real<T>*>(x.data), x.rows * x.columns * reals<T>, status,
                    lanes_.stream(lane));
  }

  // This rank's part in cuSOLVERMp, which works in the lane `panel`. All ranks ask for it together; `id` is where the
  // first one that does tells the others how to meet.
  static constexpr std::int64_t nccl_id_words = sizeof(ncclUniqueId) / sizeof(std::uint32_t);
  CusolverMp& cusolvermp(std::uint32_t* id) {
    if (!seat_.cusolvermp) {
      CusolverMpLibrary::instance();  // where it is missing the others must not begin to wait
      ncclUniqueId made{};
      std::array<std::uint32_t, nccl_id_words> words{};
      if (rank_ == 0) JAXMG_CHECK(ncclGetUniqueId(&made));
      std::memcpy(words.data(), &made, sizeof(made));
      store(Lane::panel, words.data(), nccl_id_words, id);
      const MatrixView<std::uint32_t> all{id, nccl_id_words, 1, nccl_id_words};
      exchange(Lane::panel, {make_block(0, all_ranks, all, all)});
      fetch(Lane::panel, id, nccl_id_words, words.data());
      std::memcpy(&made, words.data(), sizeof(made));
      seat_.cusolvermp = std::make_unique<CusolverMp>(size_, rank_, made, lanes_.stream(Lane::panel));
    }
    seat_.cusolvermp->begin(attendance_, timeout_);
    return *seat_.cusolvermp;
  }

  // Dense to band and back, see BandReductionEngine.

  template <class T>
  void geqrt(Lane lane, MatrixView<T> a, MatrixView<T> t, T* scratch) {
    if (a.empty()) return;
    PanelQr q{};
    q.a = a.data;
    q.ld = a.ld;
    q.t = t.data;
    q.ldt = t.ld;
    q.scratch = scratch;
    q.m = checked_int(a.rows, "m");
    q.n = checked_int(a.columns, "n");
    launch_geqrt(q, ScalarTraits<T>::type, lanes_.stream(lane));
  }

  template <class T>
  void unit_lower(Lane lane, MatrixView<T> a) {
    if (a.empty()) return;
    launch_unit_lower(reinterpret_cast<Real<T>*>(a.data), a.ld * reals<T>, checked_int(a.rows, "rows"),
                      checked_int(a.columns, "columns"), reals<T>, lanes_.stream(lane));
  }

  void copy_all(Lane lane, const std::vector<Block>& blocks) { copy_locally(lanes_.stream(lane), blocks); }

  template <class T>
  void largest(Lane lane, MatrixView<T> a, Real<T>* norm) {
    launch_largest(reinterpret_cast<const Real<T>*>(a.data), a.ld * reals<T>, checked_int(a.rows * reals<T>, "rows"),
                   checked_int(a.columns, "columns"), norm, lanes_.stream(lane));
  }

  template <class Real>
  void choose_scale(Lane lane, const Real* norms, Real* scale, std::int32_t* info) {
    launch_choose_scale(norms, size_, scale, not_finite, info, lanes_.stream(lane));
  }

  template <class T>
  void multiply(Lane lane, const Real<T>* scale, MatrixView<T> a) {
    if (a.empty()) return;
    launch_multiply(scale, reinterpret_cast<Real<T>*>(a.data), a.ld * reals<T>, checked_int(a.rows * reals<T>, "rows"),
                    checked_int(a.columns, "columns"), lanes_.stream(lane));
  }

  template <class Real>
  void divide(Lane lane, const Real* scale, MatrixView<Real> w) {
    if (w.empty()) return;
    launch_divide(scale, w.data, w.ld, checked_int(w.rows, "rows"), checked_int(w.columns, "columns"),
                  lanes_.stream(lane));
  }

  // Band to tridiagonal and back, see BulgeChasingEngine.

  // The half-bandwidths there are kernels for.
  template <class T>
  static std::vector<std::int64_t> bandwidths() {
    if constexpr (sizeof(T) == 16) {
      return {32};  // registers hold no wider blocks
    } else {
      return {32, 64};
    }
  }

  template <class T>
  void chase(Lane lane, MatrixView<T> band, const Reflectors<T>& reflectors, std::int32_t* progress, Real<T>* d,
             Real<T>* e, std::int32_t* info) {
    if (reflectors.n == 0) return;
    const int n = checked_int(reflectors.n, "n"), b = checked_int(reflectors.b, "b"), ld = checked_int(band.ld, "ld");
    const cudaStream_t stream = lanes_.stream(lane);
    const int first = checked_int(reflectors.first, "first"), sweeps = checked_int(reflectors.sweeps, "sweeps");
    launch_chase({band.data, reflectors.data, progress, info, n, first, sweeps}, b, ScalarTraits<T>::type, stream);
    launch_real_tridiagonal(band.data, ld, n, d, e, reflectors.phases, ScalarTraits<T>::type, stream);
  }

  template <class T>
  void form_diamonds(Lane lane, const Reflectors<T>& reflectors, const std::vector<Wave>& waves, int levels,
                     Batch<T> parts) {
    DiamondBatch batch{};
    batch.reflectors = reflectors.data;
    batch.q = parts.first.data;
    batch.skipped = reflectors.skipped;
    batch.levels = levels;
    batch.n = checked_int(reflectors.n, "n");
    int used = 0;
    std::int64_t next = 0;
    for (std::size_t w = 0; w < waves.size(); ++w) {
      batch.g[used] = static_cast<int>(waves[w].g);
      batch.t[used] = static_cast<int>(waves[w].t);
      batch.count[used] = static_cast<int>(waves[w].count);
      batch.first[used++] = next;
      next += waves[w].count << (2 * levels);
      if (used == diamond_waves || w + 1 == waves.size()) {
        launch_form_diamonds(batch, used, static_cast<int>(reflectors.b), ScalarTraits<T>::type, lanes_.stream(lane));
        used = 0;
      }
    }
  }

  template <class T>
  void multiply_each(Lane lane, Batch<T> a, Batch<T> b, Batch<T> c) {
    if (c.first.empty() || c.count == 0) return;
    JAXMG_CHECK(multiply_batched(lanes_.blas(lane), checked_int(c.first.rows, "m"), checked_int(c.first.columns, "n"),
                                 checked_int(a.first.columns, "k"), a.first.data, leading(a.first), a.stride,
                                 b.first.data, leading(b.first), b.stride, c.first.data, leading(c.first), c.stride,
                                 checked_int(c.count, "count")));
  }

  template <class T>
  void merge_corners(Lane lane, Batch<T> parts, Batch<T> q, Batch<T> y) {
    launch_merge_corners(parts.first.data, q.first.data, y.first.data, checked_int(parts.first.rows / 2, "h"),
                         checked_int(q.count, "count"), ScalarTraits<T>::type, lanes_.stream(lane));
  }

  template <class T>
  void scale_rows(Lane lane, MatrixView<T> factors, MatrixView<T> a) {
    if (a.empty()) return;
    launch_scale_rows(factors.data, a.data, a.ld, checked_int(a.rows, "rows"), checked_int(a.columns, "columns"),
                      ScalarTraits<T>::type, lanes_.stream(lane));
  }

 private:
  template <class T>
  static constexpr int reals = is_complex<T> ? 2 : 1;  // real numbers of a scalar

  template <class T>
  static int leading(MatrixView<T> a) {
    return checked_int(std::max<std::int64_t>(1, a.ld), "leading dimension");
  }
  template <class T>
  static std::size_t bytes(std::int64_t elements) {
    return static_cast<std::size_t>(elements) * sizeof(T);
  }

  Team& team_;
  Seat& seat_;
  Lanes& lanes_;
  Transport& transport_;
  Attendance& attendance_;
  std::chrono::milliseconds timeout_;
  std::vector<MemoryRegions> buffers_;
  int rank_, size_;
  cudaStream_t stream_;
  CudaScratch scratch_;
  FaultInjection fault_;
  std::int64_t potrf_bytes_;
};

}  // namespace jaxmg::cuda
