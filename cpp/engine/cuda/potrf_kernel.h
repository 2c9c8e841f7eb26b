// Cholesky factorisation of a diagonal block, and solves X L^H = B for rows of B, each in one launch.
//
// Both work on square tiles, and a thread block owns a row of tiles. It computes its tiles from left to right:
//
//   X_ij = (B_ij - sum over k < j of X_ik L_jk^H) L_jj^-H        by forward substitution, without any inverse of L_jj
//
// In a solve, thread blocks do not depend on each other. In a factorisation B is A, X is L, and the row ends with its
// diagonal tile:
//
//   L_ii L_ii^H = A_ii - sum over k < i of L_ik L_ik^H
//
// A thread block waits for tiles of the rows above, whose thread blocks count their finished tiles. It draws the number
// of its row when it starts, and therefore the rows above have started: no thread block waits for one that does not
// run, however many run at once. The critical path is the sequence of diagonal tiles; all products but the last are
// summed up before a thread block waits for the diagonal tile above.
//
// The sums are formed by several warps in matrix units: each takes four columns of every tile k. The substitution and
// the factorisation of a tile are work of one warp with a row in each thread, in registers.
//
// For the kernel compiler only.
#pragma once

#include "device_flags.h"
#include "device_scalar.h"
#include "kernel_abi.h"
#include "matrix_units.h"

namespace jaxmg {

// Some rows of a column-major matrix in global memory, with zeros below them. Other thread blocks may have written
// them.
template <class T>
struct GlobalRows {
  const T* at;
  long long ld;
  int rows;
  __device__ __forceinline__ T operator()(int i, int k) const { return i < rows ? load_fresh(at + i + k * ld) : T{}; }
};

// A tile in shared memory, of columns `first` on.
template <class T>
struct SharedRows {
  const T* at;
  int pitch, first;
  __device__ __forceinline__ T operator()(int i, int k) const { return at[i + (k - first) * pitch]; }
};

// A lane's elements of four columns of X and L, the operands of a warp's product of `rows` by `width`; see
// matrix_units.h.
template <class T, int rows, int width>
struct WarpOperands {
  T left[rows / 8], right[width / 8];

  template <class Left, class Right>
  __device__ __forceinline__ void load(Left x, Right l, int column) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < rows / 8; ++i) left[i] = x(8 * i + lane / 4, column + lane % 4);
#pragma unroll
    for (int j = 0; j < width / 8; ++j) right[j] = l(8 * j + lane / 4, column + lane % 4);
  }
};

// The tiles that a thread block works on, `tile_rows` by `width`, and its shared memory.
template <class T, int tile_rows>
struct RowOfTiles {
  static constexpr int rows = tile_rows, width = cholesky_width<sizeof(T)>, threads = cholesky_threads<sizeof(T)>;
  static constexpr int warps = threads / 32, pitch = cholesky_pitch<sizeof(T)>(rows), share = rows * width / threads;
  static_assert(width / warps == cholesky_columns_of_warp, "a warp takes its columns of every tile");

  // A warp's elements of a sum over some columns, and a thread's shares of a tile and of L_jj.
  using Sum = T[rows / 8][width / 8][2];
  using Share = T[share];
  using FactorShare = T[width * width / threads];

  T* partial;      // a tile for each warp; the first becomes the tile B_ij - sum
  T* solved;       // X_ij
  T* factor;       // L_jj, width by width, with zeros and ones beyond n
  T* reciprocals;  // of the diagonal of L_jj^H, which is real in potrf only

  __device__ explicit RowOfTiles(unsigned char* shared)
      : partial(reinterpret_cast<T*>(shared)),
        solved(partial + warps * width * pitch),
        factor(solved + width * pitch),
        reciprocals(factor + width * width) {}

  __device__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }
  // The row of a lane where one warp has all rows.
  __device__ static int row_of_lane() { return lane() % rows; }

  // Adds X_i,k L_j,k^H for tiles [first, last). While a product is formed, the operands of the next tile are on their
  // way from the L2 cache; in float32, whose products take little time, the operands of
  // four tiles.
  template <class Left, class Right>
  __device__ static __forceinline__ void accumulate(Sum& sum, Left x, Right l, int first, int last) {
    using Operands = WarpOperands<T, rows, width>;
    const auto column = [](int k) { return k * width + cholesky_columns_of_warp * warp(); };
    if constexpr (sizeof(T) == 4) {
      constexpr int ahead = 4;
      Operands operands[ahead];
#pragma unroll
      for (int s = 0; s < ahead; ++s) {
        if (first + s < last) operands[s].load(x, l, column(first + s));
      }
      for (int k = first; k < last; k += ahead) {
#pragma unroll
        for (int s = 0; s < ahead; ++s) {
          if (k + s < last) add_product(sum, operands[s].left, operands[s].right);
          if (k + s + ahead < last) operands[s].load(x, l, column(k + s + ahead));
        }
      }
    } else {
      if (first == last) return;
      Operands operands;
      operands.load(x, l, column(first));
      for (int k = first; k + 1 < last; ++k) {
        Operands next;
        next.load(x, l, column(k + 1));
        add_product(sum, operands.left, operands.right);
        operands = next;
      }
      add_product(sum, operands.left, operands.right);
    }
  }

  // Element m of a thread's share of a tile.
  __device__ static __forceinline__ int share_row(int m) {
    return (static_cast<int>(threadIdx.x) + m * threads) % rows;
  }
  __device__ static __forceinline__ int share_column(int m) {
    return (static_cast<int>(threadIdx.x) + m * threads) / rows;
  }

  // Reads a thread's share of a tile with m rows and n columns.
  __device__ static __forceinline__ void read(Share& b, const T* from, long long ld, int m, int n) {
#pragma unroll
    for (int s = 0; s < share; ++s) {
      const int i = share_row(s), k = share_column(s);
      b[s] = i < m && k < n ? load_fresh(from + i + k * ld) : T{};
    }
  }

  // Stores the sum of a warp. After a barrier, subtract() replaces the first one by B_ij less the sum over all warps.
  __device__ __forceinline__ void store(const Sum& sum) const {
    T* const own = partial + warp() * width * pitch;
#pragma unroll
    for (int i = 0; i < rows / 8; ++i) {
#pragma unroll
      for (int j = 0; j < width / 8; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) own[8 * i + lane() / 4 + (8 * j + 2 * (lane() % 4) + c) * pitch] = sum[i][j][c];
      }
    }
  }
  __device__ __forceinline__ void subtract(const Share& b) const {
#pragma unroll
    for (int s = 0; s < share; ++s) {
      T* const at = partial + share_row(s) + share_column(s) * pitch;
      T total = at[0];
#pragma unroll
      for (int w = 1; w < warps; ++w) total = total + at[w * width * pitch];
      at[0] = b[s] - total;
    }
  }

  // Reads L_jj of order n, and keeps it in shared memory.
  __device__ static __forceinline__ void read_factor(FactorShare& f, GlobalRows<T> l, int n) {
#pragma unroll
    for (int s = 0; s < width * width / threads; ++s) {
      const int e = static_cast<int>(threadIdx.x) + s * threads, i = e % width, k = e / width;
      f[s] = k < n && i >= k ? l(i, k) : scalar<T>(i == k ? 1 : 0, 0);
    }
  }
  __device__ __forceinline__ void keep_factor(const FactorShare& f) const {
#pragma unroll
    for (int s = 0; s < width * width / threads; ++s) {
      const int e = static_cast<int>(threadIdx.x) + s * threads, i = e % width, k = e / width;
      factor[e] = f[s];
      if (i == k) reciprocals[k] = quotient(scalar<T>(1, 0), conjugate(f[s]));
    }
  }

  // X_ij by one warp, to `solved` and to global memory, where it has `m` rows and `n` columns. The tile is in
  // `partial`.
  __device__ __forceinline__ void solve(T* to, long long ld, int m, int n) const {
    const int row = row_of_lane();
    T x[width];
#pragma unroll
    for (int k = 0; k < width; ++k) x[k] = partial[row + k * pitch];
#pragma unroll
    for (int k = 0; k < width; ++k) {
      x[k] = reciprocals[k] * x[k];
#pragma unroll
      for (int j = k + 1; j < width; ++j) x[j] = x[j] - x[k] * conjugate(factor[j + k * width]);
    }
#pragma unroll
    for (int k = 0; k < width; ++k) {
      solved[row + k * pitch] = x[k];
      if (lane() < m && lane() < rows && k < n) to[lane() + k * ld] = x[k];
    }
  }
};

// The lower triangle L of a tile of order m in `tile`, by one warp; stores it in global memory. Returns the order of
// the first leading minor that is not positive, or 0. `columns` is shared memory for a tile.
//
// A column takes the time of a reciprocal square root and two operations: all lanes compute the next pivot from
// elements that were distributed before the root is known.
template <class T>
__device__ int factor_tile(const T* tile, int pitch, T* columns, T* to, long long ld, int m) {
  constexpr int width = cholesky_width<sizeof(T)>;
  using Real = DeviceReal<T>;
  const int lane = static_cast<int>(threadIdx.x) % 32, row = lane % width;
  T a[width];
#pragma unroll
  for (int k = 0; k < width; ++k) a[k] = row < m ? tile[row + k * pitch] : scalar<T>(row == k ? 1 : 0, 0);
  Real pivot = real_part(from_lane(a[0], 0)), next = real_part(from_lane(a[1], 1)), own = 1;
  T below = from_lane(a[0], 1);
  int failed = 0;
#pragma unroll
  for (int k = 0; k < width; ++k) {
    if (!(pivot > 0) && failed == 0) failed = k + 1;
    if (row == k) own = pivot;
    const Real reciprocal = reciprocal_root(pivot);
    a[k] = reciprocal * a[k];
    if (k + 1 == width) break;
    pivot = next - squared_modulus(reciprocal * below);
    columns[row + k * width] = a[k];
#pragma unroll
    for (int j = k + 1; j < width && j <= k + 2; ++j) a[j] = a[j] - a[k] * conjugate(from_lane(a[k], j));
    if (k + 2 < width) {
      below = from_lane(a[k + 1], k + 2);
      next = real_part(from_lane(a[k + 2], k + 2));
    }
    __syncwarp();
#pragma unroll
    for (int j = k + 3; j < width; ++j) a[j] = a[j] - a[k] * conjugate(columns[j + k * width]);
  }
  const T diagonal = scalar<T>(sqrt(own), 0);
#pragma unroll
  for (int k = 0; k < width; ++k) {
    if (lane < m && k <= lane) to[lane + k * ld] = k == lane ? diagonal : a[k];
  }
  return failed;
}

template <class T, int rows, int columns>
__device__ __forceinline__ void clear(T (&sum)[rows][columns][2]) {
#pragma unroll
  for (int i = 0; i < rows; ++i) {
#pragma unroll
    for (int j = 0; j < columns; ++j) sum[i][j][0] = sum[i][j][1] = T{};
  }
}

// Waits until `count` tiles of a row are finished; returns their number. By a whole warp.
__device__ inline int await_tiles(const int* progress, int count) {
  int finished = 0;
  if (threadIdx.x % 32 == 0) {
    do {
      finished = load_acquire(progress);
    } while (finished < count);
  }
  __syncwarp();
  return __shfl_sync(0xffffffffu, finished, 0);
}

template <class T>
__device__ void potrf(const CholeskyBlock& block) {
  using Row = RowOfTiles<T, cholesky_width<sizeof(T)>>;
  constexpr int width = Row::width;
  extern __shared__ __align__(16) unsigned char dynamic[];
  __shared__ int drawn;
  const Row row(dynamic);
  if (threadIdx.x == 0) drawn = atomicAdd(block.progress, 1);
  __syncthreads();
  const int i = drawn, m = min(width, block.n - i * width);
  const long long ld = block.ld;
  T* const a = static_cast<T*>(block.a) + i * width;  // this row of tiles
  int* const progress = block.progress + 1;
  // A later row writes here only after this row is finished.
  if (i == 0 && threadIdx.x == 0) *block.failed = 0;
  // By one thread, after a barrier: the tiles were written by others.
  const auto publish = [&](int tiles) {
    if (threadIdx.x == Row::threads - 1) store_release(progress + i, tiles);
  };

  typename Row::Sum diagonal{};
  for (int j = 0; j < i; ++j) {
    const GlobalRows<T> l{static_cast<const T*>(block.a) + j * width, ld, width};
    typename Row::Share b;
    Row::read(b, a + j * width * ld, ld, m, width);
    typename Row::Sum sum{};
    for (int done = 0; done < j;) {
      const int ready = min(j, await_tiles(progress + j, done + 1));
      Row::accumulate(sum, GlobalRows<T>{a, ld, m}, l, done, ready);
      done = ready;
    }
    row.store(sum);
    __syncthreads();
    row.subtract(b);
    await_tiles(progress + j, j + 1);
    typename Row::FactorShare f;
    Row::read_factor(f, {l.at + j * width * ld, ld, width}, width);
    row.keep_factor(f);
    __syncthreads();
    if (Row::warp() == 0) row.solve(a + j * width * ld, ld, m, width);
    __syncthreads();
    // The next tile above the diagonal may wait; the diagonal tile may not.
    if (j + 1 < i) publish(j + 1);
    const SharedRows<T> x{row.solved, Row::pitch, 0};
    Row::accumulate(diagonal, x, x, 0, 1);
  }

  typename Row::Share b;
#pragma unroll
  for (int s = 0; s < Row::share; ++s) {
    const int r = Row::share_row(s), c = Row::share_column(s);
    b[s] = r < m && c <= r ? a[r + (i * width + c) * ld] : T{};
  }
  row.store(diagonal);
  __syncthreads();
  row.subtract(b);
  __syncthreads();
  if (i > 0) publish(i);
  if (Row::warp() == 0) {
    const int failed = factor_tile<T>(row.partial, Row::pitch, row.factor, a + i * width * ld, ld, m);
    // Rows follow each other, and the first failure is the first to come.
    volatile int* const first = block.failed;
    if (Row::lane() == 0 && failed != 0 && *first == 0) *first = i * width + failed;
  }
  __syncthreads();
  publish(i + 1);
}

// By one warp more than the sums take, which solves while the sums of the next tile begin.
template <class T, int rows>
__device__ void solve_right(const RightSolve& system) {
  using Row = RowOfTiles<T, rows>;
  constexpr int width = Row::width;
  extern __shared__ __align__(16) unsigned char dynamic[];
  const Row row(dynamic);
  const bool solves = Row::warp() == Row::warps;
  const int first = static_cast<int>(blockIdx.x) * rows, m = min(rows, system.rows - first), n = system.n;
  T* const x = static_cast<T*>(system.x) + first;
  const long long ld = system.ldx;
  const auto columns = [&](int j) { return min(width, n - j * width); };
  const auto l = [&](int j) {
    return GlobalRows<T>{static_cast<const T*>(system.l) + j * width, system.ldl, columns(j)};
  };
  typename Row::Share b;
  typename Row::FactorShare f;
  const auto read = [&](int j) {
    Row::read(b, x + j * width * ld, ld, m, columns(j));
    Row::read_factor(f, {l(j).at + j * width * system.ldl, system.ldl, columns(j)}, columns(j));
  };

  typename Row::Sum sum{};
  if (!solves) read(0);
  for (int j = 0; j * width < n; ++j) {
    const bool last = (j + 1) * width >= n;
    if (!solves) row.store(sum);
    __syncthreads();
    if (!solves) {
      row.subtract(b);
      row.keep_factor(f);
    }
    __syncthreads();
    if (solves) {
      row.solve(x + j * width * ld, ld, m, columns(j));
    } else if (!last) {
      read(j + 1);
      clear(sum);
      Row::accumulate(sum, GlobalRows<T>{x, ld, m}, l(j + 1), 0, j);
    }
    __syncthreads();
    if (!solves && !last) Row::accumulate(sum, SharedRows<T>{row.solved, Row::pitch, j * width}, l(j + 1), j, j + 1);
  }
}

}  // namespace jaxmg
