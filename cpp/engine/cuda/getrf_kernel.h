// LU factorisation of a tall panel with partial pivoting, in one cooperative launch. Every thread keeps one row in
// registers.
//
// Each column takes one exchange between thread blocks: every block publishes its candidate for the pivot, the largest
// number of the column in its rows, with the candidate's row, and all blocks choose the same one. Rows are not
// interchanged: threads keep track of the places of their rows, and store them there at the end.
//
// The register that holds column c in step 0 holds column c + k in step k, and the multipliers come in at the end:
// registers can only be named by constants, and the loop over the columns is too long to be unrolled.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"
#include "kernel_abi.h"
#include "packets.h"

namespace jaxmg {

// The largest number of a column among some rows, as bits, which compare like the number: a NaN is larger than
// infinity. The uppermost place among equal ones. Rows that are no candidates have none.
struct PivotCandidate {
  unsigned high, low;
  int place;
};

constexpr int no_place = 0xffffff;  // beyond all rows, and a number that a packet can carry

__device__ inline PivotCandidate make_candidate(double magnitude, int place) {
  const auto bits = static_cast<unsigned long long>(__double_as_longlong(magnitude));
  return {static_cast<unsigned>(bits >> 32), static_cast<unsigned>(bits), place};
}
__device__ inline PivotCandidate make_candidate(float magnitude, int place) {
  return {static_cast<unsigned>(__float_as_int(magnitude)), 0, place};
}

// |re| + |im|, as in LAPACK's i?amax.
template <class T>
__device__ __forceinline__ DeviceReal<T> pivot_magnitude(T x) {
  return fabs(fabs(real_part(x)) + fabs(imaginary_part(x)));
}

// The best candidate of a warp, in all lanes.
__device__ inline PivotCandidate best_of_warp(PivotCandidate own) {
  constexpr unsigned all = 0xffffffffu;
  PivotCandidate best;
  best.high = __reduce_max_sync(all, own.high);
  best.low = __reduce_max_sync(all, own.high == best.high ? own.low : 0u);
  best.place = __reduce_min_sync(all, own.high == best.high && own.low == best.low ? own.place : no_place);
  return best;
}

template <class T>
struct PanelLuShape {
  static constexpr int words = sizeof(T) == 16 ? 2 : 1;  // packets of a number
  static constexpr int columns = lu_columns / words;
  static constexpr int packets = lu_columns + 1;  // of a block: a row, and the candidate
};

template <class T>
union PacketBits {
  T number;
  unsigned long long words[PanelLuShape<T>::words];
};

template <class T>
__device__ __forceinline__ void publish(const T* x, unsigned tag, Packet* to) {
  using Shape = PanelLuShape<T>;
#pragma unroll
  for (int j = 0; j < Shape::columns; ++j) {
    PacketBits<T> bits{};
    bits.number = x[j];
#pragma unroll
    for (int k = 0; k < Shape::words; ++k) send(to + j * Shape::words + k, {bits.words[k], 0, tag});
  }
}

template <class T>
__device__ void getrf(const PanelLu& p) {
  using Shape = PanelLuShape<T>;
  constexpr int width = Shape::columns;
  static_assert(lu_columns == 32, "a lane of a warp receives each packet of a row");
  static_assert(lu_blocks <= lu_threads && lu_blocks * lu_threads < no_place, "packets");
  __shared__ PivotCandidate of_warp[32], of_blocks[32];
  __shared__ PacketBits<T> u[width];
  __shared__ int from_block[32], pivot;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32, blocks = static_cast<int>(gridDim.x);
  const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  T* const a = static_cast<T*>(p.a);
  Packet* const slots = static_cast<Packet*>(p.slots);

  T x[width];
#pragma unroll
  for (int j = 0; j < width; ++j) x[j] = row < p.m && j < p.n ? a[row + j * p.ld] : T{};
  int place = row < p.m ? row : no_place;
  __threadfence();  // all blocks have loaded their rows before any stores there

  for (int c = 0; c < p.n; ++c) {
    const unsigned tag = c + 1;
    Packet* const slot = slots + (c & 1) * blocks * Shape::packets;
    const bool eligible = place >= c && place != no_place;
    PivotCandidate best = eligible ? make_candidate(pivot_magnitude(x[0]), place) : PivotCandidate{0, 0, no_place};
    best = best_of_warp(best);
    if (lane == 0) of_warp[warp] = best;
    __syncthreads();
    best = best_of_warp(lane < warps ? of_warp[lane] : PivotCandidate{0, 0, no_place});
    if (best.place == no_place ? threadIdx.x == 0 : place == best.place) {
      Packet* const own = slot + static_cast<int>(blockIdx.x) * Shape::packets;
      send(own + Shape::packets - 1, {static_cast<unsigned long long>(best.high) << 32 | best.low, best.place, tag});
      publish(x, tag, own);
    }
    // A lane for each block.
    const int readers = (blocks + 31) / 32;
    if (warp < readers) {
      __syncwarp();
      PivotCandidate other{0, 0, no_place};
      const int block = static_cast<int>(threadIdx.x);
      if (block < blocks) {
        const Message sent = receive(slot + block * Shape::packets + Shape::packets - 1, tag);
        other = {static_cast<unsigned>(sent.bits >> 32), static_cast<unsigned>(sent.bits), sent.number};
      }
      __syncwarp();
      best = best_of_warp(other);
      if (other.place == best.place && other.place != no_place) {
        of_blocks[warp] = best;
        from_block[warp] = block;
      } else if (best.place == no_place) {
        of_blocks[warp] = best;
      }
    }
    __syncthreads();
    if (warp == 0) {
      const PivotCandidate other = lane < readers ? of_blocks[lane] : PivotCandidate{0, 0, no_place};
      best = best_of_warp(other);
      const int reader = __ffs(__ballot_sync(0xffffffffu, other.place == best.place)) - 1;
      const Packet* const from = slot + from_block[reader] * Shape::packets;
      u[lane / Shape::words].words[lane % Shape::words] = receive(from + lane, tag).bits;
      if (lane == 0) pivot = best.place;
      if (lane == 0 && blockIdx.x == 0) p.pivots[c] = p.row + best.place;
    }
    __syncthreads();

    if (place == pivot) {
      place = c;
    } else if (place == c) {
      place = pivot;
    }
    const bool below = place > c;
    const T largest = u[0].number;
    const bool zero = real_part(largest) == 0 && imaginary_part(largest) == 0;
    const T l = below && !zero ? quotient(x[0], largest) : x[0];
#pragma unroll
    for (int j = 1; j < width; ++j) {
      x[j - 1] = below && j < width - c ? x[j] - l * u[j].number : x[j];
    }
    x[width - 1] = l;
  }
  __threadfence();
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const int column = j - (width - p.n);
    if (row < p.m && column >= 0) a[place + column * p.ld] = x[j];
  }
}

}  // namespace jaxmg
