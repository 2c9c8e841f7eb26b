// cuSOLVERMg's potrf and potrs on several GPUs of one process: columns dealt in blocks, peer access.
#define DISABLE_CUSOLVERMG_DEPRECATED
#include <cusolverMg.h>

#include <memory>
#include <numeric>

#include "test_system.h"

namespace {

// A matrix of `columns` columns dealt in blocks of `tile`, round robin, as cuSOLVERMg wants it.
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

void synchronize(int devices) {
  for (int d = 0; d < devices; ++d) {
    CHECK(cudaSetDevice(d));
    CHECK(cudaDeviceSynchronize());
  }
}

template <class T>
Timing measure(const Arguments& arguments, cusolverMgHandle_t handle, cudaLibMgGrid_t grid, std::int64_t tile) {
  const int n = static_cast<int>(arguments.n), nrhs = static_cast<int>(arguments.nrhs), devices = arguments.devices;
  Timing timing;
  timing.tile = tile;
  Dealt<T> a(grid, n, n, tile, devices), b(grid, n, nrhs, tile, devices);
  std::vector<std::unique_ptr<TestMatrix<T>>> source;
  for (int d = 0; d < devices; ++d) {
    CHECK(cudaSetDevice(d));
    source.push_back(std::make_unique<TestMatrix<T>>(n, tile));
  }
  const auto rhs = right_hand_sides<T>(n, nrhs);

  constexpr auto type = data_type<T>();
  std::int64_t factor_size = 0, solve_size = 0;
  CHECK(cusolverMgPotrf_bufferSize(handle, CUBLAS_FILL_MODE_LOWER, n, a.data.data(), 1, 1, a.description, type,
                                   &factor_size));
  CHECK(cusolverMgPotrs_bufferSize(handle, CUBLAS_FILL_MODE_LOWER, n, nrhs, a.data.data(), 1, 1, a.description,
                                   b.data.data(), 1, 1, b.description, type, &solve_size));
  const std::int64_t size = std::max(factor_size, solve_size);
  std::vector<void*> work(static_cast<std::size_t>(devices));
  for (int d = 0; d < devices; ++d) {
    CHECK(cudaSetDevice(d));
    CHECK(cudaMalloc(&work[static_cast<std::size_t>(d)], static_cast<std::size_t>(size) * sizeof(T)));
  }

  for (int repeat = 0; repeat <= arguments.repeats; ++repeat) {
    a.blocks([&](int d, T* to, std::int64_t column, std::int64_t columns) {
      source[static_cast<std::size_t>(d)]->fill(to, n, 0, column, n, columns);
    });
    b.blocks([&](int, T* to, std::int64_t column, std::int64_t columns) {
      CHECK(cudaMemcpy(to, rhs.data() + column * n, static_cast<std::size_t>(n * columns) * sizeof(T),
                       cudaMemcpyHostToDevice));
    });
    synchronize(devices);
    int info = 0;
    const double begin = now();
    CHECK(cusolverMgPotrf(handle, CUBLAS_FILL_MODE_LOWER, n, a.data.data(), 1, 1, a.description, type, work.data(),
                          size, &info));
    synchronize(devices);
    const double factored = now();
    CHECK(info);
    CHECK(cusolverMgPotrs(handle, CUBLAS_FILL_MODE_LOWER, n, nrhs, a.data.data(), 1, 1, a.description, b.data.data(), 1,
                          1, b.description, type, work.data(), size, &info));
    synchronize(devices);
    const double solved = now();
    CHECK(info);
    if (repeat == 0) {
      timing.first = solved - begin;
    } else {
      timing.potrf.push_back(factored - begin);
      timing.potrs.push_back(solved - factored);
    }
  }

  std::vector<T> x(static_cast<std::size_t>(n));
  CHECK(cudaMemcpy(x.data(), b.data[0], x.size() * sizeof(T), cudaMemcpyDeviceToHost));
  timing.residual = relative_residual(n, x.data(), rhs.data());
  for (int d = 0; d < devices; ++d) {
    CHECK(cudaSetDevice(d));
    CHECK(cudaFree(work[static_cast<std::size_t>(d)]));
    source[static_cast<std::size_t>(d)].reset();
  }
  return timing;
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
  std::vector<Timing> timings;
  for (const std::int64_t tile : {256, 512}) {
    if (!timings.empty() && tile * arguments.devices > arguments.n) break;
    timings.push_back(measure<T>(arguments, handle, grid, std::min(tile, arguments.n)));
  }
  print(timings);
  return 0;
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  return DISPATCH(run, arguments);
}
