// Triangular solves op(F) X = B for few right-hand sides, with a factor in tile columns, in one cooperative launch on
// each rank. The launches of all ranks run at the same time.
//
// Tiles are cut into units of at most 256 unknowns, in the order of the substitution. Unit u belongs to the owner of
// its columns:
//
//   X_u = op(F_uu)^-1 (B_u - sum over earlier s of G_us X_s),    G_us = F_us, or with a transpose op(F_su)
//
// The first blocks of each rank are its chain: they take its units round-robin, load F_uu into shared memory and invert
// its diagonal pieces of 32 unknowns while other units are being solved, then take the sums, and solve by pieces, a
// warp for each. The other blocks, workers, form the sums. They take chunks of unknowns round-robin, and add up the
// updates in the order of s: what a chunk still lacks is the product with the unit that was solved last, the elements
// of which have been loaded when its unknowns arrive.
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
// The product with the inverse Y of a piece D replaces a substitution of 31 dependent steps. The computed x must be as
// accurate as by substitution: the residual |D x - r| is to be of order eps |D| |x|, element by element. Single
// precision has Y in double precision, and x is D^-1 r up to its own rounding. In double precision, a correction
// follows, x = x + Y (r - D x) (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 12.2: one step
// of iterative refinement makes a solver backward stable, element by element). Both require that the condition number
// | |D^-1| |D| | of a piece is moderate; other pieces are solved by substitution.
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

// Type in which a piece is inverted.
template <class T>
struct WideScalar {
  using Type = T;
};
template <>
struct WideScalar<float> {
  using Type = double;
};
template <>
struct WideScalar<DeviceComplex<float>> {
  using Type = DeviceComplex<double>;
};
__device__ inline double widened(float x) { return x; }
__device__ inline double widened(double x) { return x; }
template <class R>
__device__ inline DeviceComplex<double> widened(DeviceComplex<R> x) {
  return {x.re, x.im};
}
__device__ inline void narrow(double x, float& to) { to = static_cast<float>(x); }
__device__ inline void narrow(double x, double& to) { to = x; }
template <class R>
__device__ inline void narrow(DeviceComplex<double> x, DeviceComplex<R>& to) {
  to = {static_cast<R>(x.re), static_cast<R>(x.im)};
}
__device__ inline double magnitude(double x) { return fabs(x); }
__device__ inline double magnitude(DeviceComplex<double> x) { return fabs(x.re) + fabs(x.im); }

// Numbers that one load from shared memory reads.
template <class T>
struct alignas(16) Pack {
  T value[16 / sizeof(T)];
};

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
    if (static_cast<int>(blockIdx.x) < p.chains) {
      SweepUnit u{}, next{};
      for (int step = next_in_chain(0, static_cast<int>(blockIdx.x), u); step < p.units;) {
        const int after = next_in_chain(step + 1, p.chains - 1, next);
        const Piece own = prepare(u);
        if (after < p.units) prefetch_block(next);
        solve(u, own);
        u = next;
        step = after;
      }
    } else {
      work();
    }
    store();
  }

 private:
  static constexpr int warps = sweep_threads / 32, piece = sweep_piece;
  static constexpr int pitch = piece + 1, square = piece * pitch;
  static constexpr unsigned all = 0xffffffffu;
  // Type of inverses.
  using Wide = typename WideScalar<T>::Type;
  static constexpr bool corrected = sizeof(Wide) == sizeof(T);

  // A lane's part of a diagonal piece: the diagonal element of its unknown, and whether the inverse may be used.
  struct Piece {
    T diagonal;
    bool inverted;
  };

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

  // The step of an own unit: the first from `step` on, after skipping `skipped` own units.
  __device__ __forceinline__ int next_in_chain(int step, int skipped, SweepUnit& u) const {
    for (; step < p.units; ++step) {
      u = sweep_unit(p, step);
      if (u.owner == p.rank && u.width > 0 && skipped-- == 0) break;
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

  // Shared memory of the chain: inverses, two in a square; the right-hand sides of a piece; F_uu in squares of 32
  // unknowns; the unknowns of the unit.
  __device__ __forceinline__ Wide* inverses() const { return reinterpret_cast<Wide*>(memory); }
  __device__ __forceinline__ Wide* operand() const { return inverses() + (p.unit / piece + 1) / 2 * square; }
  __device__ __forceinline__ T* squares() const {
    return reinterpret_cast<T*>(operand() + piece * sweep_most_columns<sizeof(T)>);
  }
  // Element (unknown i of piece w, unknown k of piece v <= w) is at [k * pitch + i].
  __device__ __forceinline__ T* square_of(int w, int v) const { return squares() + (w * (w + 1) / 2 + v) * square; }
  __device__ __forceinline__ T* known() const { return square_of(p.unit / piece, 0); }
  // Element (i, k) of the inverse of the warp's piece, i >= k.
  __device__ __forceinline__ Wide& inverse(int i, int k) const {
    return inverses()[warp / 2 * square + (warp % 2 == 0 ? i * pitch + k : k * pitch + i + 1)];
  }

  // Loads F_uu, of the diagonal pieces the strict triangle, and inverts the pieces: warp w has piece w, and a lane an
  // unknown of it.
  __device__ __forceinline__ Piece prepare(const SweepUnit& u) const {
    const T* const block = unit_columns(u) + u.begin;
    const int pieces = (u.width + piece - 1) / piece, own = warp * piece + lane;
    __syncthreads();  // The last unit has been solved.
    int w = 0, v = 0;
    for (int number = 0; number < pieces * (pieces + 1) / 2; ++number) {
      if (number % warps == warp) load_square(u, block, w, v);
      if (++v > w) {
        ++w;
        v = 0;
      }
    }
    Piece of_lane{scalar<T>(1, 0), false};
    if (own < u.width && !p.unit_diagonal) {
      const long long at = place(u, own);
      of_lane.diagonal = element(load_fresh(block + at + at * p.ld));
    }
    __syncthreads();
    if (warp < pieces) of_lane.inverted = invert(of_lane.diagonal);
    return of_lane;
  }

  // A lane has a row of F_uu, which without a transpose is an unknown of piece w, and with one of piece v.
  __device__ __forceinline__ void load_square(const SweepUnit& u, const T* block, int w, int v) const {
    T* const to = square_of(w, v);
    const int other = (dots ? v : w) * piece + lane, columns = (dots ? w : v) * piece;
    const bool exists = other < u.width;
    const T* const row = block + (exists ? place(u, other) : 0);
#pragma unroll 16
    for (int c = 0; c < piece; ++c) {
      const bool stored = exists && columns + c < u.width && (w != v || (dots ? lane < c : c < lane));
      const T value = stored ? element(load_fresh(row + place(u, columns + c) * p.ld)) : T{};
      to[dots ? lane * pitch + c : c * pitch + lane] = value;
    }
  }

  // Inverts the warp's piece, a column for each lane. Returns whether the inverse may be used.
  __device__ __forceinline__ bool invert(T diagonal) const {
    using R = DeviceReal<Wide>;
    const T* const triangle = square_of(warp, warp);
    const Wide reciprocal = quotient(scalar<Wide>(1, 0), widened(diagonal));
    for (int i = 0; i < piece; ++i) {
      Wide sum = scalar<Wide>(i == lane ? 1 : 0, 0);
#pragma unroll 4
      for (int k = 0; k < i; ++k) {
        if (k >= lane) sum = sum - widened(triangle[k * pitch + i]) * inverse(k, lane);
      }
      const Wide value = sum * from_lane(reciprocal, i);
      if (i >= lane) inverse(i, lane) = value;
    }
    __syncwarp();
    // The lane's row of |D^-1| |D|.
    R size = magnitude(widened(diagonal)), condition = 0;
    for (int k = 0; k < lane; ++k) size += magnitude(widened(triangle[k * pitch + lane]));
    for (int k = 0; k < piece; ++k) {
      const R of_row = from_lane(size, k);
      if (k <= lane) condition += magnitude(inverse(lane, k)) * of_row;
    }
    return __all_sync(all, condition <= R(1 << 20)) != 0;  // false for NaN
  }

  // The chain. A warp keeps the right-hand sides of 32 unknowns, a lane for each.
  __device__ __forceinline__ void solve(const SweepUnit& u, const Piece& of_lane) {
    const int pieces = (u.width + piece - 1) / piece, own = warp * piece + lane;
    const bool active = warp < pieces, valid = own < u.width;
    constexpr bool held = sizeof(Wide) == 8;  // whether registers have the inverse
    Wide row[held ? piece : 1];
    T r[batch];
#pragma unroll
    for (int j = 0; j < batch; ++j) r[j] = T{};
    if (active) {
      if constexpr (held) {
#pragma unroll
        for (int k = 0; k < piece; ++k) row[k] = k <= lane ? inverse(lane, k) : Wide{};
      }
      load_right_hand_sides(u, valid, own, r);
    }
    for (int k = 0; k < pieces; ++k) {
      const bool later = active && warp > k;
      T panel[piece];
      if (later) {
#pragma unroll
        for (int c = 0; c < piece; ++c) panel[c] = square_of(warp, k)[c * pitch + lane];
      }
      if (warp == k) {
        if (!of_lane.inverted || !multiply_by_inverse(row, of_lane.diagonal, r)) substitute(of_lane.diagonal, r);
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          known()[own * batch + j] = r[j];
          if (valid && j < p.columns) publish(u.begin + place(u, own) + static_cast<long long>(j) * p.n, r[j]);
        }
      }
      __syncthreads();
      if (later) {
        T update[batch];
        multiply<T>([&](int c) { return panel[c]; }, known() + k * piece * batch, update);
#pragma unroll
        for (int j = 0; j < batch; ++j) r[j] = r[j] - update[j];
      }
    }
  }

  // Products of a row of 32 numbers with the columns of a matrix in shared memory, 32 by `batch` in rows.
  template <class S, class Row>
  static __device__ __forceinline__ void multiply(const Row& row, const S* matrix, S (&product)[batch]) {
    constexpr int at_once = 16 / static_cast<int>(sizeof(S)), chains = batch == 1 ? 4 : 1;
    S sum[chains][batch];
#pragma unroll
    for (int e = 0; e < chains; ++e) {
#pragma unroll
      for (int j = 0; j < batch; ++j) sum[e][j] = S{};
    }
#pragma unroll
    for (int first = 0; first < piece * batch; first += at_once) {
      const auto numbers = *reinterpret_cast<const Pack<S>*>(matrix + first);
#pragma unroll
      for (int e = 0; e < at_once; ++e) {
        const int c = (first + e) / batch, j = (first + e) % batch;
        sum[c % chains][j] = sum[c % chains][j] + row(c) * numbers.value[e];
      }
    }
#pragma unroll
    for (int j = 0; j < batch; ++j) {
      product[j] = sum[0][j];
      for (int e = 1; e < chains; ++e) product[j] = product[j] + sum[e][j];
    }
  }

  // Gives all lanes of the warp X: rows of `operand`.
  template <class S>
  __device__ __forceinline__ void share(const S (&x)[batch]) const {
    __syncwarp();
#pragma unroll
    for (int j = 0; j < batch; ++j) operand()[lane * batch + j] = widened(x[j]);
    __syncwarp();
  }

  // Whether all lanes have finite numbers.
  static __device__ __forceinline__ bool finite(const T (&r)[batch]) {
    bool yes = true;
#pragma unroll
    for (int j = 0; j < batch; ++j) yes = yes && is_finite(r[j]);
    return __all_sync(all, yes) != 0;
  }

  // R = D^-1 R. Where that is not finite, returns false and leaves R as it is: a product spreads infinities and NaNs to
  // unknowns that do not depend on them, and its terms may overflow although R and the solution do not.
  template <int count>
  __device__ __forceinline__ bool multiply_by_inverse(const Wide (&row)[count], T diagonal, T (&r)[batch]) const {
    const auto row_of_inverse = [&](int k) {
      if constexpr (count == piece) {
        return row[k];
      } else {
        return k <= lane ? inverse(lane, k) : Wide{};
      }
    };
    Wide x[batch];
    share(r);
    multiply<Wide>(row_of_inverse, operand(), x);
    if constexpr (corrected) {
      const T* const triangle = square_of(warp, warp);
      T residual[batch], correction[batch];
      share(x);
      multiply<T>([&](int k) { return k < lane ? triangle[k * pitch + lane] : T{}; }, operand(), residual);
#pragma unroll
      for (int j = 0; j < batch; ++j) residual[j] = r[j] - residual[j] - diagonal * x[j];
      share(residual);
      multiply<T>(row_of_inverse, operand(), correction);
#pragma unroll
      for (int j = 0; j < batch; ++j) x[j] = x[j] + correction[j];
    }
    T found[batch];
#pragma unroll
    for (int j = 0; j < batch; ++j) narrow(x[j], found[j]);
    if (!finite(found)) return false;
#pragma unroll
    for (int j = 0; j < batch; ++j) r[j] = found[j];
    return true;
  }

  __device__ __forceinline__ void substitute(T diagonal, T (&r)[batch]) const {
    const T* const triangle = square_of(warp, warp);
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
      patience.await([&](int e) { return sum_at(first + e / batch, e % batch, u.local + row); },
                     [&](int e) { return valid && first + e / batch < ranks && e % batch < p.columns; }, sum);
#pragma unroll
      for (int e = 0; e < group; ++e) r[e % batch] = r[e % batch] - sum[e];
    }
    __syncwarp();
  }

  __device__ __forceinline__ void publish(long long at, T value) const {
    if constexpr (dots) {
      for (int rank = 0; rank < p.ranks; ++rank) send_number(on_rank(rank, solved + at), value);
    } else {
      send_number(solved + at, value);
    }
  }

  // Workers. A worker takes every (gridDim.x - p.chains)-th chunk.
  __device__ __forceinline__ void work() {
    const int workers = static_cast<int>(gridDim.x) - p.chains;
    int next = static_cast<int>(blockIdx.x) - p.chains, chunk = 0;
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

  // Nanoseconds between two polls for unknowns of a unit that is `distance` steps before the unit of a chunk: the chunk
  // is needed only after these steps, of several microseconds each.
  static __device__ __forceinline__ unsigned nap_before(int distance) {
    return distance <= 1 ? 0u : static_cast<unsigned>(distance < 16 ? distance : 16) * 128u;
  }

  // Without a transpose: rows of a chunk, several for each lane. With one: columns of a chunk.
  static constexpr int lane_rows = sizeof(T) == 4 ? 2 : 1;
  static constexpr int chunk_columns = batch == 1 ? 8 : 4;
  static __device__ __forceinline__ constexpr int chunk_size() { return dots ? chunk_columns : 32 * lane_rows; }

  // Sums of rows [first, first + 32 lane_rows) of a unit. A warp takes 4 columns of each piece.
  __device__ __forceinline__ void add_rows(const SweepUnit& u, int end, int first) {
    constexpr int own = 4 * sweep_unit_columns<sizeof(T)> / piece;  // columns of a warp in a unit
    static_assert(own <= 32, "a lane for each column");
    T sum[lane_rows][batch];
#pragma unroll
    for (int v = 0; v < lane_rows; ++v) {
#pragma unroll
      for (int j = 0; j < batch; ++j) sum[v][j] = T{};
    }
    int step = -1;
    SweepUnit s{};
    // Moves on to the next own unit before `end`.
    const auto advance = [&] {
      while (++step < end) {
        s = sweep_unit(p, step);
        if (s.owner == p.rank && s.width > 0) return true;
      }
      return false;
    };
    const auto unknown = [&](int c) { return c / 4 * piece + warp * 4 + c % 4; };
    const auto load = [&](T(&part)[own][lane_rows]) {
      const T* const rows = unit_columns(s) + u.begin + first + lane;
#pragma unroll
      for (int c = 0; c < own; ++c) {
        const int number = unknown(c);
        const bool exists = number < s.width;
        const T* const column = rows + (exists ? place(s, number) : 0) * p.ld;
#pragma unroll
        for (int v = 0; v < lane_rows; ++v) {
          part[c][v] = exists && first + lane + 32 * v < u.width ? load_fresh(column + 32 * v) : T{};
        }
      }
    };
    T part[own][lane_rows];
    bool more = advance();
    if (more) load(part);
    while (more) {
      // A lane reads the unknown of a column of the warp.
      const int number = unknown(lane);
      const bool exists = lane < own && number < s.width;
      const T* const from = solved + s.begin + (exists ? place(s, number) : 0);
      const unsigned nap = nap_before(end - step);
      T now[own][lane_rows];
#pragma unroll
      for (int c = 0; c < own; ++c) {
#pragma unroll
        for (int v = 0; v < lane_rows; ++v) now[c][v] = part[c][v];
      }
      more = advance();
      if (more) load(part);
      T known[batch];
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        known[j] = exists && j < p.columns ? load_arriving(from + static_cast<long long>(j) * p.n) : T{};
      }
      // Pieces in their order, each as soon as all of it is known.
      Waiting waiting;
      for (int done = 0; done < own / 4;) {
        bool arrived = true;
#pragma unroll
        for (int j = 0; j < batch; ++j) arrived = arrived && has_arrived(known[j]);
        const unsigned ready = __ballot_sync(all, arrived || patience.stopped);
#pragma unroll
        for (int k = 0; k < own / 4; ++k) {
          if (k != done || (ready >> 4 * k & 15u) != 15u) continue;
          ++done;
#pragma unroll
          for (int c = 4 * k; c < 4 * k + 4; ++c) {
#pragma unroll
            for (int j = 0; j < batch; ++j) {
              const T value = from_lane(known[j], c);
#pragma unroll
              for (int v = 0; v < lane_rows; ++v) sum[v][j] = sum[v][j] + now[c][v] * value;
            }
          }
        }
        if (done == own / 4) break;
        patience.pause(waiting, nap);
#pragma unroll
        for (int j = 0; j < batch; ++j) {
          if (!has_arrived(known[j])) known[j] = load_arriving(from + static_cast<long long>(j) * p.n);
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

  // Sums of columns [first, first + chunk_columns) of an own unit. A warp takes every `warps`-th piece of rows, `depth`
  // of them at a time.
  __device__ __forceinline__ void add_columns(const SweepUnit& u, int end, int first) {
    constexpr int depth = sizeof(T) == 4 && batch == 1 ? 4 : 2;
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
        patience.await([&](int j) { return solved + row_now[d] + static_cast<long long>(j) * p.n; },
                       [&](int j) { return row_now[d] >= 0 && j < p.columns; }, known,
                       nap_before(end - (number + d * warps) / per_unit));
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
