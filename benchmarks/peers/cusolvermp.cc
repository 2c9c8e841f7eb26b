// cuSOLVERMp's routines, with one thread per GPU in one process. Tiles are dealt over the squarest grid of GPUs; for
// least squares, over a column of GPUs.
#include <cusolverMp.h>
#include <nccl.h>

#include <barrier>
#include <thread>

#include "cuda_system.h"
#include "routines.h"

namespace {

struct Grid {
  int rows, columns;
};

// cusolverMpGels of cuSOLVERMp 0.9.1 failed for one right-hand side on 2 x 2 GPUs. On several columns of GPUs, it says,
// the panel of reflectors must fit within the column tiles of B.
Grid grid_of(const Arguments& arguments) {
  if (arguments.routine == "gels") return {arguments.devices, 1};
  int rows = static_cast<int>(std::sqrt(arguments.devices));
  while (arguments.devices % rows != 0) --rows;
  return {rows, arguments.devices / rows};
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

// Barrier and data shared by the ranks.
template <class T>
struct Meeting {
  std::barrier<> all;
  std::vector<T> column;

  explicit Meeting(const Arguments& arguments)
      : all(arguments.devices), column(static_cast<std::size_t>(arguments.n)) {}
};

struct Process {
  int rank;
  Grid size;
  cusolverMpHandle_t handle = nullptr;
  cusolverMpGrid_t grid = nullptr;

  Process(const Arguments& arguments, int mine, ncclUniqueId id) : rank(mine), size(grid_of(arguments)) {
    CHECK(cudaSetDevice(rank));
    ncclComm_t comm = nullptr;
    cudaStream_t stream = nullptr;
    CHECK(ncclCommInitRank(&comm, arguments.devices, id, rank));
    CHECK(cudaStreamCreate(&stream));
    CHECK(cusolverMpCreate(&handle, rank, stream));
    CHECK(cusolverMpCreateDeviceGrid(handle, &grid, comm, size.rows, size.columns, CUSOLVERMP_GRID_MAPPING_COL_MAJOR));
  }

  std::string library() const {
    int version = 0;  // 10000 major + 100 minor + patch
    CHECK(cusolverMpGetVersion(handle, &version));
    return "cuSOLVERMp " + dotted(version / 10000, version / 100 % 100, version % 100);
  }
};

// This process' part of a matrix in square tiles.
template <class T>
struct Dealt {
  const Process& process;
  std::int64_t m, n, tile, rows, columns;
  T* data = nullptr;
  cusolverMpMatrixDescriptor_t description = nullptr;

  Dealt(const Process& owner, std::int64_t height, std::int64_t width, std::int64_t block)
      : process(owner), m(height), n(width), tile(block) {
    rows = columns = 0;
    own_rows([&](std::int64_t, std::int64_t, std::int64_t count) { rows += count; });
    own_columns([&](std::int64_t, std::int64_t, std::int64_t count) { columns += count; });
    rows = std::max<std::int64_t>(1, rows);
    CHECK(cudaMalloc(&data, static_cast<std::size_t>(rows * std::max<std::int64_t>(1, columns)) * sizeof(T)));
    CHECK(cusolverMpCreateMatrixDesc(&description, process.grid, data_type<T>(), m, n, tile, tile, 0, 0, rows));
  }
  ~Dealt() {
    cudaFree(data);
    cusolverMpDestroyMatrixDesc(description);
  }
  Dealt(const Dealt&) = delete;
  Dealt& operator=(const Dealt&) = delete;

  template <class Visit>
  void own_rows(Visit&& visit) const {
    own_blocks(m, tile, process.rank % process.size.rows, process.size.rows, visit);
  }
  template <class Visit>
  void own_columns(Visit&& visit) const {
    own_blocks(n, tile, process.rank / process.size.rows, process.size.columns, visit);
  }
  // Calls visit(place, row, column, number of rows, of columns) for each tile.
  template <class Visit>
  void tiles(Visit&& visit) const {
    own_rows([&](std::int64_t i, std::int64_t li, std::int64_t height) {
      own_columns([&](std::int64_t j, std::int64_t lj, std::int64_t width) {
        visit(data + li + lj * rows, i, j, height, width);
      });
    });
  }
};

template <class T>
class Solver {
 public:
  Solver(const Arguments& arguments, const Process& process, std::int64_t tile, Meeting<T>& meeting)
      : n_(arguments.n),
        nrhs_(arguments.nrhs),
        handle_(process.handle),
        meeting_(meeting),
        a_(process, n_, n_, tile),
        // Right-hand sides, or eigenvectors.
        b_(process, n_, arguments.eigenproblem() ? n_ : std::max<std::int64_t>(1, nrhs_), tile),
        source_(arguments.diagonals(), n_, tile) {
    CHECK(cudaMalloc(&values_, static_cast<std::size_t>(n_) * sizeof(R)));
    CHECK(cudaMalloc(&device_info_, sizeof(int)));
  }
  ~Solver() {
    cudaFree(values_);
    cudaFree(device_info_);
    cudaFree(pivots_);
    cudaFree(scalars_);
    cudaFree(device_work_);
  }
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;

  std::int64_t tile() const { return a_.tile; }

  Step potrf() {
    std::size_t device = 0, host = 0;
    CHECK(cusolverMpPotrf_bufferSize(handle_, lower, n_, a_.data, 1, 1, a_.description, type, &device, &host));
    reserve(device, host);
    return {"potrf", [this] {
              CHECK(cusolverMpPotrf(handle_, lower, n_, a_.data, 1, 1, a_.description, type, device_work_, device_size_,
                                    host_work_.data(), host_size_, device_info_));
            }};
  }

  Step potrs() {
    std::size_t device = 0, host = 0;
    CHECK(cusolverMpPotrs_bufferSize(handle_, lower, n_, nrhs_, a_.data, 1, 1, a_.description, b_.data, 1, 1,
                                     b_.description, type, &device, &host));
    reserve(device, host);
    return {
        "potrs", [this] {
          CHECK(cusolverMpPotrs(handle_, lower, n_, nrhs_, a_.data, 1, 1, a_.description, b_.data, 1, 1, b_.description,
                                type, device_work_, device_size_, host_work_.data(), host_size_, device_info_));
        }};
  }

  Step getrf() {
    std::size_t device = 0, host = 0;
    // As in ScaLAPACK: one element per local row, plus one tile.
    CHECK(cudaMalloc(&pivots_, static_cast<std::size_t>(a_.rows + a_.tile) * sizeof(std::int64_t)));
    CHECK(cusolverMpGetrf_bufferSize(handle_, n_, n_, a_.data, 1, 1, a_.description, pivots_, type, &device, &host));
    reserve(device, host);
    return {"getrf", [this] {
              CHECK(cusolverMpGetrf(handle_, n_, n_, a_.data, 1, 1, a_.description, pivots_, type, device_work_,
                                    device_size_, host_work_.data(), host_size_, device_info_));
            }};
  }

  Step getrs() {
    std::size_t device = 0, host = 0;
    CHECK(cusolverMpGetrs_bufferSize(handle_, CUBLAS_OP_N, n_, nrhs_, a_.data, 1, 1, a_.description, pivots_, b_.data,
                                     1, 1, b_.description, type, &device, &host));
    reserve(device, host);
    return {"getrs", [this] {
              CHECK(cusolverMpGetrs(handle_, CUBLAS_OP_N, n_, nrhs_, a_.data, 1, 1, a_.description, pivots_, b_.data, 1,
                                    1, b_.description, type, device_work_, device_size_, host_work_.data(), host_size_,
                                    device_info_));
            }};
  }

  Step geqrf() {
    std::size_t device = 0, host = 0;
    CHECK(cudaMalloc(&scalars_, static_cast<std::size_t>(a_.columns + a_.tile) * sizeof(T)));
    CHECK(cusolverMpGeqrf_bufferSize(handle_, n_, n_, a_.data, 1, 1, a_.description, type, &device, &host));
    reserve(device, host);
    return {"geqrf", [this] {
              CHECK(cusolverMpGeqrf(handle_, n_, n_, a_.data, 1, 1, a_.description, scalars_, type, device_work_,
                                    device_size_, host_work_.data(), host_size_, device_info_));
            }};
  }

  Step gels() {
    std::size_t device = 0, host = 0;
    CHECK(cusolverMpGels_bufferSize(handle_, CUBLAS_OP_N, n_, n_, nrhs_, a_.data, 1, 1, a_.description, b_.data, 1, 1,
                                    b_.description, type, &device, &host));
    reserve(device, host);
    return {"gels", [this] {
              CHECK(cusolverMpGels(handle_, CUBLAS_OP_N, n_, n_, nrhs_, a_.data, 1, 1, a_.description, b_.data, 1, 1,
                                   b_.description, type, device_work_, device_size_, host_work_.data(), host_size_,
                                   device_info_));
            }};
  }

  Step syevd(bool vectors) {
    job_ = vectors ? "V" : "N";
    std::size_t device = 0, host = 0;
    CHECK(cusolverMpSyevd_bufferSize(handle_, job_.data(), lower, n_, a_.data, 1, 1, a_.description, values_, b_.data,
                                     1, 1, b_.description, type, &device, &host));
    reserve(device, host);
    return {"syevd", [this] {
              CHECK(cusolverMpSyevd(handle_, job_.data(), lower, n_, a_.data, 1, 1, a_.description, values_, b_.data, 1,
                                    1, b_.description, type, device_work_, device_size_, host_work_.data(), host_size_,
                                    device_info_));
            }};
  }

  void allocate() {
    CHECK(cudaMalloc(&device_work_, std::max<std::size_t>(1, device_size_)));
    host_work_.resize(host_size_);
  }

  void fill_matrix() {
    a_.tiles([&](T* to, std::int64_t i, std::int64_t j, std::int64_t height, std::int64_t width) {
      source_.fill(to, a_.rows, i, j, height, width);
    });
  }

  void fill_right_hand_sides(const std::vector<T>& rhs) {
    b_.tiles([&](T* to, std::int64_t i, std::int64_t j, std::int64_t height, std::int64_t width) {
      CHECK(cudaMemcpy2D(to, static_cast<std::size_t>(b_.rows) * sizeof(T), rhs.data() + i + j * n_,
                         static_cast<std::size_t>(n_) * sizeof(T), static_cast<std::size_t>(height) * sizeof(T),
                         static_cast<std::size_t>(width), cudaMemcpyHostToDevice));
    });
  }

  // When all ranks have come here with nothing left to run.
  double synchronize() {
    CHECK(cudaDeviceSynchronize());
    meeting_.all.arrive_and_wait();
    return now();
  }

  std::vector<T> solution() { return column(0); }

  // The ranks that hold column k of B, or of the factor, have its pieces.
  std::vector<T> column(std::int64_t k) {
    const Dealt<T>& from = scalars_ != nullptr ? a_ : b_;
    from.tiles([&](const T* tile, std::int64_t i, std::int64_t j, std::int64_t height, std::int64_t width) {
      if (k < j || k >= j + width) return;
      CHECK(cudaMemcpy(meeting_.column.data() + i, tile + (k - j) * from.rows,
                       static_cast<std::size_t>(height) * sizeof(T), cudaMemcpyDeviceToHost));
    });
    synchronize();
    std::vector<T> result = meeting_.column;
    synchronize();
    return result;
  }

  // All of them are on every rank.
  std::vector<double> eigenvalues() const {
    const std::vector<R> values = download(values_, n_);
    return {values.begin(), values.end()};
  }

 private:
  using R = typename Real<T>::type;
  static constexpr auto lower = CUBLAS_FILL_MODE_LOWER;
  static constexpr auto type = data_type<T>();

  void reserve(std::size_t device, std::size_t host) {
    device_size_ = std::max(device_size_, device);
    host_size_ = std::max(host_size_, host);
  }

  std::int64_t n_, nrhs_;
  cusolverMpHandle_t handle_;
  Meeting<T>& meeting_;
  Dealt<T> a_, b_;
  TestMatrix<T> source_;
  std::string job_;
  R* values_ = nullptr;
  std::int64_t* pivots_ = nullptr;
  T* scalars_ = nullptr;  // of the reflectors
  int* device_info_ = nullptr;
  std::size_t device_size_ = 0, host_size_ = 0;
  void* device_work_ = nullptr;
  std::vector<char> host_work_;
};

template <class T>
int run(const Arguments& arguments) {
  Meeting<T> meeting(arguments);
  ncclUniqueId id;
  CHECK(ncclGetUniqueId(&id));
  std::vector<std::thread> threads;
  for (int r = 0; r < arguments.devices; ++r) {
    threads.emplace_back([&, r] {
      const Process process(arguments, r, id);
      for (const std::int64_t tile : {512, 1024}) {
        if (tile > 512 && tile * arguments.devices > arguments.n) break;
        Solver<T> solver(arguments, process, std::min(tile, arguments.n), meeting);
        Outcome outcome = measure<T>(arguments, solver);
        outcome.library = process.library();
        outcome.grid = std::to_string(process.size.rows) + " x " + std::to_string(process.size.columns);
        if (r == 0) print(outcome);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::fflush(stdout);
  std::_Exit(0);  // the process ends here: communicators need not be taken down
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  return DISPATCH(run, arguments);
}
