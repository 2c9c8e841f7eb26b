#include "vendor/cusolvermp/cuda/session.h"

#include <algorithm>
#include <array>
#include <complex>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "core/arena.h"
#include "core/error.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/check.h"

namespace jaxmg::cuda {
namespace {

constexpr auto lower = CUBLAS_FILL_MODE_LOWER;

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

// Bytes of info and the library's workspace, as run() carves them.
std::int64_t CusolverMp::with_info(Bytes bytes) {
  Arena measure;
  measure.take<int>(1);
  measure.take<std::byte>(static_cast<std::int64_t>(bytes.device));
  return measure.used();
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

template <class Function>
std::int32_t CusolverMp::run(const char* what, Bytes bytes, MemoryRegion workspace, Function&& function) {
  Arena arena(workspace.base, workspace.bytes);
  auto* const info = arena.take<int>(1);
  if (static_cast<std::int64_t>(bytes.device) > arena.left()) {
    throw Error(ErrorCode::internal, std::string(what) + " needs " + std::to_string(bytes.device) +
                                         " bytes of workspace, but " + std::to_string(arena.left()) + " were planned");
  }
  host_.resize(std::max(host_.size(), bytes.host));
  JAXMG_CHECK(cudaMemsetAsync(info, 0, sizeof(int), stream_));
  const cusolverStatus_t status = function(arena.rest(), bytes, info);
  if (status != CUSOLVER_STATUS_INTERNAL_ERROR) check(status, what);
  wait();
  int found = 0;
  JAXMG_CHECK(cudaMemcpyAsync(&found, info, sizeof(int), cudaMemcpyDeviceToHost, stream_));
  JAXMG_CHECK(cudaStreamSynchronize(stream_));
  // The library reports a minor that is not positive as an internal error, too.
  if (found <= 0) check(status, what);
  if (found < 0) fail(what, "argument " + std::to_string(-found) + " is illegal");
  return found;
}

template <class T>
CusolverMp::Bytes CusolverMp::potrf_sizes(const BlockCyclicMatrix<T>& a, const Description& of_a) {
  Bytes bytes{};
  JAXMG_CHECK(library_.potrf_size(handle_, lower, a.layout.rows.n, a.data, 1, 1, of_a.get(),
                                  data_type(ScalarTraits<T>::type), &bytes.device, &bytes.host));
  return bytes;
}

template <class T>
CusolverMp::Bytes CusolverMp::potrs_sizes(const BlockCyclicMatrix<T>& a, const Description& of_a,
                                          const BlockCyclicMatrix<T>& b, const Description& of_b) {
  Bytes bytes{};
  JAXMG_CHECK(library_.potrs_size(handle_, lower, a.layout.rows.n, b.layout.columns.n, a.data, 1, 1, of_a.get(), b.data,
                                  1, 1, of_b.get(), data_type(ScalarTraits<T>::type), &bytes.device, &bytes.host));
  return bytes;
}

template <class T>
CusolverMp::Bytes CusolverMp::syevd_sizes(char* job, const BlockCyclicMatrix<T>& a, const Description& of_a, Real<T>* w,
                                          const BlockCyclicMatrix<T>& z, const Description& of_z) {
  Bytes bytes{};
  JAXMG_CHECK(library_.syevd_size(handle_, job, lower, a.layout.rows.n, a.data, 1, 1, of_a.get(), w, z.data, 1, 1,
                                  of_z.get(), data_type(ScalarTraits<T>::type), &bytes.device, &bytes.host));
  return bytes;
}

template <class T>
std::int64_t CusolverMp::potrf_bytes(const BlockCyclicMatrix<T>& a) {
  return with_info(potrf_sizes(a, describe(a)));
}

template <class T>
std::int64_t CusolverMp::potrs_bytes(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& b) {
  return with_info(potrs_sizes(a, describe(a), b, describe(b)));
}

template <class T>
std::int64_t CusolverMp::syevd_bytes(const BlockCyclicMatrix<T>& a, Real<T>* w, const BlockCyclicMatrix<T>& z,
                                     bool vectors) {
  char job[] = {vectors ? 'V' : 'N', '\0'};
  return with_info(syevd_sizes(job, a, describe(a), w, z, describe(z)));
}

template <class T>
std::int32_t CusolverMp::potrf(const BlockCyclicMatrix<T>& a, MemoryRegion workspace) {
  const Description of_a = describe(a);
  return run("cusolverMpPotrf", potrf_sizes(a, of_a), workspace, [&](Arena work, Bytes bytes, int* info) {
    return library_.potrf(handle_, lower, a.layout.rows.n, a.data, 1, 1, of_a.get(), data_type(ScalarTraits<T>::type),
                          work.take<std::byte>(0), bytes.device, host_.data(), bytes.host, info);
  });
}

template <class T>
std::int32_t CusolverMp::potrs(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& b, MemoryRegion workspace) {
  const Description of_a = describe(a), of_b = describe(b);
  return run("cusolverMpPotrs", potrs_sizes(a, of_a, b, of_b), workspace, [&](Arena work, Bytes bytes, int* info) {
    return library_.potrs(handle_, lower, a.layout.rows.n, b.layout.columns.n, a.data, 1, 1, of_a.get(), b.data, 1, 1,
                          of_b.get(), data_type(ScalarTraits<T>::type), work.take<std::byte>(0), bytes.device,
                          host_.data(), bytes.host, info);
  });
}

template <class T>
std::int32_t CusolverMp::syevd(const BlockCyclicMatrix<T>& a, Real<T>* w, const BlockCyclicMatrix<T>& z, bool vectors,
                               MemoryRegion workspace) {
  char job[] = {vectors ? 'V' : 'N', '\0'};
  const Description of_a = describe(a), of_z = describe(z);
  return run("cusolverMpSyevd", syevd_sizes(job, a, of_a, w, z, of_z), workspace,
             [&](Arena work, Bytes bytes, int* info) {
               return library_.syevd(handle_, job, lower, a.layout.rows.n, a.data, 1, 1, of_a.get(), w, z.data, 1, 1,
                                     of_z.get(), data_type(ScalarTraits<T>::type), work.take<std::byte>(0),
                                     bytes.device, host_.data(), bytes.host, info);
             });
}

#define JAXMG_INSTANTIATE(T)                                                                                        \
  template std::int64_t CusolverMp::potrf_bytes(const BlockCyclicMatrix<T>&);                                       \
  template std::int64_t CusolverMp::potrs_bytes(const BlockCyclicMatrix<T>&, const BlockCyclicMatrix<T>&);          \
  template std::int64_t CusolverMp::syevd_bytes(const BlockCyclicMatrix<T>&, Real<T>*, const BlockCyclicMatrix<T>&, \
                                                bool);                                                              \
  template std::int32_t CusolverMp::potrf(const BlockCyclicMatrix<T>&, MemoryRegion);                               \
  template std::int32_t CusolverMp::potrs(const BlockCyclicMatrix<T>&, const BlockCyclicMatrix<T>&, MemoryRegion);  \
  template std::int32_t CusolverMp::syevd(const BlockCyclicMatrix<T>&, Real<T>*, const BlockCyclicMatrix<T>&, bool, \
                                          MemoryRegion)
JAXMG_INSTANTIATE(float);
JAXMG_INSTANTIATE(double);
JAXMG_INSTANTIATE(std::complex<float>);
JAXMG_INSTANTIATE(std::complex<double>);
#undef JAXMG_INSTANTIATE

}  // namespace jaxmg::cuda
