// cuSOLVERMg's routines on several GPUs of one process: columns dealt in blocks, peer access.
#define DISABLE_CUSOLVERMG_DEPRECATED
#include <cusolverMg.h>

#include <memory>
#include <numeric>

#include "cuda_system.h"
#include "routines.h"

namespace {

// A matrix of `columns` columns dealt round-robin in blocks of `tile`, as cuSOLVERMg requires.
template <class T>
struct Dealt {
  std::int64_t rows, columns, tile;
  int devices;
  std::vector<void*> data;
  cudaLibMgMatrixDesc_t description = nullptr;

  Dealt(cudaLibMgGrid_t grid, std::int64_t m, std::int64_t n, std::int64_t block, int count)
      : rows(m), columns(n), tile(block), devices(count) {
    CHECK(cusolverMgCreateMatrixDesc(&description, m, n, m, block, data_type<T>(), grid));
    const std::int64_t blocks = (n + block - 1) / block;
    for (int d = 0; d < count; ++d) {
      CHECK(cudaSetDevice(d));
      data.push_back(nullptr);
      CHECK(cudaMalloc(&data.back(), static_cast<std::size_t>(m * block * ((blocks + count - 1) / count)) * sizeof(T)));
    }
  }
  ~Dealt() {
    for (int d = 0; d < devices; ++d) {
      cudaSetDevice(d);
      cudaFree(data[static_cast<std::size_t>(d)]);
    }
    cusolverMgDestroyMatrixDesc(description);
  }
  Dealt(const Dealt&) = delete;
  Dealt& operator=(const Dealt&) = delete;

  // Calls visit(device, place, first column, number of columns) for each block.
  template <class Visit>
  void blocks(Visit&& visit) const {
    for (std::int64_t t = 0; t * tile < columns; ++t) {
      const int device = static_cast<int>(t % devices);
      CHECK(cudaSetDevice(device));
      visit(device, static_cast<T*>(data[static_cast<std::size_t>(device)]) + t / devices * tile * rows, t * tile,
            std::min(tile, columns - t * tile));
    }
  }
};

template <class T>
class Solver {
 public:
  Solver(const Arguments& arguments, cusolverMgHandle_t handle, cudaLibMgGrid_t grid, std::int64_t tile)
      : n_(static_cast<int>(arguments.n)),
        nrhs_(static_cast<int>(arguments.nrhs)),
        devices_(arguments.devices),
        inverse_(arguments.routine == "potri"),
        handle_(handle),
        tile_(tile),
        a_(grid, n_, n_, tile, devices_),
        // A matrix has at least one column.
        b_(grid, n_, std::max(1, nrhs_), tile, devices_),
        values_(static_cast<std::size_t>(n_)),
        pivots_(static_cast<std::size_t>(devices_)),
        work_(static_cast<std::size_t>(devices_)) {
    for (int d = 0; d < devices_; ++d) {
      CHECK(cudaSetDevice(d));
      source_.push_back(std::make_unique<TestMatrix<T>>(arguments.diagonals(), n_, tile));
    }
  }
  ~Solver() {
    for (int d = 0; d < devices_; ++d) {
      cudaSetDevice(d);
      cudaFree(work_[static_cast<std::size_t>(d)]);
      cudaFree(pivots_[static_cast<std::size_t>(d)]);
      source_[static_cast<std::size_t>(d)].reset();
    }
  }
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;

  std::int64_t tile() const { return tile_; }

  Step potrf() {
    std::int64_t size = 0;
    CHECK(cusolverMgPotrf_bufferSize(handle_, lower, n_, a_.data.data(), 1, 1, a_.description, type, &size));
    reserve(size);
    return {"potrf", [this, size] {
              CHECK(cusolverMgPotrf(handle_, lower, n_, a_.data.data(), 1, 1, a_.description, type, work_.data(), size,
                                    &info_));
            }};
  }

  Step potrs() {
    std::int64_t size = 0;
    CHECK(cusolverMgPotrs_bufferSize(handle_, lower, n_, nrhs_, a_.data.data(), 1, 1, a_.description, b_.data.data(), 1,
                                     1, b_.description, type, &size));
    reserve(size);
    return {"potrs", [this, size] {
              CHECK(cusolverMgPotrs(handle_, lower, n_, nrhs_, a_.data.data(), 1, 1, a_.description, b_.data.data(), 1,
                                    1, b_.description, type, work_.data(), size, &info_));
            }};
  }

  Step potri() {
    std::int64_t size = 0;
    CHECK(cusolverMgPotri_bufferSize(handle_, lower, n_, a_.data.data(), 1, 1, a_.description, type, &size));
    reserve(size);
    return {"potri", [this, size] {
              CHECK(cusolverMgPotri(handle_, lower, n_, a_.data.data(), 1, 1, a_.description, type, work_.data(), size,
                                    &info_));
            }};
  }

  Step getrf() {
    for (int d = 0; d < devices_; ++d) {
      CHECK(cudaSetDevice(d));
      CHECK(cudaMalloc(&pivots_[static_cast<std::size_t>(d)], static_cast<std::size_t>(n_) * sizeof(int)));
    }
    std::int64_t size = 0;
    CHECK(
        cusolverMgGetrf_bufferSize(handle_, n_, n_, a_.data.data(), 1, 1, a_.description, pivots_.data(), type, &size));
    reserve(size);
    return {"getrf", [this, size] {
              CHECK(cusolverMgGetrf(handle_, n_, n_, a_.data.data(), 1, 1, a_.description, pivots_.data(), type,
                                    work_.data(), size, &info_));
            }};
  }

  Step getrs() {
    std::int64_t size = 0;
    CHECK(cusolverMgGetrs_bufferSize(handle_, CUBLAS_OP_N, n_, nrhs_, a_.data.data(), 1, 1, a_.description,
                                     pivots_.data(), b_.data.data(), 1, 1, b_.description, type, &size));
    reserve(size);
    return {
        "getrs", [this, size] {
          CHECK(cusolverMgGetrs(handle_, CUBLAS_OP_N, n_, nrhs_, a_.data.data(), 1, 1, a_.description, pivots_.data(),
                                b_.data.data(), 1, 1, b_.description, type, work_.data(), size, &info_));
        }};
  }

  Step syevd(bool vectors) {
    const cusolverEigMode_t job = vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
    std::int64_t size = 0;
    CHECK(cusolverMgSyevd_bufferSize(handle_, job, lower, n_, a_.data.data(), 1, 1, a_.description, values_.data(),
                                     data_type<R>(), type, &size));
    reserve(size);
    return {"syevd", [this, job, size] {
              CHECK(cusolverMgSyevd(handle_, job, lower, n_, a_.data.data(), 1, 1, a_.description, values_.data(),
                                    data_type<R>(), type, work_.data(), size, &info_));
            }};
  }

  void allocate() {
    for (int d = 0; d < devices_; ++d) {
      CHECK(cudaSetDevice(d));
      CHECK(cudaMalloc(&work_[static_cast<std::size_t>(d)], static_cast<std::size_t>(size_) * sizeof(T)));
    }
  }

  void fill_matrix() {
    a_.blocks([&](int d, T* to, std::int64_t column, std::int64_t columns) {
      source_[static_cast<std::size_t>(d)]->fill(to, n_, 0, column, n_, columns);
    });
  }

  void fill_right_hand_sides(const std::vector<T>& rhs) {
    b_.blocks([&](int, T* to, std::int64_t column, std::int64_t columns) {
      CHECK(cudaMemcpy(to, rhs.data() + column * n_, static_cast<std::size_t>(n_ * columns) * sizeof(T),
                       cudaMemcpyHostToDevice));
    });
  }

  double synchronize() {
    for (int d = 0; d < devices_; ++d) {
      CHECK(cudaSetDevice(d));
      CHECK(cudaDeviceSynchronize());
    }
    const double time = now();
    CHECK(info_);
    return time;
  }

  std::vector<T> column(std::int64_t k) const {
    return column_of<T>(n_, k, inverse_, [this](auto&& visit) {
      a_.blocks([&](int, const T* block, std::int64_t first, std::int64_t columns) { visit(block, first, columns); });
    });
  }

  std::vector<T> solution() const { return download(static_cast<const T*>(b_.data[0]), n_); }

  std::vector<double> eigenvalues() const { return {values_.begin(), values_.end()}; }

 private:
  using R = typename Real<T>::type;
  static constexpr auto lower = CUBLAS_FILL_MODE_LOWER;
  static constexpr auto type = data_type<T>();

  void reserve(std::int64_t size) { size_ = std::max(size_, size); }

  int n_, nrhs_, devices_, info_ = 0;
  bool inverse_;
  cusolverMgHandle_t handle_;
  std::int64_t tile_;
  Dealt<T> a_, b_;
  std::vector<R> values_;  // cuSOLVERMg writes eigenvalues to the host
  std::vector<std::unique_ptr<TestMatrix<T>>> source_;
  std::int64_t size_ = 0;  // elements of workspace on each GPU, for the step that needs most
  std::vector<int*> pivots_;
  std::vector<void*> work_;
};

// The library does not report its own version.
std::string library() {
  int version = 0;  // 1000 major + 10 minor
  CHECK(cudaRuntimeGetVersion(&version));
  return "cuSOLVERMg of CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

template <class T>
int run(const Arguments& arguments) {
  std::vector<int> devices(static_cast<std::size_t>(arguments.devices));
  std::iota(devices.begin(), devices.end(), 0);
  for (const int d : devices) {
    CHECK(cudaSetDevice(d));
    for (const int peer : devices) {
      if (peer != d) CHECK(cudaDeviceEnablePeerAccess(peer, 0));
    }
  }
  cusolverMgHandle_t handle = nullptr;
  CHECK(cusolverMgCreate(&handle));
  CHECK(cusolverMgDeviceSelect(handle, arguments.devices, devices.data()));
  cudaLibMgGrid_t grid = nullptr;
  CHECK(cusolverMgCreateDeviceGrid(&grid, 1, arguments.devices, devices.data(), CUDALIBMG_GRID_MAPPING_COL_MAJOR));
  for (const std::int64_t tile : {256, 512}) {
    if (tile > 256 && tile * arguments.devices > arguments.n) break;
    Solver<T> solver(arguments, handle, grid, std::min(tile, arguments.n));
    Outcome outcome = measure<T>(arguments, solver);
    outcome.library = library();
    print(outcome);
  }
  return 0;
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  return DISPATCH(run, arguments);
}
