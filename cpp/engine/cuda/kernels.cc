#include "engine/cuda/kernels.h"

#include <algorithm>
#include <array>
#include <complex>
#include <string>

#include "core/scalar.h"
#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"
#include "engine/engine.h"
#include "engine/scratch.h"

extern const unsigned char jaxmg_kernels_image[];

namespace jaxmg::cuda {
namespace {

// Kernels of a CUDA library serve every context of the process.
CUkernel find(const std::string& name) {
  static const CUlibrary library = [] {
    CUlibrary loaded{};
    JAXMG_CHECK(
        Driver::instance().library_load(&loaded, jaxmg_kernels_image, nullptr, nullptr, 0, nullptr, nullptr, 0));
    return loaded;
  }();
  CUkernel kernel{};
  JAXMG_CHECK(Driver::instance().library_get_kernel(&kernel, library, ("jaxmg_" + name).c_str()));
  return kernel;
}

constexpr const char* suffixes[] = {"_f32", "_f64", "_c64", "_c128"};  // by ScalarType

// The kernel `name` for scalars T.
template <class T>
CUkernel find_for(const std::string& name) {
  return find(name + suffixes[static_cast<std::size_t>(ScalarTraits<T>::type)]);
}

// The kernels `name` for all scalars.
class ByType {
 public:
  explicit ByType(const std::string& name) {
    for (std::size_t type = 0; type < kernels_.size(); ++type) kernels_[type] = find(name + suffixes[type]);
  }
  CUkernel operator()(ScalarType type) const { return kernels_[static_cast<std::size_t>(type)]; }

 private:
  std::array<CUkernel, 4> kernels_{};
};

// The same for half-bandwidths 32 and 64, of which complex128 has only the first.
class ByBandwidth {
 public:
  explicit ByBandwidth(const std::string& name) {
    for (std::size_t type = 0; type < narrow_.size(); ++type) {
      narrow_[type] = find(name + suffixes[type] + "_32");
      if (static_cast<ScalarType>(type) != ScalarType::c128) wide_[type] = find(name + suffixes[type] + "_64");
    }
  }
  CUkernel operator()(ScalarType type, int b) const {
    const CUkernel kernel = b == 32   ? narrow_[static_cast<std::size_t>(type)]
                            : b == 64 ? wide_[static_cast<std::size_t>(type)]
                                      : nullptr;
    if (kernel == nullptr) {
      throw Error(ErrorCode::internal, "no kernel takes bands of half-bandwidth " + std::to_string(b));
    }
    return kernel;
  }

 private:
  std::array<CUkernel, 4> narrow_{}, wide_{};
};

template <class... Arguments>
void launch(CUkernel kernel, std::int64_t blocks, unsigned threads, cudaStream_t stream, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(blocks), 1,
                                               1, threads, 1, 1, 0, stream, pointers, nullptr));
}

// The same for a grid of two dimensions.
template <class... Arguments>
void launch_grid(CUkernel kernel, std::int64_t x, std::int64_t y, unsigned threads, cudaStream_t stream,
                 Arguments... arguments) {
  void* pointers[] = {&arguments...};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(x),
                                               static_cast<unsigned>(y), 1, threads, 1, 1, 0, stream, pointers,
                                               nullptr));
}

// Enough blocks for `count` elements, and no more than fill a GPU.
std::int64_t blocks_for(std::int64_t count, int threads) {
  return std::clamp<std::int64_t>((count + threads - 1) / threads, 1, 1024);
}

}  // namespace

void launch_copy(const CopyBatch& batch, int blocks, cudaStream_t stream) {
  static const CUkernel kernel = find("copy");
  void* pointers[] = {const_cast<CopyBatch*>(&batch)};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(blocks), 1,
                                               1, 512, 1, 1, 0, stream, pointers, nullptr));
}

void align(CopyItem& item) {
  const auto bits = reinterpret_cast<std::uintptr_t>(item.from) | reinterpret_cast<std::uintptr_t>(item.to) |
                    static_cast<std::uintptr_t>(item.column_bytes) |
                    (item.columns > 1 ? static_cast<std::uintptr_t>(item.from_pitch | item.to_pitch) : 0);
  item.vector = bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : 4;
}

void launch_set(std::int32_t* at, std::int32_t value, cudaStream_t stream) {
  static const CUkernel kernel = find("set_i32");
  launch(kernel, 1, 1, stream, at, value);
}

template <class Real>
void launch_subtract(const Subtraction& subtraction, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("subtract");
  launch(kernel, blocks_for(static_cast<std::int64_t>(subtraction.rows) * subtraction.columns, 256), 256, stream,
         subtraction);
}

template <class Real>
void launch_set_diagonal(Real* diagonal, std::int64_t stride, int n, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("set_diagonal");
  launch(kernel, (n + 255) / 256, 256, stream, diagonal, static_cast<long long>(stride), n);
}

template <class T>
void launch_mirror(T* a, std::int64_t ld, int n, cudaStream_t stream) {
  static const CUkernel kernel = find_for<T>("mirror");
  launch(kernel, blocks_for(static_cast<std::int64_t>(n) * n, 1024), 256, stream, a, static_cast<long long>(ld), n);
}

template <class T>
void launch_zero_below(T* a, std::int64_t ld, int n, cudaStream_t stream) {
  static const CUkernel kernel = find_for<T>("zero_below");
  launch(kernel, blocks_for(n, 1), 256, stream, a, static_cast<long long>(ld), n);
}

template <class Real>
void launch_check_factor(const Real* diagonal, std::int64_t stride, int n, int row, const int* failed,
                         std::int32_t* info, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("check_factor");
  launch(kernel, 1, 1024, stream, diagonal, static_cast<long long>(stride), n, row, failed, info);
}

template <class Real>
void launch_conclude(const std::int32_t* info, int ranks, Real* x, std::int64_t count, std::int32_t* status,
                     cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("conclude");
  launch(kernel, blocks_for(count, 256), 256, stream, info, ranks, no_failure, x, static_cast<long long>(count),
         status);
}

void launch_geqrt(PanelQr q, ScalarType type, cudaStream_t stream) {
  if (q.n > qr_columns) {
    throw Error(ErrorCode::invalid_argument,
                "panels have at most " + std::to_string(qr_columns) + " columns, not " + std::to_string(q.n));
  }
  int device = 0, multiprocessors = 0, shared = 0;
  JAXMG_CHECK(cudaGetDevice(&device));
  JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  JAXMG_CHECK(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  const std::int64_t size = size_of(type), most = std::min<std::int64_t>(multiprocessors, geqrt_blocks);
  // What the kernel declares itself are three numbers a column.
  const std::int64_t budget = shared - 3 * qr_columns * size - 1024;
  const std::int64_t fitting = budget / (size * (q.n + 2)) / 32 * 32;
  // Half of the multiprocessors, so that updates go on beside. They get more rows than fit only if all must.
  const auto rows_of = [&](std::int64_t blocks) { return (q.m + 32 * blocks - 1) / (32 * blocks) * 32; };
  const std::int64_t rows =
      std::max(std::clamp<std::int64_t>(rows_of(most / 2), 64, std::max<std::int64_t>(64, fitting)), rows_of(most));
  q.rows = checked_int(rows, "rows");
  q.in_shared = rows <= fitting ? 1 : 0;
  const std::int64_t blocks = (q.m + rows - 1) / rows;
  const std::int64_t dynamic = rows * size * (q.in_shared != 0 ? q.n + 2 : 2);
  if (dynamic > budget) {
    throw Error(ErrorCode::invalid_argument, "a panel of " + std::to_string(q.m) + " rows is too tall for this GPU");
  }
  q.arrived = reinterpret_cast<unsigned*>(static_cast<std::byte*>(q.scratch) + 2 * q.n * (blocks + 1) * size);
  JAXMG_CHECK(cudaMemsetAsync(q.arrived, 0, sizeof(unsigned), stream));
  static const ByType kernels("geqrt");
  const CUkernel kernel = kernels(type);
  const Driver& driver = Driver::instance();
  JAXMG_CHECK(driver.kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(dynamic),
                                          kernel, device));
  void* pointers[] = {&q};
  JAXMG_CHECK(driver.launch_cooperative_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(blocks), 1,
                                               1, 512, 1, 1, static_cast<unsigned>(dynamic), stream, pointers));
}

void launch_chase(Chase chase, int b, ScalarType type, cudaStream_t stream) {
  if (chase.n < 3) return;
  static const ByBandwidth kernels("chase");
  const auto function = reinterpret_cast<CUfunction>(kernels(type, b));
  const Driver& driver = Driver::instance();
  int device = 0, multiprocessors = 0, at_once = 0;
  JAXMG_CHECK(cudaGetDevice(&device));
  JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  JAXMG_CHECK(driver.occupancy_max_active_blocks(&at_once, function, chase_threads, 0));
  const int blocks = std::min(chase.n - 2, at_once * multiprocessors);
  JAXMG_CHECK(cudaMemsetAsync(chase.progress, 0, static_cast<std::size_t>(chase.n) * sizeof(int), stream));
  void* pointers[] = {&chase};
  JAXMG_CHECK(driver.launch_cooperative_kernel(function, static_cast<unsigned>(blocks), 1, 1, chase_threads, 1, 1, 0,
                                               stream, pointers));
}

void launch_real_tridiagonal(const void* band, int ld, int n, void* d, void* e, void* phases, ScalarType type,
                             cudaStream_t stream) {
  static const ByType kernels("real_tridiagonal");
  launch(kernels(type), 1, 256, stream, band, ld, n, d, e, phases);
}

void launch_form_diamonds(const DiamondBatch& batch, int waves, int b, ScalarType type, cudaStream_t stream) {
  const int longest = *std::max_element(batch.count, batch.count + waves) << (2 * batch.levels);
  static const ByBandwidth kernels("form_diamonds");
  const auto function = reinterpret_cast<CUfunction>(kernels(type, b));
  void* pointers[] = {const_cast<DiamondBatch*>(&batch)};
  JAXMG_CHECK(Driver::instance().launch_kernel(function, static_cast<unsigned>(longest), static_cast<unsigned>(waves),
                                               1, static_cast<unsigned>(8 * b), 1, 1, 0, stream, pointers, nullptr));
}

void launch_merge_corners(const void* parts, void* q, void* y, int h, int count, ScalarType type, cudaStream_t stream) {
  if (count == 0) return;
  static const ByType kernels("merge_corners");
  const auto function = reinterpret_cast<CUfunction>(kernels(type));
  void* pointers[] = {&parts, &q, &y, &h};
  JAXMG_CHECK(Driver::instance().launch_kernel(function, static_cast<unsigned>(count),
                                               static_cast<unsigned>(std::max(1, h * h / 4096)), 1, 256, 1, 1, 0,
                                               stream, pointers, nullptr));
}

void launch_scale_rows(const void* factors, void* a, std::int64_t ld, int rows, int columns, ScalarType type,
                       cudaStream_t stream) {
  static const ByType kernels("scale_rows");
  launch(kernels(type), blocks_for(static_cast<std::int64_t>(rows) * columns, 256), 256, stream, factors, a,
         static_cast<long long>(ld), rows, columns);
}

template <class Real>
void launch_unit_lower(Real* a, std::int64_t ld, int rows, int columns, int reals, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("unit_lower");
  launch(kernel, blocks_for(columns, 1), 128, stream, a, static_cast<long long>(ld), rows, columns, reals);
}

template <class Real>
void launch_largest(const Real* a, std::int64_t ld, int rows, int columns, Real* norm, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("largest");
  launch(kernel, blocks_for(columns, 1), 256, stream, a, static_cast<long long>(ld), rows, columns, norm);
}

template <class Real>
void launch_choose_scale(const Real* norms, int ranks, Real* scale, std::int32_t failure, std::int32_t* info,
                         cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("choose_scale");
  launch(kernel, 1, 1, stream, norms, ranks, scale, failure, info);
}

template <class Real>
void launch_multiply(const Real* scale, Real* a, std::int64_t ld, int rows, int columns, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("multiply");
  launch(kernel, blocks_for(columns, 1), 256, stream, scale, a, static_cast<long long>(ld), rows, columns);
}

template <class Real>
void launch_divide(const Real* scale, Real* a, std::int64_t ld, int rows, int columns, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("divide");
  launch(kernel, blocks_for(columns, 1), 256, stream, scale, a, static_cast<long long>(ld), rows, columns);
}

#define JAXMG_INSTANTIATE(Real)                                                                                \
  template void launch_unit_lower<Real>(Real*, std::int64_t, int, int, int, cudaStream_t);                     \
  template void launch_largest<Real>(const Real*, std::int64_t, int, int, Real*, cudaStream_t);                \
  template void launch_choose_scale<Real>(const Real*, int, Real*, std::int32_t, std::int32_t*, cudaStream_t); \
  template void launch_multiply<Real>(const Real*, Real*, std::int64_t, int, int, cudaStream_t);               \
  template void launch_divide<Real>(const Real*, Real*, std::int64_t, int, int, cudaStream_t);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
#undef JAXMG_INSTANTIATE

#define JAXMG_INSTANTIATE(Real)                                                                           \
  template void launch_subtract<Real>(const Subtraction&, cudaStream_t);                                  \
  template void launch_set_diagonal<Real>(Real*, std::int64_t, int, cudaStream_t);                        \
  template void launch_check_factor<Real>(const Real*, std::int64_t, int, int, const int*, std::int32_t*, \
                                          cudaStream_t);                                                  \
  template void launch_conclude<Real>(const std::int32_t*, int, Real*, std::int64_t, std::int32_t*, cudaStream_t);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
#undef JAXMG_INSTANTIATE

#define JAXMG_INSTANTIATE(T)                                           \
  template void launch_mirror<T>(T*, std::int64_t, int, cudaStream_t); \
  template void launch_zero_below<T>(T*, std::int64_t, int, cudaStream_t);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
#undef JAXMG_INSTANTIATE

// Threads for the rows of a part, whole warps and at most 256, and thread blocks that cover them.
struct RowBlocks {
  unsigned threads;
  std::int64_t blocks;

  RowBlocks(Halving parts, std::int64_t own_rows) {
    const std::int64_t longest = (parts.n + parts.parts - 1) / parts.parts, rows = std::min(longest, own_rows);
    threads = static_cast<unsigned>(std::min<std::int64_t>(256, (rows + 31) / 32 * 32));
    blocks = (rows + threads - 1) / threads;
  }
};

template <class Real>
void launch_solve_leaves(Halving leaves, std::int64_t first, std::int64_t count, Real* d, const Real* e,
                         std::int64_t row, MatrixView<Real> q, std::int32_t* info, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("solve_leaves");
  launch(kernel, count, 32, stream, leaves, Index{first}, d, e, Index{row}, Index{q.rows}, q.data, Index{q.ld}, info);
}

template <class Real>
void launch_take_cut_rows(Halving merges, std::int64_t row, MatrixView<Real> q, std::int64_t first, std::int64_t count,
                          Real* z, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("take_cut_rows");
  launch(kernel, (count + 255) / 256, 256, stream, merges, Index{row}, q.data, Index{q.ld}, Index{first}, Index{count},
         z);
}

template <class Real>
void launch_rotate_columns(Halving merges, const ColumnChains<Real>& chains, std::int64_t row, MatrixView<Real> from,
                           MatrixView<Real> to, cudaStream_t stream) {
  const RowBlocks y(merges, from.rows);
  static const CUkernel kernel = find_for<Real>("rotate_columns");
  launch_grid(kernel, chains.count, y.blocks, y.threads, stream, merges, chains, Index{row}, Index{from.rows},
              from.data, Index{from.ld}, to.data, Index{to.ld});
}

template <class Real>
void launch_solve_secular(const MergeLevel<Real>& level, std::int64_t first, std::int64_t count, std::int32_t* info,
                          cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("solve_secular");
  launch(kernel, (count + 3) / 4, 128, stream, level, Index{first}, Index{count}, info);
}

template <class Real>
void launch_adapt_weights(const MergeLevel<Real>& level, std::int64_t first, std::int64_t count, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("adapt_weights");
  launch(kernel, (count + 3) / 4, 128, stream, level, Index{first}, Index{count});
}

template <class Real>
void launch_keep_deflated(const MergeLevel<Real>& level, std::int64_t column, std::int64_t columns, std::int64_t row,
                          MatrixView<Real> from, MatrixView<Real> to, cudaStream_t stream) {
  const RowBlocks y(level.merges, from.rows);
  static const CUkernel kernel = find_for<Real>("keep_deflated");
  launch_grid(kernel, columns, y.blocks, y.threads, stream, level, Index{column}, Index{row}, Index{from.rows},
              from.data, Index{from.ld}, to.data, Index{to.ld});
}

template <class Real>
void launch_secular_vectors(const MergeLevel<Real>& level, std::int64_t first, MatrixView<Real> s,
                            cudaStream_t stream) {
  const unsigned threads = s.rows <= 128 ? 32 : s.rows <= 1024 ? 128 : 256;
  static const CUkernel kernel = find_for<Real>("secular_vectors");
  launch(kernel, s.columns, threads, stream, level, Index{first}, s.data, Index{s.ld});
}

template <class Real>
void launch_bisect(std::int64_t n, const Real* d, const Real* squares, Real low, Real high, std::int64_t first,
                   MatrixView<Real> w, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("bisect");
  launch(kernel, (w.columns + 31) / 32, 128, stream, Index{n}, d, squares, low, high, Index{first}, Index{w.columns},
         w.data, Index{w.ld});
}

template <class Real>
void launch_widen(MatrixView<Real> from, Real* to, std::int64_t ld, cudaStream_t stream) {
  static const CUkernel kernel = find_for<Real>("widen");
  launch(kernel, blocks_for(from.rows * from.columns, 256), 256, stream, from.data, Index{from.ld}, Index{from.rows},
         Index{from.columns}, to, Index{ld});
}

#define JAXMG_INSTANTIATE(Real)                                                                                        \
  template void launch_solve_leaves<Real>(Halving, std::int64_t, std::int64_t, Real*, const Real*, std::int64_t,       \
                                          MatrixView<Real>, std::int32_t*, cudaStream_t);                              \
  template void launch_take_cut_rows<Real>(Halving, std::int64_t, MatrixView<Real>, std::int64_t, std::int64_t, Real*, \
                                           cudaStream_t);                                                              \
  template void launch_rotate_columns<Real>(Halving, const ColumnChains<Real>&, std::int64_t, MatrixView<Real>,        \
                                            MatrixView<Real>, cudaStream_t);                                           \
  template void launch_solve_secular<Real>(const MergeLevel<Real>&, std::int64_t, std::int64_t, std::int32_t*,         \
                                           cudaStream_t);                                                              \
  template void launch_adapt_weights<Real>(const MergeLevel<Real>&, std::int64_t, std::int64_t, cudaStream_t);         \
  template void launch_keep_deflated<Real>(const MergeLevel<Real>&, std::int64_t, std::int64_t, std::int64_t,          \
                                           MatrixView<Real>, MatrixView<Real>, cudaStream_t);                          \
  template void launch_secular_vectors<Real>(const MergeLevel<Real>&, std::int64_t, MatrixView<Real>, cudaStream_t);   \
  template void launch_bisect<Real>(std::int64_t, const Real*, const Real*, Real, Real, std::int64_t,                  \
                                    MatrixView<Real>, cudaStream_t);                                                   \
  template void launch_widen<Real>(MatrixView<Real>, Real*, std::int64_t, cudaStream_t);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
#undef JAXMG_INSTANTIATE

}  // namespace jaxmg::cuda
