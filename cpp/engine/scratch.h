// Device scratch of an engine, in addition to the workspaces of algorithms. Engine and planner carve it with the same
// code.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/arena.h"
#include "core/ceil_div.h"
#include "core/scalar.h"
#include "engine/diamonds.h"
#include "engine/engine.h"

namespace jaxmg {

enum class Platform : std::int64_t { cpu = 0, cuda = 1 };

// Workspace of cuSOLVER's potrf: slightly more than n^2 / 256 bytes, for each scalar type (measured with
// cusolverDn*potrf_bufferSize of CUDA 13.0, n = 32 ... 65536). The engine verifies it.
inline std::int64_t cusolver_potrf_bytes(std::int64_t n) { return (n + 128) * (n + 128) / 256 + 4096; }

// Workspace of cuBLAS for each lane.
inline constexpr std::int64_t cublas_workspace_bytes = std::int64_t{1} << 20;

// Size of the send buffer and of the receive buffer into which blocks between processes are packed; all peers share
// them.
inline constexpr std::int64_t packed_bytes = std::int64_t{32} << 20;

// Engines' geqrt factor at least as many columns at a time.
inline constexpr std::int64_t least_geqrt_columns = 32;

// The largest number of thread blocks of geqrt. Each publishes a sum for each column, for two steps, or of narrow
// panels its part of a Gram matrix in 8 x 8 tiles.
inline constexpr std::int64_t geqrt_blocks = 160;
inline std::int64_t geqrt_scratch(std::int64_t columns) {
  const std::int64_t by_columns = 2 * columns * (geqrt_blocks + 1) + 16;
  if (columns > 64) return by_columns;
  const std::int64_t eighths = ceil_div(columns, 8), width = ceil_div(columns, 32) * 32;
  return by_columns + (geqrt_blocks + 1) * (32 * eighths * (eighths + 1) + 32) + width * (width + 1);
}

// Workspace of two_sided. Each thread block publishes its part of V^H Z in 8 x 8 tiles.
inline std::int64_t two_sided_scratch(std::int64_t columns) {
  const std::int64_t width = ceil_div(columns, 8) * 8;
  return (geqrt_blocks + 1) * width * width + 16;
}

// Workspace of apply_waves. A diamond consists of block reflectors of 16 sweeps in compact WY form: V is a
// parallelogram of b + 16 rows, stored with its zeros and a distance of b + 18 between columns, and T three tiles of 8
// x 8. Each 16 columns of Z count their finished steps for each group of sweeps, beside the number of tasks drawn.
inline std::int64_t block_reflector_numbers(std::int64_t bandwidth) {
  return ceil_div(bandwidth, 16) * (16 * (bandwidth + 18) + 192);
}
inline std::int64_t wave_progress(const DiamondGrid& grid, std::int64_t columns) {
  return 1 + ceil_div(columns, 128) * 8 * grid.groups();
}

// Workspace of getrf for a view of at most m rows and n columns. cuSOLVER's takes m n / 256 + 8 n bytes and a little,
// at most 45 KiB, for every scalar type (measured with cusolverDn*getrf_bufferSize of CUDA 13.0 on H100, m = 1 ...
// 65536, n = 1 ... m). The engine checks it. Its own kernel's takes lu_slots_bytes(lu_blocks), 165 KiB.
inline std::int64_t getrf_scratch_bytes(std::int64_t m, std::int64_t n) { return m * n / 256 + 8 * n + (176 << 10); }

// Workspace of LAPACK's syevd (real) or heevd (complex), as its documentation has it, with room for blocked code: at
// the documented minimum, reductions without vectors and the back-transformation of complex vectors are not blocked.
template <class T>
struct LapackHeevdWorkspace {
  std::int64_t elements, reals, integers;
  T* work;
  Real<T>* rwork;
  int* iwork;

  LapackHeevdWorkspace(Arena& arena, std::int64_t n, bool vectors)
      : elements((vectors ? (is_complex<T> ? 1 : 2) * n * n : 0) + 70 * n + 1),
        reals(!is_complex<T> ? 0
              : vectors      ? 2 * n * n + 5 * n + 1
                             : n),
        integers(vectors ? 5 * n + 3 : 1),
        work(arena.take<T>(elements)),
        rwork(arena.take<Real<T>>(reals)),
        iwork(arena.take<int>(integers)) {}
};

// Workspace of the platform's eigensolver for one rank. For cuSOLVER's Xsyevd this is an assumption, which the engine
// checks before it uses the library: releases differ.
inline std::int64_t heevd_bytes(Platform platform, ScalarType type, std::int64_t n, bool vectors) {
  return dispatch(type, [&]<class T>() {
    Arena measure;
    if (platform == Platform::cpu) {
      LapackHeevdWorkspace<T>(measure, n, vectors);
    } else {
      measure.take<std::int32_t>(1);
      measure.take<T>(4 * n * n + 512 * n + (std::int64_t{1} << 18));
    }
    return measure.used();
  });
}

// Workspace of LAPACK's gesdd for a matrix of n rows and at least as many columns, or its adjoint, as its documentation
// has it, with room for blocked code.
template <class T>
struct LapackGesddWorkspace {
  std::int64_t elements, reals, integers;
  T* work;
  Real<T>* rwork;
  int* iwork;

  LapackGesddWorkspace(Arena& arena, std::int64_t n, std::int64_t columns, bool vectors)
      : elements((!vectors        ? 0
                  : is_complex<T> ? n * n
                                  : 4 * n * n) +
                 70 * (n + columns) + 1),
        reals(!is_complex<T> ? 0
              : vectors      ? std::max(5 * n * n + 7 * n, 2 * n * (n + columns) + n)
                             : 7 * n),
        integers(8 * n),
        work(arena.take<T>(elements)),
        rwork(arena.take<Real<T>>(reals)),
        iwork(arena.take<int>(integers)) {}
};

struct CudaScratch {
  std::array<std::byte*, lane_count> blas{};
  std::byte* potrf;
  std::byte* packed = nullptr;

  // For a call with diagonal blocks of order at most `largest_potrf`.
  CudaScratch(Arena& arena, std::int64_t largest_potrf, std::int64_t processes) {
    for (std::byte*& lane : blas) lane = arena.take<std::byte>(cublas_workspace_bytes);
    potrf = arena.take<std::byte>(cusolver_potrf_bytes(largest_potrf));
    if (processes > 1) packed = arena.take<std::byte>(2 * packed_bytes);
  }
};

inline std::int64_t engine_scratch_bytes(Platform platform, std::int64_t largest_potrf, std::int64_t processes) {
  Arena measure;
  if (platform == Platform::cuda) CudaScratch(measure, largest_potrf, processes);
  return measure.used();
}

}  // namespace jaxmg
