// Triangular solves op(F) X = B for few right-hand sides, with a factor in tile columns, in one cooperative launch on
// each rank. The launches of all ranks run at the same time.
//
// Tiles are cut into units of at most 256 unknowns, in the order of the substitution. Unit u belongs to the owner of
// its columns:
//
//   X_u = op(F_uu)^-1 (B_u - sum over earlier s of G_us X_s),    G_us = F_us, or with a transpose op(F_su)
//
// Block 0 of each rank is the chain: it takes the sums of its units one after another, and solves by substitution, a
// warp for each piece of 32 unknowns. The other blocks, workers, form the sums. They take chunks of unknowns
// round-robin, and add up the updates in the order of s: what a chunk still lacks is the product with the unit that was
// solved last, the elements of which have been loaded when its unknowns arrive.
//
//   without a transpose: the owner of s has G_us for all u. Its workers take rows of all units, and send sums of own
//     columns to the owner of u, which adds them up in the order of ranks. Unknowns stay on their rank.
//   with a transpose: the owner of u has G_us for all s. Its workers take columns of own units. The chain sends
//     unknowns to all ranks.
//
// Each number that is sent is its own flag (arrivals.h). Sums have the same order whatever the number of blocks, and
// results the same bits. All blocks take units in the order of the substitution, and therefore none waits for a block
// that waits for it.
//
// A piece takes about 31 dependent steps of a shuffle and a multiplication. The substitution divides rows by their
// diagonal elements first, (D^-1 G) x = D^-1 b, which shortens the chain and has the same componentwise backward error
// bound as substitution but for a constant. It does so only where no quotient overflows.
//
// For the kernel compiler only.
#pragma once

#include "arrivals.h"
#include "device_scalar.h"
#include "kernel_abi.h"

namespace jaxmg {

struct SweepUnit {
  int begin, width, owner, local;
};

// Unit of a step of the chain. Units at the end of the matrix and of ragged tiles may be empty.
__device__ inline SweepUnit sweep_unit(const TriangularSweep& p, int step) {
  const int number = p.ascending ? step : p.units - 1 - step;
  const int t = number / p.parts, first = (number - t * p.parts) * p.unit;
  const int shard = t / p.tiles, slot = t - shard * p.tiles;
  SweepUnit u;
  u.begin = shard * p.shard + slot * p.tile + first;
  const int left = (slot < p.full ? p.tile : p.shard - slot * p.tile) - first;
  u.width = left < p.unit ? left : p.unit;
  if (u.width > p.n - u.begin) u.width = p.n - u.begin;
  if (u.width < 0) u.width = 0;
  const int dealt = shard * p.full + slot;
  u.owner = slot < p.full ? dealt % p.ranks : shard;
  u.local = (slot < p.full ? dealt / p.ranks * p.tile : p.full * p.tile) + first;
  return u;
}

__device__ inline float finite_or_nan(float x) { return x - x; }
__device__ inline double finite_or_nan(double x) { return x - x; }
template <class T>
__device__ inline bool is_finite(T x) {
  return finite_or_nan(real_part(x)) == 0 && finite_or_nan(imaginary_part(x)) == 0;
}

template <class T>
__device__ inline T conjugate_if(bool yes, T x) {
  return yes ? conjugate(x) : x;
}

// A rank's part of a solve with up to `batch` right-hand sides; `dots`: with a transpose.
template <class T, int batch, bool dots>
class SweepOnRank {
 public:
  __device__ __forceinline__ SweepOnRank(const TriangularSweep& sweep, void* shared)
      : p(sweep),
        patience(sweep.stop, sweep.limit),
        a(static_cast<const T*>(sweep.a)),
        x(static_cast<T*>(sweep.x)),
        solved(static_cast<T*>(sweep.solved)),
        sums(static_cast<T*>(sweep.sums)),
        lane(static_cast<int>(threadIdx.x) % 32),
        warp(static_cast<int>(threadIdx.x) / 32),
        memory(static_cast<T*>(shared)) {}

  __device__ __forceinline__ void run() {
    if (blockIdx.x == 0) {
      SweepUnit u{}, next{};
      for (int step = next_own(0, next); step < p.units;) {
        u = next;
        step = next_own(step + 1, next);
        if (step < p.units) prefetch_block(next);
        solve(u);
      }
    } else {
      work();
    }
    store();
  }

 private:
  static constexpr int warps = sweep_threads / 32, piece = sweep_piece;
  static constexpr int pitch = piece + 1;
  static constexpr unsigned all = 0xffffffffu;

  __device__ __forceinline__ T* on_rank(int rank, T* own) const {
    return reinterpret_cast<T*>(reinterpret_cast<char*>(own) + p.offset[rank]);
  }
  // Place in a unit of an unknown, numbered in the order of the substitution.
  __device__ __forceinline__ int place(const SweepUnit& u, int unknown) const {
    return p.ascending ? unknown : u.width - 1 - unknown;
  }
  // Sums for own unknown `local` by the columns of `rank`, of right-hand side j.
  __device__ __forceinline__ T* sum_at(int rank, int j, long long local) const {
    return sums + (static_cast<long long>(rank) * batch + j) * p.shard + local;
  }
  __device__ __forceinline__ const T* unit_columns(const SweepUnit& u) const { return a + u.local * p.ld; }
  __device__ __forceinline__ T element(T value) const { return dots ? conjugate_if(p.conjugated, value) : value; }

  // First step of an own unit from `step` on.
  __device__ __forceinline__ int next_own(int step, SweepUnit& u) const {
    for (; step < p.units; ++step) {
      u = sweep_unit(p, step);
      if (u.owner == p.rank && u.width > 0) break;
    }
    return step;
  }

  // The chain loads the triangle of its next unit into the L2 cache, where each load takes less time. A warp takes
  // every eighth column.
  __device__ __forceinline__ void prefetch_block(const SweepUnit& u) const {
    constexpr int line = 128 / static_cast<int>(sizeof(T));
    const bool lower = dots != (p.ascending != 0);
    for (int c = warp; c < u.width; c += warps) {
      const T* const column = unit_columns(u) + u.begin + c * p.ld;
      const int first = lower ? c : 0, last = lower ? u.width - 1 : c;
      const int row = first / line * line + lane * line;
      if (row <= last) prefetch(column + (row > first ? row : first));
      if (lane == 0) prefetch(column + last);
    }
  }

  // The chain. A warp keeps the right-hand sides of 32 unknowns, a lane for each.
  __device__ __forceinline__ void solve(const SweepUnit& u) {
    T* const triangle = memory + warp * piece * pitch;
    T* const known = memory + sweep_triangle_bytes<sizeof(T)>() / static_cast<int>(sizeof(T));
    const T* const block = unit_columns(u) + u.begin;
    const int pieces = (u.width + piece - 1) / piece, own = warp * piece + lane;
    const bool active = warp < pieces, valid = own < u.width;
    T r[batch], diagonal = scalar<T>(1, 0), inverse = scalar<T>(1, 0);
    bool scaled = true;
#pragma unroll
    for (int j = 0; j < batch; ++j) r[j] = T{};
    if (active) {
      scaled = load_triangle(u, block, triangle, diagonal, inverse);
      load_right_hand_sides(u, valid, own, r);
    }
    for (int k = 0; k < pieces; ++k) {
      T panel[piece];
      const bool later = active && warp > k;
      if (later) load_panel(u, block, k, valid, panel);
      if (warp == k) {
        substitute(triangle, diagonal, inverse, scaled, r);
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          known[own * batch + j] = r[j];
          if (valid && j < p.columns) publish(u.begin + place(u, own) + static_cast<long long>(j) * p.n, r[j]);
        }
      }
      __syncthreads();
      if (later) update(k, known, panel, r);
    }
  }

  // Loads the strict triangle of the warp's diagonal block, element (unknown i, unknown k < i) at [k * pitch + i], and
  // its diagonal. Returns whether rows may be divided by their diagonal elements.
  __device__ __forceinline__ bool load_triangle(const SweepUnit& u, const T* block, T* triangle, T& diagonal,
                                                T& inverse) const {
    const int first = warp * piece, own = first + lane;
    const bool valid = own < u.width;
    const int row = valid ? place(u, own) : 0;
    __syncwarp();
#pragma unroll 8
    for (int c = 0; c < piece; ++c) {
      const bool stored = valid && first + c < u.width && (dots ? lane < c : c < lane);
      const T value = stored ? element(load_fresh(block + row + place(u, first + c) * p.ld)) : T{};
      if (dots ? lane <= c : c <= lane) triangle[dots ? lane * pitch + c : c * pitch + lane] = value;
    }
    if (valid && !p.unit_diagonal) diagonal = element(load_fresh(block + row + row * p.ld));
    inverse = quotient(scalar<T>(1, 0), diagonal);
    __syncwarp();
    bool finite = is_finite(inverse);
    for (int k = 0; k < lane; ++k) finite = finite && is_finite(inverse * triangle[k * pitch + lane]);
    return __all_sync(all, finite);
  }

  // R = B - sums of other units.
  __device__ __forceinline__ void load_right_hand_sides(const SweepUnit& u, bool valid, int own, T (&r)[batch]) {
    constexpr int group = 8;
    static_assert(group % batch == 0, "right-hand sides");
    const int row = valid ? place(u, own) : 0;
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      if (valid && j < p.columns) r[j] = load_fresh(x + u.begin + row + j * p.ldx);
    }
    const int ranks = dots ? 1 : p.ranks;
    for (int first = 0; first < ranks; first += group / batch) {
      T sum[group];
#pragma unroll
      for (int e = 0; e < group; ++e) {
        const int rank = first + e / batch;
        const bool sent = valid && rank < ranks && e % batch < p.columns;
        sum[e] = sent ? load_arriving(sum_at(rank, e % batch, u.local + row)) : T{};
      }
#pragma unroll
      for (int e = 0; e < group; ++e) {
        const int rank = first + e / batch;
        if (valid && rank < ranks && e % batch < p.columns) {
          r[e % batch] = r[e % batch] - patience.await(sum_at(rank, e % batch, u.local + row), sum[e]);
        }
      }
    }
    __syncwarp();
  }

  // The part of a unit's block that updates the warp's unknowns by those of piece k. Without a transpose, a lane has
  // the row of its unknown; with one, a lane has an unknown of piece k, for all unknowns of the warp.
  __device__ __forceinline__ void load_panel(const SweepUnit& u, const T* block, int k, bool valid,
                                             T (&panel)[piece]) const {
#pragma unroll
    for (int c = 0; c < piece; ++c) {
      if constexpr (dots) {
        const int other = warp * piece + c;
        panel[c] = other < u.width ? load_fresh(block + place(u, k * piece + lane) + place(u, other) * p.ld) : T{};
      } else {
        panel[c] = valid ? load_fresh(block + place(u, warp * piece + lane) + place(u, k * piece + c) * p.ld) : T{};
      }
    }
  }

  __device__ __forceinline__ void update(int k, const T* known, T (&panel)[piece], T (&r)[batch]) const {
    const T* const solved_piece = known + k * piece * batch;
    if constexpr (dots) {
#pragma unroll
      for (int c = 0; c < piece; ++c) panel[c] = element(panel[c]);
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        const T value = solved_piece[lane * batch + j];
        // The first step of sums_of_warp(), which halves the number of registers.
        T half[piece / 2];
        const bool upper = (lane & 16) != 0;
#pragma unroll
        for (int c = 0; c < piece / 2; ++c) {
          const T kept = upper ? panel[c + piece / 2] : panel[c], sent = upper ? panel[c] : panel[c + piece / 2];
          half[c] = kept * value + shuffle_xor(sent * value, 16);
        }
#pragma unroll
        for (int mask = 8; mask > 0; mask /= 2) {
          const bool up = (lane & mask) != 0;
#pragma unroll
          for (int c = 0; c < piece / 4; ++c) {
            if (c >= mask) continue;
            const T kept = up ? half[c + mask] : half[c], sent = up ? half[c] : half[c + mask];
            half[c] = kept + shuffle_xor(sent, mask);
          }
        }
        r[j] = r[j] - half[0];
      }
    } else {
#pragma unroll
      for (int c = 0; c < piece; ++c) {
#pragma unroll
        for (int j = 0; j < batch; ++j) r[j] = r[j] - panel[c] * solved_piece[c * batch + j];
      }
    }
  }

  __device__ __forceinline__ void substitute(const T* triangle, T diagonal, T inverse, bool scaled,
                                             T (&r)[batch]) const {
    if (scaled) {
#pragma unroll
      for (int j = 0; j < batch; ++j) r[j] = inverse * r[j];
#pragma unroll
      for (int k = 0; k < piece - 1; ++k) {
        const T factor = inverse * triangle[k * pitch + lane];
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          const T known = from_lane(r[j], k);
          if (lane > k) r[j] = r[j] - factor * known;
        }
      }
    } else {
      for (int k = 0; k < piece; ++k) {
        const T factor = triangle[k * pitch + lane];
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          const T known = from_lane(quotient(r[j], diagonal), k);
          if (lane == k) r[j] = known;
          if (lane > k) r[j] = r[j] - factor * known;
        }
      }
    }
  }

  __device__ __forceinline__ void publish(long long at, T value) const {
    if constexpr (dots) {
      for (int rank = 0; rank < p.ranks; ++rank) send_number(on_rank(rank, solved + at), value);
    } else {
      send_number(solved + at, value);
    }
  }

  // Workers. A worker takes every (gridDim.x - 1)-th chunk.
  __device__ __forceinline__ void work() {
    const int workers = static_cast<int>(gridDim.x) - 1;
    int next = static_cast<int>(blockIdx.x) - 1, chunk = 0;
    for (int step = 0; step < p.units; ++step) {
      const SweepUnit u = sweep_unit(p, step);
      if (dots && u.owner != p.rank) continue;
      const int count = (u.width + chunk_size() - 1) / chunk_size();
      for (int c = 0; c < count; ++c, ++chunk) {
        if (chunk != next) continue;
        next += workers;
        if constexpr (dots) {
          add_columns(u, step, c * chunk_size());
        } else {
          add_rows(u, step, c * chunk_size());
        }
      }
    }
  }

  // Without a transpose: rows of a chunk, several for each lane. With one: columns of a chunk.
  static constexpr int lane_rows = 16 / static_cast<int>(sizeof(T));
  static constexpr int chunk_columns = batch == 1 ? 8 : 4;
  static __device__ __forceinline__ constexpr int chunk_size() { return dots ? chunk_columns : 32 * lane_rows; }

  // Sums of rows [first, first + 32 lane_rows) of a unit. A warp takes 4 columns of each piece, of two pieces at a
  // time.
  __device__ __forceinline__ void add_rows(const SweepUnit& u, int end, int first) {
    constexpr int depth = 8, held = batch * depth > 32 ? batch * depth / 32 : 1;
    T sum[lane_rows][batch];
#pragma unroll
    for (int v = 0; v < lane_rows; ++v) {
#pragma unroll
      for (int j = 0; j < batch; ++j) sum[v][j] = T{};
    }
    int step = -1, pair = 0;
    SweepUnit s{};
    // Moves on to the next two pieces of own units before `end`.
    const auto advance = [&] {
      if (step >= 0 && (pair + 1) * 2 * piece < s.width) {
        ++pair;
        return true;
      }
      pair = 0;
      while (++step < end) {
        s = sweep_unit(p, step);
        if (s.owner == p.rank && s.width > 0) return true;
      }
      return false;
    };
    const auto unknown = [&](int c) { return (pair * 2 + c / 4) * piece + warp * 4 + c % 4; };
    const auto load = [&](T(&part)[depth][lane_rows]) {
      const T* const rows = unit_columns(s) + u.begin + first + lane;
#pragma unroll
      for (int c = 0; c < depth; ++c) {
        const int number = unknown(c);
        const bool exists = number < s.width;
        const T* const column = rows + (exists ? place(s, number) : 0) * p.ld;
#pragma unroll
        for (int v = 0; v < lane_rows; ++v) {
          part[c][v] = exists && first + lane + 32 * v < u.width ? load_fresh(column + 32 * v) : T{};
        }
      }
    };
    T part[depth][lane_rows];
    bool more = advance();
    if (more) load(part);
    while (more) {
      const T* from[held];
      bool exists[held];
#pragma unroll
      for (int h = 0; h < held; ++h) {
        const int e = lane + 32 * h, number = unknown(e % depth);
        exists[h] = number < s.width && e / depth < p.columns && e / depth < batch;
        from[h] = solved + s.begin + (exists[h] ? place(s, number) + static_cast<long long>(e / depth) * p.n : 0);
      }
      T now[depth][lane_rows];
#pragma unroll
      for (int c = 0; c < depth; ++c) {
#pragma unroll
        for (int v = 0; v < lane_rows; ++v) now[c][v] = part[c][v];
      }
      more = advance();
      if (more) load(part);
      T known[held];
#pragma unroll
      for (int h = 0; h < held; ++h) known[h] = exists[h] ? load_arriving(from[h]) : T{};
#pragma unroll
      for (int h = 0; h < held; ++h) {
        if (exists[h]) known[h] = patience.await(from[h], known[h]);
      }
      __syncwarp();
#pragma unroll
      for (int c = 0; c < depth; ++c) {
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          const int e = j * depth + c;
          const T value = from_lane(known[e / 32], e % 32);
#pragma unroll
          for (int v = 0; v < lane_rows; ++v) sum[v][j] = sum[v][j] + now[c][v] * value;
        }
      }
    }
    // Sums of the warps, [warp][right-hand side][row].
    constexpr int rows = 32 * lane_rows;
    __syncthreads();
#pragma unroll
    for (int v = 0; v < lane_rows; ++v) {
#pragma unroll
      for (int j = 0; j < batch; ++j) memory[(warp * batch + j) * rows + 32 * v + lane] = sum[v][j];
    }
    __syncthreads();
    for (int e = static_cast<int>(threadIdx.x); e < rows * batch; e += sweep_threads) {
      T total = memory[e];
      for (int w = 1; w < warps; ++w) total = total + memory[w * batch * rows + e];
      const int j = e / rows, row = first + e % rows;
      if (j < p.columns && row < u.width) send_number(on_rank(u.owner, sum_at(p.rank, j, u.local + row)), total);
    }
  }

  // Sums of columns [first, first + chunk_columns) of an own unit. A warp takes every `warps`-th piece of rows, two at
  // a time.
  __device__ __forceinline__ void add_columns(const SweepUnit& u, int end, int first) {
    constexpr int depth = 2;
    const int per_unit = p.unit / piece, pieces = end * per_unit;
    T sum[chunk_columns * batch];
#pragma unroll
    for (int e = 0; e < chunk_columns * batch; ++e) sum[e] = T{};
    const T* const columns = a + (u.local + first) * p.ld;
    int row[depth], row_now[depth];
    // Rows are -1 where a unit has no unknown.
    const auto load = [&](int number, T(&part)[depth][chunk_columns]) {
#pragma unroll
      for (int d = 0; d < depth; ++d) {
        const int m = number + d * warps, unknown = m % per_unit * piece + lane;
        row[d] = -1;
        if (m < pieces) {
          const SweepUnit s = sweep_unit(p, m / per_unit);
          if (unknown < s.width) row[d] = s.begin + unknown;
        }
#pragma unroll
        for (int c = 0; c < chunk_columns; ++c) {
          part[d][c] = row[d] >= 0 && first + c < u.width ? load_fresh(columns + row[d] + c * p.ld) : T{};
        }
      }
    };
    T part[depth][chunk_columns], now[depth][chunk_columns];
    if (warp < pieces) load(warp, part);
    for (int number = warp; number < pieces; number += depth * warps) {
#pragma unroll
      for (int d = 0; d < depth; ++d) {
        row_now[d] = row[d];
#pragma unroll
        for (int c = 0; c < chunk_columns; ++c) now[d][c] = element(part[d][c]);
      }
      if (number + depth * warps < pieces) load(number + depth * warps, part);
#pragma unroll
      for (int d = 0; d < depth; ++d) {
        T known[batch];
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          const bool exists = row_now[d] >= 0 && j < p.columns;
          known[j] = exists ? load_arriving(solved + row_now[d] + static_cast<long long>(j) * p.n) : T{};
        }
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          if (row_now[d] >= 0 && j < p.columns) {
            known[j] = patience.await(solved + row_now[d] + static_cast<long long>(j) * p.n, known[j]);
          }
        }
#pragma unroll
        for (int c = 0; c < chunk_columns; ++c) {
#pragma unroll
          for (int j = 0; j < batch; ++j) sum[c * batch + j] = sum[c * batch + j] + now[d][c] * known[j];
        }
      }
      __syncwarp();
    }
    constexpr int count = chunk_columns * batch;
    const T total = sums_of_warp<count>(sum);
    __syncthreads();
    if (lane % (32 / count) == 0) memory[warp * count + lane / (32 / count)] = total;
    __syncthreads();
    const int e = static_cast<int>(threadIdx.x);
    if (e < count) {
      T all_rows = memory[e];
      for (int w = 1; w < warps; ++w) all_rows = all_rows + memory[w * count + e];
      const int c = first + e / batch, j = e % batch;
      if (c < u.width && j < p.columns) send_number(sum_at(0, j, u.local + c), all_rows);
    }
  }

  // X: with a transpose all rows, otherwise the rows of own tiles.
  __device__ __forceinline__ void store() {
    const int block = static_cast<int>(blockIdx.x), blocks = static_cast<int>(gridDim.x);
    for (int step = block; step < p.units; step += blocks) {
      const SweepUnit u = sweep_unit(p, step);
      if (!dots && u.owner != p.rank) continue;
      for (int i = static_cast<int>(threadIdx.x); i < u.width; i += sweep_threads) {
        for (int j = 0; j < p.columns; ++j) {
          x[u.begin + i + j * p.ldx] = patience.await(solved + u.begin + i + static_cast<long long>(j) * p.n);
        }
      }
    }
  }

  const TriangularSweep& p;
  Patience patience;
  const T* a;
  T* x;
  T* solved;
  T* sums;
  int lane, warp;
  T* memory;
};

template <class T, int batch, bool dots>
__device__ void triangular_sweep(const TriangularSweep& p) {
  extern __shared__ __align__(16) unsigned char dynamic[];
  SweepOnRank<T, batch, dots>(p, dynamic).run();
}

}  // namespace jaxmg
