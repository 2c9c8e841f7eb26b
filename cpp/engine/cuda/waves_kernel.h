// Z = D Z for the product D of the diamonds of some waves (engine/diamonds.h), in double precision on tensor cores.
//
// A thread block applies all diamonds of one group to a slab of columns of Z, from the top down. Its warps keep their
// columns of a window of 2b rows in registers, which moves down by b rows from step to step: each row of Z is read and
// written once for each group. Neighbouring groups follow each other down a slab at a distance of a few steps, through
// the L2 cache.
//
// Reflectors are applied 16 sweeps at a time in their compact WY form, in the window that they span:
//
//   H(s, t) ... H(s + 15, t) = I - V T V^T      (Schreiber and Van Loan, SIAM J. Sci. Stat. Comput. 10, 1989)
//   T^-1 = I + strict upper triangle of V^T V   (Joffrain et al., ACM TOMS 32, 2006; here u^T u = 2)
//
// V is a parallelogram, of which only tiles of 8 x 8 that are not zero are multiplied: a diamond of width b = 64 takes
// 156 products of tiles, where a dense matrix of order 2b takes 256.
//
// In registers, windows are transposed: for Y = Z^T, the update is Y - ((Y V) T^T) V^T. A tile of a product lies in the
// registers of a warp as the left factor of the next product requires, except for the order of its eight columns:
// element (i, k) of a left factor belongs to lane 4 i + k % 4, and element (i, k) of a product to lane 4 i + k / 2. The
// right factors, in shared memory, are read in the same order.
//
// Block reflectors are copied to shared memory a step before all warps use them. Warps are at most a step apart: while
// one waits for rows of Z, another one multiplies. Each warp waits for the warp with the same columns in the group
// before, and publishes its finished steps for the group after. A block draws a task when it is ready for it, in an
// order in which each task depends only on earlier ones: no block waits for one that does not run, however many run at
// once. Results depend neither on the number of blocks nor on their timing.
//
// For the kernel compiler only.
#pragma once

#include "device_flags.h"
#include "engine/diamonds.h"
#include "kernel_abi.h"

namespace jaxmg {

// C = C + A B for tiles C, A of 16 x 8 and B of 8 x 8. A lane holds rows lane / 4 and lane / 4 + 8 of C and A, of each
// elements 2 (lane % 4) and the next one; and of B the elements of column lane / 4 in these rows.
__device__ __forceinline__ void multiply_16x8x8(double (&c)[4], const double (&a)[4], double b0, double b1) {
#if __CUDA_ARCH__ >= 900
  asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+d"(c[0]), "+d"(c[1]), "+d"(c[2]), "+d"(c[3])
      : "d"(a[0]), "d"(a[2]), "d"(a[1]), "d"(a[3]), "d"(b0), "d"(b1));
#else
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(c[0]), "+d"(c[1])
      : "d"(a[0]), "d"(b0));
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(c[2]), "+d"(c[3])
      : "d"(a[2]), "d"(b0));
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(c[0]), "+d"(c[1])
      : "d"(a[1]), "d"(b1));
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(c[2]), "+d"(c[3])
      : "d"(a[3]), "d"(b1));
#endif
}

// Copies of whole columns and blocks by one thread, which GPUs before Hopper do not have.
#if __CUDA_ARCH__ >= 900
constexpr bool bulk_copies = true;
#else
constexpr bool bulk_copies = false;
#endif

// Copies `bytes` of 16 to shared memory asynchronously, and fills the rest with zeros. Bypasses the L1 cache, which
// does not see writes of other blocks.
__device__ __forceinline__ void copy_16_async(double* to, const double* from, int bytes = 16) {
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
}

// Barriers in shared memory, on which a fixed number of threads arrive in each phase.
using Barrier = unsigned long long;
__device__ __forceinline__ unsigned address_of(const Barrier& barrier) {
  return static_cast<unsigned>(__cvta_generic_to_shared(&barrier));
}
__device__ __forceinline__ void initialise(Barrier& barrier, int threads) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(address_of(barrier)), "r"(threads) : "memory");
}
__device__ __forceinline__ void arrive(Barrier& barrier) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(address_of(barrier)) : "memory");
}
// Announces bulk copies of this many bytes, on which the phase waits too.
__device__ __forceinline__ void arrive_expecting(Barrier& barrier, int bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("{ .reg .b64 state; mbarrier.arrive.expect_tx.shared.b64 state, [%0], %1; }" ::"r"(address_of(barrier)),
               "r"(bytes)
               : "memory");
#endif
}
// Copies a multiple of 16 bytes.
__device__ __forceinline__ void copy_bulk(double* to, const double* from, int bytes, Barrier& barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(to))),
               "l"(from), "r"(bytes), "r"(address_of(barrier))
               : "memory");
#endif
}
// Orders this thread's accesses, and those known to it, before its bulk copies.
__device__ __forceinline__ void order_bulk_copies() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}
// Arrives when all asynchronous copies of this thread are finished.
__device__ __forceinline__ void arrive_after_copies(Barrier& barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(address_of(barrier)) : "memory");
}
// Waits until the phase with this number is complete.
__device__ __forceinline__ void await(const Barrier& barrier, int phase) {
  const unsigned at = address_of(barrier), parity = static_cast<unsigned>(phase) & 1;
  int complete = 0;
  while (!complete) {
#if __CUDA_ARCH__ >= 900
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.s32 %0, 1, 0, p; }"
                 : "=r"(complete)
                 : "r"(at), "r"(parity)
                 : "memory");
#else
    asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.s32 %0, 1, 0, p; }"
                 : "=r"(complete)
                 : "r"(at), "r"(parity)
                 : "memory");
#endif
  }
}

constexpr int waves_warps = waves_threads / 32, warp_columns = waves_columns / waves_warps;
static_assert(warp_columns == 16, "a warp multiplies tiles of 16 rows of Y");

template <int b>
struct WavesShared {
  static constexpr int parts = b / wy_sweeps;  // block reflectors of a diamond

  double rows[waves_warps][warp_columns * waves_pitch(b, bulk_copies)];  // b rows of Z
  double blocks[2][parts][wy_numbers(b)];                                // block reflectors of this and the next step
  Barrier loaded[2][parts], read[2][parts];
  Barrier rows_loaded[waves_warps];
  int ticket;
};
static_assert(sizeof(WavesShared<64>) <= waves_shared_bytes(64, bulk_copies) &&
                  sizeof(WavesShared<32>) <= waves_shared_bytes(32, bulk_copies),
              "the host must reserve this much");

// The place of rows 2 pair and the next one of a warp's column: lanes that read at once, of two columns, read from
// different banks.
template <int b>
__device__ __forceinline__ int place_of_pair(int column, int pair) {
  if (bulk_copies) return column * waves_pitch(b, true) + 2 * pair;
  return column * b + 2 * (pair ^ ((column & 1) << 2));
}

// A group's steps in the waves of the launch.
template <int b>
__device__ __forceinline__ int first_step(const WaveRange& a, int g) {
  const DiamondGrid grid{a.n, b};
  const Index t = a.begin - grid.groups() + 1 + g;
  return static_cast<int>(t < 0 ? 0 : t);
}
template <int b>
__device__ __forceinline__ int last_step(const WaveRange& a, int g) {
  const DiamondGrid grid{a.n, b};
  const Index t = a.end - grid.groups() + 1 + g, steps = grid.steps(g);
  return static_cast<int>(t < steps ? t : steps);
}

// The diamonds of one group, for one slab.
struct WavesTask {
  int group, slab, from, to;  // steps [from, to)
};

// Groups are processed in order, last ones first, `depth` groups at a time: for some slabs after the other, first their
// first group, then the next one, and so on.
template <int b>
__device__ __forceinline__ WavesTask task_of(const WaveRange& a, int ticket) {
  const int slabs = (a.columns + waves_columns - 1) / waves_columns, groups = a.last_group - a.first_group + 1;
  const int round = ticket / (slabs * a.depth), groups_left = groups - round * a.depth;
  const int depth = groups_left < a.depth ? groups_left : a.depth;
  const int of_round = ticket - round * slabs * a.depth, set = of_round / (a.width * depth);
  const int slabs_left = slabs - set * a.width, width = slabs_left < a.width ? slabs_left : a.width;
  const int of_set = of_round - set * a.width * depth, g = a.last_group - round * a.depth - of_set / width;
  return {g, set * a.width + of_set % width, first_step<b>(a, g), last_step<b>(a, g)};
}

// A warp's view of a task.
template <int b>
struct SlabWarp {
  using Shared = WavesShared<b>;
  // Tiles of the warp's 16 columns of Y, one for each eight rows of Z.
  using Tiles = double[b / 4][4];

  const WaveRange& a;
  Shared& shared;
  WavesTask task;
  int warp, lane;

  __device__ __forceinline__ int first_column() const { return task.slab * waves_columns + warp * warp_columns; }
  __device__ __forceinline__ int row(int t) const { return (task.group + t) * b; }
  // The number of finished steps, of this warp or of the same one in the group before.
  __device__ __forceinline__ int* progress(int before = 0) const {
    const int groups = a.last_group - a.first_group + 1;
    return a.progress + 1 +
           (static_cast<long long>(task.slab) * groups + task.group + before - a.first_group) * waves_warps + warp;
  }
};

// Copies block reflector `part` of D(g, t) to a slot: one warp in bulk, or all warps a share each.
template <int b>
__device__ __forceinline__ bool loads_part(SlabWarp<b> w, int part) {
  return !bulk_copies || w.warp == part;
}
template <int b>
__device__ __forceinline__ void load_part(SlabWarp<b> w, int t, int part, int slot) {
  constexpr int numbers = wy_numbers(b);
  const DiamondGrid grid{w.a.n, b};
  const double* const from = static_cast<const double*>(w.a.blocks) +
                             ((grid.place(w.task.group, t) - w.a.first) * WavesShared<b>::parts + part) * numbers;
  double* const to = w.shared.blocks[slot][part];
  Barrier& loaded = w.shared.loaded[slot][part];
  if (bulk_copies) {
    if (w.lane == 0) {
      arrive_expecting(loaded, 8 * numbers);
      copy_bulk(to, from, 8 * numbers, loaded);
    }
    __syncwarp();
  } else {
#pragma unroll
    for (int i = 2 * (w.warp * 32 + w.lane); i < numbers; i += 2 * waves_threads) copy_16_async(to + i, from + i);
    arrive_after_copies(loaded);
  }
}

// Copies b rows from `row` on of the warp's columns, with zeros beyond the matrix.
template <int b>
__device__ __forceinline__ void load_rows(SlabWarp<b> w, int row) {
  if (!w.a.aligned) return;  // they are read directly
  const double* const z = static_cast<const double*>(w.a.z) + w.first_column() * w.a.ldz + row;
  double* const to = w.shared.rows[w.warp];
  Barrier& loaded = w.shared.rows_loaded[w.warp];
  const int left = w.a.columns - w.first_column(), columns = left < warp_columns ? left : warp_columns;
  if (!bulk_copies) {
#pragma unroll 4
    for (int i = w.lane; i < warp_columns * b / 2; i += 32) {
      const int column = i / (b / 2), pair = i % (b / 2), rows = w.a.n - row - 2 * pair;
      const bool inside = column < columns && rows > 0;
      copy_16_async(to + place_of_pair<b>(column, pair), inside ? z + column * w.a.ldz + 2 * pair : z,
                    !inside    ? 0
                    : rows > 1 ? 16
                               : 8);
    }
    arrive_after_copies(loaded);
  } else if (row + b <= w.a.n) {
    if (w.lane == 0) arrive_expecting(loaded, 8 * b * columns);
    order_bulk_copies();
    __syncwarp();
    if (w.lane < columns) {
      copy_bulk(to + place_of_pair<b>(w.lane, 0), z + w.lane * w.a.ldz, 8 * b, loaded);
    }
  } else {
#pragma unroll 1
    for (int i = w.lane; i < warp_columns * b; i += 32) {
      const int column = i / b, at = i % b;
      to[place_of_pair<b>(column, at / 2) + at % 2] =
          column < columns && row + at < w.a.n ? __ldcg(z + column * w.a.ldz + at) : 0;
    }
    order_bulk_copies();
    __syncwarp();
    if (w.lane == 0) arrive(loaded);
  }
}

// Reads b rows from `row` on, the load with this number, to tiles `first` on.
template <int b, int first>
__device__ __forceinline__ void read_rows(SlabWarp<b> w, typename SlabWarp<b>::Tiles& y, int row, int load) {
  if (w.a.aligned) await(w.shared.rows_loaded[w.warp], load);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int column = half * 8 + w.lane / 4;
    if (w.a.aligned) {
#pragma unroll
      for (int r = 0; r < b / 8; ++r) {
        const double* const at = w.shared.rows[w.warp] + place_of_pair<b>(column, 4 * r + w.lane % 4);
        const double2 pair = *reinterpret_cast<const double2*>(at);
        y[first + r][2 * half] = pair.x;
        y[first + r][2 * half + 1] = pair.y;
      }
    } else {
      const int global = w.first_column() + column;
      const double* const z = static_cast<const double*>(w.a.z) + global * w.a.ldz;
#pragma unroll
      for (int r = 0; r < b / 8; ++r) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int at = row + 8 * r + 2 * (w.lane % 4) + i;
          y[first + r][2 * half + i] = global < w.a.columns && at < w.a.n ? __ldcg(z + at) : 0;
        }
      }
    }
  }
  __syncwarp();
}

// Writes the upper half of the window to rows from `row` on.
template <int b>
__device__ __forceinline__ void write_rows(SlabWarp<b> w, const typename SlabWarp<b>::Tiles& y, int row) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int column = w.first_column() + half * 8 + w.lane / 4;
    if (column >= w.a.columns) continue;
    double* const z = static_cast<double*>(w.a.z) + column * w.a.ldz;
#pragma unroll
    for (int r = 0; r < b / 8; ++r) {
      const int at = row + 8 * r + 2 * (w.lane % 4);
      const double x = y[r][2 * half], next = y[r][2 * half + 1];
      if (w.a.aligned && at + 1 < w.a.n) {
        __stcg(reinterpret_cast<double2*>(z + at), make_double2(x, next));
      } else {
        if (at < w.a.n) __stcg(z + at, x);
        if (at + 1 < w.a.n) __stcg(z + at + 1, next);
      }
    }
  }
  __syncwarp();
}

// Y = Y - ((Y V) T^T) V^T for one block reflector, which begins at tile `first`. Its V has b / 8 + 2 tiles of rows and
// two of columns; column tile i is zero except in row tiles i ... i + b / 8.
template <int b, int first>
__device__ __forceinline__ void apply_part(typename SlabWarp<b>::Tiles& y, const double* v, int lane) {
  constexpr int pitch = wy_pitch(b), tiles = b / 8 + 2;
  const int i = lane / 4, k = lane % 4;
  double product[2][4] = {};
  {
    // The product's column i is column i / 2 + 4 (i % 2) of V, which avoids bank conflicts.
    const double* const own = v + (i / 2 + 4 * (i % 2)) * pitch + 2 * k;
#pragma unroll
    for (int r = 0; r < tiles; ++r) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        if (r < c || r > c + b / 8) continue;
        const double2 pair = *reinterpret_cast<const double2*>(own + 8 * c * pitch + 8 * r);
        multiply_16x8x8(product[c], y[first + r], pair.x, pair.y);
      }
    }
  }
  double times_t[2][4] = {};
  {
    const double2* const own = reinterpret_cast<const double2*>(v + wy_sweeps * pitch) + lane;
    const double2 t00 = own[0], t01 = own[32], t11 = own[64];
    multiply_16x8x8(times_t[0], product[0], t00.x, t00.y);
    multiply_16x8x8(times_t[1], product[1], t11.x, t11.y);
    multiply_16x8x8(times_t[0], product[1], t01.x, t01.y);
  }
  const double* const own = v + 2 * k * pitch + i;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
#pragma unroll
    for (int r = 0; r < tiles; ++r) {
      if (r < c || r > c + b / 8) continue;
      const double* const at = own + 8 * c * pitch + 8 * r;
      multiply_16x8x8(y[first + r], times_t[c], at[0], at[pitch]);
    }
  }
}

// The number of finished steps of a finished task.
constexpr int finished_steps = 1 << 30;

// Rows of the next step, which are loaded as soon as the group before has finished with them.
template <int b>
struct NextRows {
  int t;             // the step
  int before;        // the first step for which the group before has diamonds in these waves
  int seen = 0;      // finished steps of that group
  bool due = false;  // whether they are still to be loaded

  __device__ __forceinline__ void poll(SlabWarp<b> w) {
    int now = 0;
    if (w.lane == 0) now = load_acquire(w.progress(1));
    seen = __shfl_sync(0xffffffffu, now, 0);
  }
  // Waits until the group before is a few steps ahead: each look at its progress then allows several steps.
  __device__ __forceinline__ void keep_distance(SlabWarp<b> w) {
    constexpr int distance = 4;
    if (before == finished_steps) return;
    const int wanted = (t > before ? t : before) + distance;
    while (seen < wanted) poll(w);
  }
  // Loads the rows if the group before has finished with them, for which it only waits if required to.
  __device__ __forceinline__ void load(SlabWarp<b> w, bool wait) {
    if (!due) return;
    while (t >= before && seen <= t) {
      poll(w);
      if (!wait && seen <= t) return;
    }
    __syncwarp();
    load_rows(w, w.row(t + 1));
    due = false;
  }
};

// Applies parts part, part - 1, ..., 0 of the diamond of step t, the number `step` of all steps of this block.
template <int b, int part>
__device__ __forceinline__ void apply_parts(SlabWarp<b> w, typename SlabWarp<b>::Tiles& y, NextRows<b>& next, bool used,
                                            int t, int step) {
  WavesShared<b>& shared = w.shared;
  const int slot = step & 1;
  await(shared.loaded[slot][part], step >> 1);
  if (used) apply_part<b, part*(wy_sweeps / 8)>(y, shared.blocks[slot][part], w.lane);
  __syncwarp();
  if (w.lane == 0) arrive(shared.read[slot][part]);
  if (t + 1 < w.task.to && loads_part(w, part)) {
    // The other slot was last used one step before.
    if (step > 0) await(shared.read[slot ^ 1][part], (step - 1) >> 1);
    load_part(w, t + 1, part, slot ^ 1);
  }
  if constexpr (part > 0) {
    // For the group after: not at every step, and late enough that the last step's rows, which this waits for, have
    // been written.
    const int finished = t - w.task.from;
    if (part == 1 && used && finished > 0 && finished % 2 == 0 && w.lane == 0) store_release(w.progress(), t);
    __syncwarp();
    next.load(w, false);
    apply_parts<b, part - 1>(w, y, next, used, t, step);
  }
}

// Applies the diamonds of a task. `step` and `load` count this block's steps and this warp's loads of rows.
template <int b>
__device__ __forceinline__ void run_task(SlabWarp<b> w, int& step, int& load) {
  constexpr int parts = WavesShared<b>::parts;
  const bool used = w.first_column() < w.a.columns;
  const int from = w.task.from, to = w.task.to;
  for (int part = parts - 1; part >= 0; --part) {
    if (!loads_part(w, part)) continue;
    if (step > 1) await(w.shared.read[step & 1][part], (step - 2) >> 1);
    load_part(w, from, part, step & 1);
  }
  typename SlabWarp<b>::Tiles y;
  NextRows<b> next;
  next.t = from;
  next.before = w.task.group < w.a.last_group ? first_step<b>(w.a, w.task.group + 1) : finished_steps;
  if (used) {
    load_rows(w, w.row(from));
    read_rows<b, 0>(w, y, w.row(from), load++);
    next.due = true;
    next.keep_distance(w);
  }
#pragma unroll 1
  for (int t = from; t < to; ++t, ++step) {
    if (used) {
      next.load(w, true);
      read_rows<b, b / 8>(w, y, w.row(t + 1), load++);
      next.t = t + 1;
      next.due = t + 1 < to;
      next.load(w, false);
    }
    apply_parts<b, parts - 1>(w, y, next, used, t, step);
    if (!used) continue;
    write_rows(w, y, w.row(t));
#pragma unroll
    for (int r = 0; r < b / 8; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) y[r][i] = y[b / 8 + r][i];
    }
  }
  if (!used) return;
  write_rows(w, y, w.row(to));
  if (w.lane == 0) store_release(w.progress(), finished_steps);
}

template <int b>
__device__ void apply_waves(const WaveRange& a) {
  extern __shared__ __align__(16) unsigned char memory[];
  WavesShared<b>& shared = *reinterpret_cast<WavesShared<b>*>(memory);
  constexpr int parts = WavesShared<b>::parts;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int slabs = (a.columns + waves_columns - 1) / waves_columns, groups = a.last_group - a.first_group + 1;
  if (thread < 2 * parts) {
    initialise(shared.loaded[thread / parts][thread % parts], bulk_copies ? 1 : waves_threads);
    initialise(shared.read[thread / parts][thread % parts], waves_warps);
  }
  if (thread < waves_warps) initialise(shared.rows_loaded[thread], bulk_copies ? 1 : 32);
  order_bulk_copies();
  int step = 0, load = 0;
  for (;;) {
    __syncthreads();
    if (thread == 0) shared.ticket = atomicAdd(a.progress, 1);
    __syncthreads();
    const int ticket = shared.ticket;
    if (ticket >= slabs * groups) return;
    run_task<b>(SlabWarp<b>{a, shared, task_of<b>(a, ticket), warp, thread % 32}, step, load);
  }
}

// A block reflector of the diamond with number a.first + blockIdx.x, as apply_part() reads it: V with its zeros, and -T
// in three tiles, (0, 0), (0, 1) and (1, 1). A thread for each element of T.
template <int b>
__device__ void form_blocks(const WaveRange& a) {
  constexpr int pitch = wy_pitch(b), threads = wy_sweeps * wy_sweeps;
  __shared__ double v[wy_sweeps][b + 1], inverse[wy_sweeps][wy_sweeps + 1];
  const Index diamond = static_cast<Index>(blockIdx.x);
  const int part = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  const int row = thread / wy_sweeps, column = thread % wy_sweeps;
  const double* const from =
      static_cast<const double*>(a.reflectors) + (a.first + diamond - a.skipped) * b * b + part * wy_sweeps * b;
  double* const to = static_cast<double*>(a.blocks) + (diamond * (b / wy_sweeps) + part) * wy_numbers(b);
  for (int at = thread; at < wy_sweeps * b; at += threads) v[at / b][at % b] = from[at];
  __syncthreads();
  for (int at = thread; at < wy_sweeps * pitch; at += threads) {
    const int k = at / pitch, i = at % pitch - k - 1;
    to[at] = i >= 0 && i < b ? v[k][i] : 0;
  }
  // Reflector `column` begins column - row below reflector `row`.
  double sum = 0;
  const int apart = column - row;
  if (apart > 0) {
    for (int i = 0; i + apart < b; ++i) sum += v[row][i + apart] * v[column][i];
  }
  inverse[row][column] = sum;
  __syncthreads();
  if (thread < wy_sweeps) {
    // Column `thread` of T, by back substitution.
    double x[wy_sweeps];
#pragma unroll
    for (int i = wy_sweeps - 1; i >= 0; --i) {
      double t = i == thread ? 1 : 0;
#pragma unroll
      for (int k = i + 1; k < wy_sweeps; ++k) t -= inverse[i][k] * x[k];
      x[i] = i > thread ? 0 : t;
    }
    // Element (i, k) of a tile belongs to lane 4 (i % 8) + k % 4.
#pragma unroll
    for (int i = 0; i < wy_sweeps; ++i) {
      const int tile = i / 8 + thread / 8;
      if (i / 8 > thread / 8) continue;
      to[wy_sweeps * pitch + 64 * tile + 2 * (4 * (i % 8) + thread % 4) + thread % 8 / 4] = -x[i];
    }
  }
}

}  // namespace jaxmg
