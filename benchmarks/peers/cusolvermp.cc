// cuSOLVERMp's potrf and potrs, one thread a GPU in one process, tiles dealt over a grid of GPUs as square as can be.
#include <cusolverMp.h>
#include <nccl.h>

#include <barrier>
#include <thread>

#include "test_system.h"

namespace {

struct Grid {
  int rows, columns;
};

Grid grid_of(int devices) {
  int rows = static_cast<int>(std::sqrt(devices));
  while (devices % rows != 0) --rows;
  return {rows, devices / rows};
}

// Calls visit(index, local index, size) for the blocks of `n` that process `mine` of `count` holds.
template <class Visit>
void own_blocks(std::int64_t n, std::int64_t block, int mine, int count, Visit&& visit) {
  std::int64_t local = 0;
  for (std::int64_t begin = mine * block; begin < n; begin += count * block) {
    const std::int64_t size = std::min(block, n - begin);
    visit(begin, local, size);
    local += size;
  }
}

template <class T>
class Rank {
 public:
  Rank(const Arguments& arguments, int rank, ncclUniqueId id, std::barrier<>& all)
      : arguments_(arguments), rank_(rank), grid_size_(grid_of(arguments.devices)), all_(all) {
    CHECK(cudaSetDevice(rank));
    CHECK(ncclCommInitRank(&comm_, arguments.devices, id, rank));
    CHECK(cudaStreamCreate(&stream_));
    CHECK(cusolverMpCreate(&handle_, rank, stream_));
    CHECK(cusolverMpCreateDeviceGrid(handle_, &grid_, comm_, grid_size_.rows, grid_size_.columns,
                                     CUSOLVERMP_GRID_MAPPING_COL_MAJOR));
  }

  void measure(std::int64_t tile, Timing& timing) {
    const std::int64_t n = arguments_.n, nrhs = arguments_.nrhs;
    const int row = rank_ % grid_size_.rows, column = rank_ / grid_size_.rows;
    const auto local = [&](std::int64_t size, int place, int count) {
      std::int64_t sum = 0;
      own_blocks(size, tile, place, count, [&](std::int64_t, std::int64_t, std::int64_t width) { sum += width; });
      return std::max<std::int64_t>(1, sum);
    };
    const std::int64_t rows = local(n, row, grid_size_.rows);
    const std::int64_t a_columns = local(n, column, grid_size_.columns),
                       b_columns = local(nrhs, column, grid_size_.columns);
    constexpr auto type = data_type<T>();
    cusolverMpMatrixDescriptor_t a_description = nullptr, b_description = nullptr;
    CHECK(cusolverMpCreateMatrixDesc(&a_description, grid_, type, n, n, tile, tile, 0, 0, rows));
    CHECK(cusolverMpCreateMatrixDesc(&b_description, grid_, type, n, nrhs, tile, tile, 0, 0, rows));
    T *a = nullptr, *b = nullptr;
    int* device_info = nullptr;
    CHECK(cudaMalloc(&a, static_cast<std::size_t>(rows * a_columns) * sizeof(T)));
    CHECK(cudaMalloc(&b, static_cast<std::size_t>(rows * b_columns) * sizeof(T)));
    CHECK(cudaMalloc(&device_info, sizeof(int)));
    std::size_t device_size = 0, host_size = 0, size = 0, other_size = 0;
    CHECK(cusolverMpPotrf_bufferSize(handle_, CUBLAS_FILL_MODE_LOWER, n, a, 1, 1, a_description, type, &device_size,
                                     &host_size));
    CHECK(cusolverMpPotrs_bufferSize(handle_, CUBLAS_FILL_MODE_LOWER, n, nrhs, a, 1, 1, a_description, b, 1, 1,
                                     b_description, type, &size, &other_size));
    device_size = std::max({device_size, size, std::size_t{1}});
    host_size = std::max(host_size, other_size);
    void* device_work = nullptr;
    CHECK(cudaMalloc(&device_work, device_size));
    std::vector<char> host_work(host_size);
    const TestMatrix<T> source(n, tile);
    const auto rhs = right_hand_sides<T>(n, nrhs);

    for (int repeat = 0; repeat <= arguments_.repeats; ++repeat) {
      own_blocks(n, tile, row, grid_size_.rows, [&](std::int64_t i, std::int64_t li, std::int64_t height) {
        own_blocks(n, tile, column, grid_size_.columns, [&](std::int64_t j, std::int64_t lj, std::int64_t width) {
          source.fill(a + li + lj * rows, rows, i, j, height, width);
        });
        own_blocks(nrhs, tile, column, grid_size_.columns, [&](std::int64_t j, std::int64_t lj, std::int64_t width) {
          CHECK(cudaMemcpy2D(b + li + lj * rows, static_cast<std::size_t>(rows) * sizeof(T), rhs.data() + i + j * n,
                             static_cast<std::size_t>(n) * sizeof(T), static_cast<std::size_t>(height) * sizeof(T),
                             static_cast<std::size_t>(width), cudaMemcpyHostToDevice));
        });
      });
      const double begin = together();
      CHECK(cusolverMpPotrf(handle_, CUBLAS_FILL_MODE_LOWER, n, a, 1, 1, a_description, type, device_work, device_size,
                            host_work.data(), host_size, device_info));
      const double factored = together();
      CHECK(cusolverMpPotrs(handle_, CUBLAS_FILL_MODE_LOWER, n, nrhs, a, 1, 1, a_description, b, 1, 1, b_description,
                            type, device_work, device_size, host_work.data(), host_size, device_info));
      const double solved = together();
      if (rank_ != 0) continue;
      if (repeat == 0) {
        timing.first = solved - begin;
      } else {
        timing.potrf.push_back(factored - begin);
        timing.potrs.push_back(solved - factored);
      }
    }
    // The first column of X, in pieces on the first column of the grid.
    if (column == 0) {
      own_blocks(n, tile, row, grid_size_.rows, [&](std::int64_t i, std::int64_t li, std::int64_t height) {
        CHECK(cudaMemcpy(solution().data() + i, b + li, static_cast<std::size_t>(height) * sizeof(T),
                         cudaMemcpyDeviceToHost));
      });
    }
    together();
    if (rank_ == 0) timing.residual = relative_residual(n, solution().data(), rhs.data());
    for (void* memory : {static_cast<void*>(a), static_cast<void*>(b), static_cast<void*>(device_info), device_work}) {
      CHECK(cudaFree(memory));
    }
    CHECK(cusolverMpDestroyMatrixDesc(a_description));
    CHECK(cusolverMpDestroyMatrixDesc(b_description));
  }

  static std::vector<T>& solution() {
    static std::vector<T> x;
    return x;
  }

 private:
  // When all ranks have come here with nothing left to run.
  double together() {
    CHECK(cudaDeviceSynchronize());
    all_.arrive_and_wait();
    return now();
  }

  const Arguments& arguments_;
  int rank_;
  Grid grid_size_;
  std::barrier<>& all_;
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cusolverMpHandle_t handle_ = nullptr;
  cusolverMpGrid_t grid_ = nullptr;
};

template <class T>
int run(const Arguments& arguments) {
  std::vector<std::int64_t> tiles;
  for (const std::int64_t tile : {512, 1024}) {
    if (tiles.empty() || tile * arguments.devices <= arguments.n) tiles.push_back(std::min(tile, arguments.n));
  }
  std::vector<Timing> timings(tiles.size());
  Rank<T>::solution().resize(static_cast<std::size_t>(arguments.n));
  ncclUniqueId id;
  CHECK(ncclGetUniqueId(&id));
  std::barrier<> all(arguments.devices);
  std::vector<std::thread> threads;
  for (int r = 0; r < arguments.devices; ++r) {
    threads.emplace_back([&, r] {
      Rank<T> rank(arguments, r, id, all);
      for (std::size_t i = 0; i < tiles.size(); ++i) {
        if (r == 0) timings[i].tile = tiles[i];
        rank.measure(tiles[i], timings[i]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  print(timings);
  std::fflush(stdout);
  std::_Exit(0);  // the process ends here: communicators need not be taken down
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  return DISPATCH(run, arguments);
}
