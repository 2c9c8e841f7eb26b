#include "vendor/cusolvermp/cuda/session.h"

#include <algorithm>
#include <array>
#include <complex>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <tuple>

#include "core/arena.h"
#include "core/error.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"

namespace jaxmg::cuda {
namespace {

constexpr auto lower = CUBLAS_FILL_MODE_LOWER;

void require_function(const char* name, bool found) {
  if (!found) {
    throw Error(ErrorCode::invalid_argument,
                std::string("the installed cuSOLVERMp has no ") + name + "; it requires version 0.9.1 or newer");
  }
}

}  // namespace

class CusolverMp::Description {
 public:
  Description(const Library& library, Library::Grid grid, cudaDataType type, const BlockCyclic& layout, int rank)
      : library_(library) {
    JAXMG_CHECK(library_.create_description(&description_, grid, type, layout.rows.n, layout.columns.n,
                                            layout.rows.block, layout.columns.block, 0, 0, layout.ld(rank)));
  }
  ~Description() { library_.destroy_description(description_); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  Library::Description get() const { return description_; }

 private:
  const Library& library_;
  Library::Description description_{};
};

CusolverMp::CusolverMp(int ranks, int rank, const ncclUniqueId& id, cudaStream_t stream)
    : library_(Library::instance()), ranks_(ranks), rank_(rank), stream_(stream) {
  int device = 0;
  JAXMG_CHECK(cudaGetDevice(&device));
  JAXMG_CHECK(cudaEventCreateWithFlags(&reached_, cudaEventDisableTiming));
  // The transport's communicator is non-blocking, because its calls must be abortable; the library requires a blocking
  // one.
  JAXMG_CHECK(ncclCommInitRank(&communicator_, ranks_, id, rank_));
  try {
    JAXMG_CHECK(library_.create(&handle_, device, stream_));
  } catch (...) {
    abandon();
    throw;
  }
}

CusolverMp& CusolverMp::of(CudaEngine& engine, std::uint32_t* id) {
  auto& own = engine.resident<CusolverMp>([&] {
    CusolverMpLibrary::instance();  // throws here if missing, before other ranks wait
    ncclUniqueId made{};
    std::array<std::uint32_t, id_words> words{};
    if (engine.rank() == 0) JAXMG_CHECK(ncclGetUniqueId(&made));
    std::memcpy(words.data(), &made, sizeof(made));
    engine.store(Lane::panel, words.data(), id_words, id);
    const MatrixView<std::uint32_t> all{id, id_words, 1, id_words};
    engine.exchange(Lane::panel, {make_block(0, all_ranks, all, all)});
    engine.fetch(Lane::panel, id, id_words, words.data());
    std::memcpy(&made, words.data(), sizeof(made));
    return std::make_unique<CusolverMp>(engine.size(), engine.rank(), made, engine.stream(Lane::panel));
  });
  engine.stream(Lane::panel);  // counts as use: the library enqueues in it
  own.begin(engine.participant(), engine.timeout());
  return own;
}

// Grids and handle stay allocated until the process ends: destroying them may wait for lost ranks.
void CusolverMp::abandon() noexcept {
  if (communicator_ == nullptr) return;
  ncclCommAbort(communicator_);
  communicator_ = nullptr;
  cudaEventDestroy(reached_);
}

CusolverMpLibrary::Grid CusolverMp::grid(ProcessGrid shape) {
  for (const auto& [known, grid] : grids_) {
    if (known == shape) return grid;
  }
  Library::Grid grid{};
  JAXMG_CHECK(library_.create_grid(handle_, &grid, communicator_, shape.rows, shape.columns,
                                   Library::GridMapping::down_columns));
  grids_.emplace_back(shape, grid);
  return grid;
}

template <class T>
CusolverMp::Description CusolverMp::describe(const BlockCyclicMatrix<T>& a) {
  return {library_, grid(a.layout.grid()), data_type(ScalarTraits<T>::type), a.layout, rank_};
}

void CusolverMp::wait() {
  JAXMG_CHECK(cudaEventRecord(reached_, stream_));
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  while (true) {
    ncclResult_t network = ncclSuccess;
    JAXMG_CHECK(ncclCommGetAsyncError(communicator_, &network));
    JAXMG_CHECK(network);
    const cudaError_t state = cudaEventQuery(reached_);
    if (state == cudaSuccess) return;
    if (state != cudaErrorNotReady) JAXMG_CHECK(state);
    participant_->check();
    if (std::chrono::steady_clock::now() > deadline) {
      throw Error(ErrorCode::deadline_exceeded,
                  "cuSOLVERMp did not finish within " + std::to_string(timeout_.count()) +
                      " ms (the environment variable JAXMG_TIMEOUT_SECONDS sets this limit)");
    }
    std::this_thread::yield();
  }
}

template <class Size, class Function, class... Arguments>
std::int32_t CusolverMp::call(const char* routine, VendorWorkspace& workspace, Size size, Function function,
                              Arguments... arguments) {
  std::size_t device_bytes = 0, host_bytes = 0;
  JAXMG_CHECK(size(handle_, arguments..., &device_bytes, &host_bytes));
  // Info, and the library's workspace behind it.
  const auto carve = [&](Arena arena) {
    auto* const info = arena.take<int>(1);
    auto* const device = arena.take<std::byte>(static_cast<std::int64_t>(device_bytes));
    return std::tuple(info, device, arena.used());
  };
  if (!workspace.suffices(routine, std::get<2>(carve({})))) return 0;
  const auto [info, device, used] = carve({workspace.parts.front(), workspace.bytes});
  host_.resize(std::max(host_.size(), host_bytes));
  JAXMG_CHECK(cudaMemsetAsync(info, 0, sizeof(int), stream_));
  const cusolverStatus_t status = function(handle_, arguments..., device, device_bytes, host_.data(), host_bytes, info);
  if (status != CUSOLVER_STATUS_INTERNAL_ERROR) check(status, routine);
  wait();
  int found = 0;
  JAXMG_CHECK(cudaMemcpyAsync(&found, info, sizeof(int), cudaMemcpyDeviceToHost, stream_));
  JAXMG_CHECK(cudaStreamSynchronize(stream_));
  // The library reports a minor that is not positive as an internal error, too.
  if (found <= 0) check(status, routine);
  if (found < 0) fail(routine, "argument " + std::to_string(-found) + " is illegal");
  return found;
}

template <class T>
std::int32_t CusolverMp::potrf(const BlockCyclicMatrix<T>& a, VendorWorkspace& workspace) {
  const Description of_a = describe(a);
  return call("cusolverMpPotrf", workspace, library_.potrf_size, library_.potrf, lower, a.layout.rows.n, a.data, 1, 1,
              of_a.get(), data_type(ScalarTraits<T>::type));
}

template <class T>
std::int32_t CusolverMp::potrs(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& b,
                               VendorWorkspace& workspace) {
  const Description of_a = describe(a), of_b = describe(b);
  return call("cusolverMpPotrs", workspace, library_.potrs_size, library_.potrs, lower, a.layout.rows.n,
              b.layout.columns.n, a.data, 1, 1, of_a.get(), b.data, 1, 1, of_b.get(), data_type(ScalarTraits<T>::type));
}

template <class T>
std::int32_t CusolverMp::getrf(const BlockCyclicMatrix<T>& a, std::int64_t* pivots, VendorWorkspace& workspace) {
  const Description of_a = describe(a);
  return call("cusolverMpGetrf", workspace, library_.getrf_size, library_.getrf, a.layout.rows.n, a.layout.columns.n,
              a.data, 1, 1, of_a.get(), pivots, data_type(ScalarTraits<T>::type));
}

// The library solves with one right-hand side at a time, and not with the transpose of A (cuSOLVERMp 0.9).
template <class T>
std::int32_t CusolverMp::getrs(const BlockCyclicMatrix<T>& a, std::int64_t* pivots, const BlockCyclicMatrix<T>& b,
                               VendorWorkspace& workspace) {
  const Description of_a = describe(a), of_b = describe(b);
  std::int32_t found = 0;
  for (std::int64_t j = 1; j <= b.layout.columns.n; ++j) {
    found = call("cusolverMpGetrs", workspace, library_.getrs_size, library_.getrs, CUBLAS_OP_N, a.layout.rows.n, 1,
                 a.data, 1, 1, of_a.get(), pivots, b.data, 1, j, of_b.get(), data_type(ScalarTraits<T>::type));
  }
  return found;
}

template <class T>
std::int32_t CusolverMp::syevd(const BlockCyclicMatrix<T>& a, Real<T>* w, const BlockCyclicMatrix<T>& z, bool vectors,
                               VendorWorkspace& workspace) {
  std::array<char, 2> job{vectors ? 'V' : 'N', '\0'};
  const Description of_a = describe(a), of_z = describe(z);
  return call("cusolverMpSyevd", workspace, library_.syevd_size, library_.syevd, job.data(), lower, a.layout.rows.n,
              a.data, 1, 1, of_a.get(), w, z.data, 1, 1, of_z.get(), data_type(ScalarTraits<T>::type));
}

template <class T>
std::int32_t CusolverMp::geqrf(const BlockCyclicMatrix<T>& a, T* tau, VendorWorkspace& workspace) {
  const Description of_a = describe(a);
  const auto size = [this](Library::Handle handle, std::int64_t m, std::int64_t n, T* data, int ia, int ja,
                           Library::Description of, T*, cudaDataType type, std::size_t* device, std::size_t* host) {
    return library_.geqrf_size(handle, m, n, data, ia, ja, of, type, device, host);
  };
  return call("cusolverMpGeqrf", workspace, size, library_.geqrf, a.layout.rows.n, a.layout.columns.n, a.data, 1, 1,
              of_a.get(), tau, data_type(ScalarTraits<T>::type));
}

template <class T>
std::int32_t CusolverMp::gesvd(const BlockCyclicMatrix<T>& a, Real<T>* s, const BlockCyclicMatrix<T>& u,
                               const BlockCyclicMatrix<T>& vh, bool vectors, VendorWorkspace& workspace) {
  require_function("cusolverMpGesvd", library_.gesvd_size != nullptr && library_.gesvd != nullptr);
  const Description of_a = describe(a), of_u = describe(u), of_vh = describe(vh);
  const cusolverEigMode_t mode = vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
  void* const defaults = nullptr;
  return call("cusolverMpGesvd", workspace, library_.gesvd_size, library_.gesvd, defaults, mode, mode, a.layout.rows.n,
              a.layout.columns.n, a.data, 1, 1, of_a.get(), s, u.data, 1, 1, of_u.get(), vh.data, 1, 1, of_vh.get(),
              data_type(ScalarTraits<T>::type));
}

template <class T>
std::int32_t CusolverMp::polar(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& h,
                               VendorWorkspace& workspace) {
  require_function("cusolverMpPolar", library_.polar_size != nullptr && library_.polar != nullptr);
  const Description of_a = describe(a), of_h = describe(h);
  void* const defaults = nullptr;
  return call("cusolverMpPolar", workspace, library_.polar_size, library_.polar, defaults, CUBLAS_FILL_MODE_FULL,
              a.layout.rows.n, a.layout.columns.n, a.data, 1, 1, of_a.get(), h.data, 1, 1, of_h.get(),
              data_type(ScalarTraits<T>::type));
}

#define JAXMG_INSTANTIATE(T)                                                                                           \
  template std::int32_t CusolverMp::potrf(const BlockCyclicMatrix<T>&, VendorWorkspace&);                              \
  template std::int32_t CusolverMp::potrs(const BlockCyclicMatrix<T>&, const BlockCyclicMatrix<T>&, VendorWorkspace&); \
  template std::int32_t CusolverMp::getrf(const BlockCyclicMatrix<T>&, std::int64_t*, VendorWorkspace&);               \
  template std::int32_t CusolverMp::getrs(const BlockCyclicMatrix<T>&, std::int64_t*, const BlockCyclicMatrix<T>&,     \
                                          VendorWorkspace&);                                                           \
  template std::int32_t CusolverMp::syevd(const BlockCyclicMatrix<T>&, Real<T>*, const BlockCyclicMatrix<T>&, bool,    \
                                          VendorWorkspace&);                                                           \
  template std::int32_t CusolverMp::geqrf(const BlockCyclicMatrix<T>&, T*, VendorWorkspace&);                          \
  template std::int32_t CusolverMp::gesvd(const BlockCyclicMatrix<T>&, Real<T>*, const BlockCyclicMatrix<T>&,          \
                                          const BlockCyclicMatrix<T>&, bool, VendorWorkspace&);                        \
  template std::int32_t CusolverMp::polar(const BlockCyclicMatrix<T>&, const BlockCyclicMatrix<T>&, VendorWorkspace&)
JAXMG_INSTANTIATE(float);
JAXMG_INSTANTIATE(double);
JAXMG_INSTANTIATE(std::complex<float>);
JAXMG_INSTANTIATE(std::complex<double>);
#undef JAXMG_INSTANTIATE

}  // namespace jaxmg::cuda
