// The engine of NVIDIA GPUs: cuBLAS, cuSOLVERDn, a few kernels; a lane is a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "comm/fault_injection.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/team.h"
#include "engine/engine.h"
#include "engine/scratch.h"

namespace jaxmg::cuda {

class CudaEngine {
 public:
  using Event = cudaEvent_t;

  // Work begins after what is in `stream`; finish() makes `stream` wait for all of it.
  CudaEngine(Team& team, int rank, cudaStream_t stream, const CudaScratch& scratch, std::int64_t largest_potrf,
             const Call& call)
      : lanes_(*team.seat(rank).lanes),
        transport_(*team.seat(rank).transport),
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

  int rank() const { return rank_; }
  int size() const { return size_; }

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
  void trsm(Lane lane, Side side, Op op, MatrixView<T> l, MatrixView<T> x) {
    if (x.empty()) return;
    const int m = checked_int(x.rows, "m"), n = checked_int(x.columns, "n");
    if (side == Side::left && n == 1) {
      JAXMG_CHECK(cuda::trsv(lanes_.blas(lane), op, m, l.data, leading(l), x.data));
    } else {
      JAXMG_CHECK(cuda::trsm(lanes_.blas(lane), side, op, m, n, l.data, leading(l), x.data, leading(x)));
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
    transport_.exchange(lane, lanes_.stream(lane), blocks);
  }

  void set_info(Lane lane, std::int32_t* info, std::int32_t value) { launch_set(info, value, lanes_.stream(lane)); }

  template <class T>
  void conclude(Lane lane, const std::int32_t* infos, MatrixView<T> x, std::int32_t* status) {
    if (x.ld != x.rows) throw Error(ErrorCode::internal, "the solution must be contiguous");
    launch_conclude(infos, size_, reinterpret_cast<Real<T>*>(x.data), x.rows * x.columns * reals<T>, status,
                    lanes_.stream(lane));
  }

 private:
  template <class T>
  static constexpr std::int64_t reals = is_complex<T> ? 2 : 1;  // real numbers of a scalar

  template <class T>
  static int leading(MatrixView<T> a) {
    return checked_int(std::max<std::int64_t>(1, a.ld), "leading dimension");
  }
  template <class T>
  static std::size_t bytes(std::int64_t elements) {
    return static_cast<std::size_t>(elements) * sizeof(T);
  }

  Lanes& lanes_;
  Transport& transport_;
  int rank_, size_;
  cudaStream_t stream_;
  CudaScratch scratch_;
  FaultInjection fault_;
  std::int64_t potrf_bytes_;
};

}  // namespace jaxmg::cuda
