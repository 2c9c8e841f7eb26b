// The CUDA engine's eigensolver (HeevdOps): cuSOLVERDn's Xsyevd.
#pragma once

#include <cuda_runtime_api.h>
#include <cusolverDn.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "core/arena.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/blas_ops.h"
#include "engine/cuda/check.h"
#include "engine/cuda/lanes.h"
#include "engine/heevd_ops.h"
#include "engine/scratch.h"

namespace jaxmg::cuda {

class CudaHeevdOps {
 public:
  explicit CudaHeevdOps(Lanes& lanes) : lanes_(lanes) {}

  template <class T>
  bool heevd_fits(std::int64_t n, bool vectors) {
    const auto a = MatrixView<T>{nullptr, n, n, n};
    const std::size_t bytes = Query<T>(lanes_.solver(Lane::panel), vectors, a, nullptr).device_bytes;
    Arena needed;
    needed.take<std::int32_t>(1);
    needed.take<std::byte>(static_cast<std::int64_t>(bytes));
    return needed.used() <= heevd_bytes(Platform::cuda, ScalarTraits<T>::type, n, vectors);
  }

  template <class T>
  void heevd(Lane lane, bool vectors, MatrixView<T> a, Real<T>* w, Arena memory, std::int32_t* info) {
    if (a.empty()) return;
    const Query<T> query(lanes_.solver(lane), vectors, a, w);
    auto* const failed = memory.take<std::int32_t>(1);
    auto* const work = memory.take<std::byte>(static_cast<std::int64_t>(query.device_bytes));
    std::vector<std::byte> on_host(query.host_bytes);
    JAXMG_CHECK(cusolverDnXsyevd(lanes_.solver(lane), query.parameters.get(), query.job, CUBLAS_FILL_MODE_LOWER, a.rows,
                                 query.type, a.data, a.ld, query.real_type, w, query.type, work, query.device_bytes,
                                 on_host.data(), query.host_bytes, failed));
    const cudaStream_t stream = lanes_.stream(lane);
    std::int32_t status[2] = {0, 0};
    JAXMG_CHECK(cudaMemcpyAsync(&status[0], failed, sizeof(status[0]), cudaMemcpyDeviceToHost, stream));
    JAXMG_CHECK(cudaMemcpyAsync(&status[1], info, sizeof(status[1]), cudaMemcpyDeviceToHost, stream));
    JAXMG_CHECK(cudaStreamSynchronize(stream));  // the library may use its host memory until then
    if (status[0] < 0) {
      throw Error(ErrorCode::internal, "cuSOLVER's syevd rejects its argument number " + std::to_string(-status[0]));
    }
    if (status[0] > 0 && status[0] < status[1]) {
      JAXMG_CHECK(cudaMemcpyAsync(info, failed, sizeof(std::int32_t), cudaMemcpyDeviceToDevice, stream));
    }
  }

 private:
  struct DestroyParameters {
    void operator()(cusolverDnParams_t parameters) const { cusolverDnDestroyParams(parameters); }
  };

  // Types of a call, and the workspace that it needs.
  template <class T>
  struct Query {
    static constexpr cudaDataType type = data_type(ScalarTraits<T>::type);
    static constexpr cudaDataType real_type = data_type(ScalarTraits<Real<T>>::type);
    std::unique_ptr<std::remove_pointer_t<cusolverDnParams_t>, DestroyParameters> parameters;
    cusolverEigMode_t job;
    std::size_t device_bytes = 0, host_bytes = 0;

    Query(cusolverDnHandle_t solver, bool vectors, MatrixView<T> a, Real<T>* w)
        : job(vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR) {
      cusolverDnParams_t made = nullptr;
      JAXMG_CHECK(cusolverDnCreateParams(&made));
      parameters.reset(made);
      JAXMG_CHECK(cusolverDnXsyevd_bufferSize(solver, made, job, CUBLAS_FILL_MODE_LOWER, a.rows, type, a.data, a.ld,
                                              real_type, w, type, &device_bytes, &host_bytes));
    }
  };

  Lanes& lanes_;
};

}  // namespace jaxmg::cuda
