#include "engine/cuda/kernels.h"

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>

#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"
#include "engine/engine.h"
#include "engine/scratch.h"

extern const unsigned char jaxmg_kernels_image[];

namespace jaxmg::cuda {
namespace {

// Kernels of a CUDA library serve every context of the process.
struct Kernels {
  CUkernel copy, subtract_f32, subtract_f64, check_factor_f32, check_factor_f64, conclude_f32, conclude_f64, set_i32;
  std::array<CUkernel, 4> geqrt;  // by ScalarType
  CUkernel unit_lower_f32, unit_lower_f64, largest_f32, largest_f64, choose_scale_f32, choose_scale_f64, multiply_f32,
      multiply_f64, divide_f32, divide_f64;
  std::array<std::array<CUkernel, 2>, 4> chase, form_diamonds;  // by ScalarType, and half-bandwidth 32 or 64
  std::array<CUkernel, 4> real_tridiagonal, merge_corners, scale_rows;
  // Of tridiagonal eigenproblems, for f32 and f64.
  std::array<CUkernel, 2> solve_leaves, take_cut_rows, rotate_columns, solve_secular, adapt_weights, keep_deflated,
      secular_vectors, bisect, widen;

  Kernels() {
    CUlibrary library{};
    JAXMG_CHECK(
        Driver::instance().library_load(&library, jaxmg_kernels_image, nullptr, nullptr, 0, nullptr, nullptr, 0));
    const auto get = [&](const char* name) {
      CUkernel kernel{};
      JAXMG_CHECK(Driver::instance().library_get_kernel(&kernel, library, name));
      return kernel;
    };
    copy = get("jaxmg_copy");
    subtract_f32 = get("jaxmg_subtract_f32");
    subtract_f64 = get("jaxmg_subtract_f64");
    check_factor_f32 = get("jaxmg_check_factor_f32");
    check_factor_f64 = get("jaxmg_check_factor_f64");
    conclude_f32 = get("jaxmg_conclude_f32");
    conclude_f64 = get("jaxmg_conclude_f64");
    set_i32 = get("jaxmg_set_i32");
    geqrt = {get("jaxmg_geqrt_f32"), get("jaxmg_geqrt_f64"), get("jaxmg_geqrt_c64"), get("jaxmg_geqrt_c128")};
    unit_lower_f32 = get("jaxmg_unit_lower_f32");
    unit_lower_f64 = get("jaxmg_unit_lower_f64");
    largest_f32 = get("jaxmg_largest_f32");
    largest_f64 = get("jaxmg_largest_f64");
    choose_scale_f32 = get("jaxmg_choose_scale_f32");
    choose_scale_f64 = get("jaxmg_choose_scale_f64");
    multiply_f32 = get("jaxmg_multiply_f32");
    multiply_f64 = get("jaxmg_multiply_f64");
    divide_f32 = get("jaxmg_divide_f32");
    divide_f64 = get("jaxmg_divide_f64");
    const auto by_bandwidth = [&](const std::string& name) {
      const auto both = [&](const std::string& full) {
        return std::array{get((full + "_32").c_str()), get((full + "_64").c_str())};
      };
      return std::array{both(name + "_f32"), both(name + "_f64"), both(name + "_c64"),
                        std::array{get((name + "_c128_32").c_str()), CUkernel{}}};
    };
    chase = by_bandwidth("jaxmg_chase");
    form_diamonds = by_bandwidth("jaxmg_form_diamonds");
    real_tridiagonal = {get("jaxmg_real_tridiagonal_f32"), get("jaxmg_real_tridiagonal_f64"),
                        get("jaxmg_real_tridiagonal_c64"), get("jaxmg_real_tridiagonal_c128")};
    merge_corners = {get("jaxmg_merge_corners_f32"), get("jaxmg_merge_corners_f64"), get("jaxmg_merge_corners_c64"),
                     get("jaxmg_merge_corners_c128")};
    scale_rows = {get("jaxmg_scale_rows_f32"), get("jaxmg_scale_rows_f64"), get("jaxmg_scale_rows_c64"),
                  get("jaxmg_scale_rows_c128")};
    const auto of_reals = [&](const std::string& name) {
      return std::array{get((name + "_f32").c_str()), get((name + "_f64").c_str())};
    };
    solve_leaves = of_reals("jaxmg_solve_leaves");
    take_cut_rows = of_reals("jaxmg_take_cut_rows");
    rotate_columns = of_reals("jaxmg_rotate_columns");
    solve_secular = of_reals("jaxmg_solve_secular");
    adapt_weights = of_reals("jaxmg_adapt_weights");
    keep_deflated = of_reals("jaxmg_keep_deflated");
    secular_vectors = of_reals("jaxmg_secular_vectors");
    bisect = of_reals("jaxmg_bisect");
    widen = of_reals("jaxmg_widen");
  }

  static const Kernels& instance() {
    static const Kernels kernels;
    return kernels;
  }
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

template <class Real>
constexpr CUkernel choose(CUkernel f32, CUkernel f64) {
  return std::is_same_v<Real, float> ? f32 : f64;
}
template <class Real>
CUkernel choose(const std::array<CUkernel, 2>& of_reals) {
  return choose<Real>(of_reals[0], of_reals[1]);
}

// Enough blocks for `count` elements, and no more than fill a GPU.
std::int64_t blocks_for(std::int64_t count, int threads) {
  return std::clamp<std::int64_t>((count + threads - 1) / threads, 1, 1024);
}

}  // namespace

void launch_copy(const CopyBatch& batch, int blocks, cudaStream_t stream) {
  void* pointers[] = {const_cast<CopyBatch*>(&batch)};
  JAXMG_CHECK(Driver::instance().launch_kernel(reinterpret_cast<CUfunction>(Kernels::instance().copy),
                                               static_cast<unsigned>(blocks), 1, 1, 512, 1, 1, 0, stream, pointers,
                                               nullptr));
}

void align(CopyItem& item) {
  const auto bits = reinterpret_cast<std::uintptr_t>(item.from) | reinterpret_cast<std::uintptr_t>(item.to) |
                    static_cast<std::uintptr_t>(item.column_bytes) |
                    (item.columns > 1 ? static_cast<std::uintptr_t>(item.from_pitch | item.to_pitch) : 0);
  item.vector = bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : 4;
}

void launch_set(std::int32_t* at, std::int32_t value, cudaStream_t stream) {
  launch(Kernels::instance().set_i32, 1, 1, stream, at, value);
}

template <class Real>
void launch_subtract(const Subtraction& subtraction, cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.subtract_f32, k.subtract_f64),
         blocks_for(static_cast<std::int64_t>(subtraction.rows) * subtraction.columns, 256), 256, stream, subtraction);
}

template <class Real>
void launch_check_factor(const Real* diagonal, std::int64_t stride, int n, int row, const int* failed,
                         std::int32_t* info, cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.check_factor_f32, k.check_factor_f64), 1, 1024, stream, diagonal,
         static_cast<long long>(stride), n, row, failed, info);
}

template <class Real>
void launch_conclude(const std::int32_t* info, int ranks, Real* x, std::int64_t count, std::int32_t* status,
                     cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.conclude_f32, k.conclude_f64), blocks_for(count, 256), 256, stream, info, ranks, no_failure, x,
         static_cast<long long>(count), status);
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
  // Fewer rows a block than this, and the sums over blocks take longer than what they save; more, if there must be.
  std::int64_t rows = std::clamp<std::int64_t>(fitting, 32, 256);
  rows = std::max(rows, (q.m + 32 * most - 1) / (32 * most) * 32);
  q.rows = checked_int(rows, "rows");
  q.in_shared = rows <= fitting ? 1 : 0;
  const std::int64_t blocks = (q.m + rows - 1) / rows;
  const std::int64_t dynamic = rows * size * (q.in_shared != 0 ? q.n + 2 : 2);
  if (dynamic > budget) {
    throw Error(ErrorCode::invalid_argument, "a panel of " + std::to_string(q.m) + " rows is too tall for this GPU");
  }
  q.arrived = reinterpret_cast<unsigned*>(static_cast<std::byte*>(q.scratch) + 2 * q.n * (blocks + 1) * size);
  JAXMG_CHECK(cudaMemsetAsync(q.arrived, 0, sizeof(unsigned), stream));
  const CUkernel kernel = Kernels::instance().geqrt[static_cast<std::size_t>(type)];
  const Driver& driver = Driver::instance();
  JAXMG_CHECK(driver.kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(dynamic),
                                          kernel, device));
  void* pointers[] = {&q};
  JAXMG_CHECK(driver.launch_cooperative_kernel(reinterpret_cast<CUfunction>(kernel), static_cast<unsigned>(blocks), 1,
                                               1, 512, 1, 1, static_cast<unsigned>(dynamic), stream, pointers));
}

CUkernel for_bandwidth(const std::array<std::array<CUkernel, 2>, 4>& kernels, ScalarType type, int b) {
  const CUkernel kernel = b == 32 || b == 64 ? kernels[static_cast<std::size_t>(type)][b == 64] : nullptr;
  if (kernel == nullptr) {
    throw Error(ErrorCode::internal, "no kernel takes bands of half-bandwidth " + std::to_string(b));
  }
  return kernel;
}

void launch_chase(Chase chase, int b, ScalarType type, cudaStream_t stream) {
  if (chase.n < 3) return;
  const auto function = reinterpret_cast<CUfunction>(for_bandwidth(Kernels::instance().chase, type, b));
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
  launch(Kernels::instance().real_tridiagonal[static_cast<std::size_t>(type)], 1, 256, stream, band, ld, n, d, e,
         phases);
}

void launch_form_diamonds(const DiamondBatch& batch, int waves, int b, ScalarType type, cudaStream_t stream) {
  const int longest = *std::max_element(batch.count, batch.count + waves) << (2 * batch.levels);
  const auto function = reinterpret_cast<CUfunction>(for_bandwidth(Kernels::instance().form_diamonds, type, b));
  void* pointers[] = {const_cast<DiamondBatch*>(&batch)};
  JAXMG_CHECK(Driver::instance().launch_kernel(function, static_cast<unsigned>(longest), static_cast<unsigned>(waves),
                                               1, static_cast<unsigned>(8 * b), 1, 1, 0, stream, pointers, nullptr));
}

void launch_merge_corners(const void* parts, void* q, void* y, int h, int count, ScalarType type, cudaStream_t stream) {
  if (count == 0) return;
  const auto function =
      reinterpret_cast<CUfunction>(Kernels::instance().merge_corners[static_cast<std::size_t>(type)]);
  void* pointers[] = {&parts, &q, &y, &h};
  JAXMG_CHECK(Driver::instance().launch_kernel(function, static_cast<unsigned>(count),
                                               static_cast<unsigned>(std::max(1, h * h / 4096)), 1, 256, 1, 1, 0,
                                               stream, pointers, nullptr));
}

void launch_scale_rows(const void* factors, void* a, std::int64_t ld, int rows, int columns, ScalarType type,
                       cudaStream_t stream) {
  launch(Kernels::instance().scale_rows[static_cast<std::size_t>(type)],
         blocks_for(static_cast<std::int64_t>(rows) * columns, 256), 256, stream, factors, a,
         static_cast<long long>(ld), rows, columns);
}

template <class Real>
void launch_unit_lower(Real* a, std::int64_t ld, int rows, int columns, int reals, cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.unit_lower_f32, k.unit_lower_f64), blocks_for(columns, 1), 128, stream, a,
         static_cast<long long>(ld), rows, columns, reals);
}

template <class Real>
void launch_largest(const Real* a, std::int64_t ld, int rows, int columns, Real* norm, cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.largest_f32, k.largest_f64), blocks_for(columns, 1), 256, stream, a, static_cast<long long>(ld),
         rows, columns, norm);
}

template <class Real>
void launch_choose_scale(const Real* norms, int ranks, Real* scale, std::int32_t failure, std::int32_t* info,
                         cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.choose_scale_f32, k.choose_scale_f64), 1, 1, stream, norms, ranks, scale, failure, info);
}

template <class Real>
void launch_multiply(const Real* scale, Real* a, std::int64_t ld, int rows, int columns, cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.multiply_f32, k.multiply_f64), blocks_for(columns, 1), 256, stream, scale, a,
         static_cast<long long>(ld), rows, columns);
}

template <class Real>
void launch_divide(const Real* scale, Real* a, std::int64_t ld, int rows, int columns, cudaStream_t stream) {
  const Kernels& k = Kernels::instance();
  launch(choose<Real>(k.divide_f32, k.divide_f64), blocks_for(columns, 1), 256, stream, scale, a,
         static_cast<long long>(ld), rows, columns);
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

template void launch_subtract<float>(const Subtraction&, cudaStream_t);
template void launch_subtract<double>(const Subtraction&, cudaStream_t);
template void launch_check_factor<float>(const float*, std::int64_t, int, int, const int*, std::int32_t*, cudaStream_t);
template void launch_check_factor<double>(const double*, std::int64_t, int, int, const int*, std::int32_t*,
                                          cudaStream_t);
template void launch_conclude<float>(const std::int32_t*, int, float*, std::int64_t, std::int32_t*, cudaStream_t);
template void launch_conclude<double>(const std::int32_t*, int, double*, std::int64_t, std::int32_t*, cudaStream_t);

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
  launch(choose<Real>(Kernels::instance().solve_leaves), count, 32, stream, leaves, Index{first}, d, e, Index{row},
         Index{q.rows}, q.data, Index{q.ld}, info);
}

template <class Real>
void launch_take_cut_rows(Halving merges, std::int64_t row, MatrixView<Real> q, std::int64_t first, std::int64_t count,
                          Real* z, cudaStream_t stream) {
  launch(choose<Real>(Kernels::instance().take_cut_rows), (count + 255) / 256, 256, stream, merges, Index{row}, q.data,
         Index{q.ld}, Index{first}, Index{count}, z);
}

template <class Real>
void launch_rotate_columns(Halving merges, const ColumnChains<Real>& chains, std::int64_t row, MatrixView<Real> from,
                           MatrixView<Real> to, cudaStream_t stream) {
  const RowBlocks y(merges, from.rows);
  launch_grid(choose<Real>(Kernels::instance().rotate_columns), chains.count, y.blocks, y.threads, stream, merges,
              chains, Index{row}, Index{from.rows}, from.data, Index{from.ld}, to.data, Index{to.ld});
}

template <class Real>
void launch_solve_secular(const MergeLevel<Real>& level, std::int64_t first, std::int64_t count, std::int32_t* info,
                          cudaStream_t stream) {
  launch(choose<Real>(Kernels::instance().solve_secular), (count + 3) / 4, 128, stream, level, Index{first},
         Index{count}, info);
}

template <class Real>
void launch_adapt_weights(const MergeLevel<Real>& level, std::int64_t first, std::int64_t count, cudaStream_t stream) {
  launch(choose<Real>(Kernels::instance().adapt_weights), (count + 3) / 4, 128, stream, level, Index{first},
         Index{count});
}

template <class Real>
void launch_keep_deflated(const MergeLevel<Real>& level, std::int64_t column, std::int64_t columns, std::int64_t row,
                          MatrixView<Real> from, MatrixView<Real> to, cudaStream_t stream) {
  const RowBlocks y(level.merges, from.rows);
  launch_grid(choose<Real>(Kernels::instance().keep_deflated), columns, y.blocks, y.threads, stream, level,
              Index{column}, Index{row}, Index{from.rows}, from.data, Index{from.ld}, to.data, Index{to.ld});
}

template <class Real>
void launch_secular_vectors(const MergeLevel<Real>& level, std::int64_t first, MatrixView<Real> s,
                            cudaStream_t stream) {
  const unsigned threads = s.rows <= 128 ? 32 : s.rows <= 1024 ? 128 : 256;
  launch(choose<Real>(Kernels::instance().secular_vectors), s.columns, threads, stream, level, Index{first}, s.data,
         Index{s.ld});
}

template <class Real>
void launch_bisect(std::int64_t n, const Real* d, const Real* squares, Real low, Real high, std::int64_t first,
                   MatrixView<Real> w, cudaStream_t stream) {
  launch(choose<Real>(Kernels::instance().bisect), (w.columns + 31) / 32, 128, stream, Index{n}, d, squares, low, high,
         Index{first}, Index{w.columns}, w.data, Index{w.ld});
}

template <class Real>
void launch_widen(MatrixView<Real> from, Real* to, std::int64_t ld, cudaStream_t stream) {
  launch(choose<Real>(Kernels::instance().widen), blocks_for(from.rows * from.columns, 256), 256, stream, from.data,
         Index{from.ld}, Index{from.rows}, Index{from.columns}, to, Index{ld});
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
