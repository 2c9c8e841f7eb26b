// Launch of the kernels in sweep_kernel.h.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/ceil_div.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/launch.h"
#include "engine/sweep_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg::cuda {

// A kernel for sweeps, loaded on the current device, with its launch dimensions.
struct SweepKernel {
  CUkernel kernel;
  std::int64_t blocks, shared_bytes;
  int pieces;  // of a unit, at most: its triangle is in shared memory
};

// For `batch` right-hand sides at once; `share`: ranks on this device. An eighth of the multiprocessors is left to
// other kernels, which other GPUs may wait for, such as a collective of NCCL.
template <class T>
SweepKernel load_sweep_kernel(Op op, std::int64_t batch, int share) {
  SweepKernel found{};
  if constexpr (sweep_batch<T> > 1) {
    static_assert(sweep_batch<T> == sweep_many);
    if (batch > 1) found.kernel = op == Op::none ? kernel<"sweep_columns_many", T>() : kernel<"sweep_dots_many", T>();
  }
  if (batch == 1) found.kernel = op == Op::none ? kernel<"sweep_columns", T>() : kernel<"sweep_dots", T>();
  int device = 0, multiprocessors = 0, resident = 0, shared = 0;
  JAXMG_CHECK(cudaGetDevice(&device));
  JAXMG_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  JAXMG_CHECK(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  constexpr auto bytes = sweep_shared_bytes<sizeof(T), is_complex<T>>;
  found.pieces = sweep_unit_columns<sizeof(T)> / sweep_piece;
  while (found.pieces > 1 && bytes(found.pieces) > shared) --found.pieces;
  found.shared_bytes = bytes(found.pieces);
  JAXMG_CHECK(Driver::instance().kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                      static_cast<int>(found.shared_bytes), found.kernel, device));
  // This also loads the kernel, which may wait for other kernels: no other rank's kernel waits for this one yet.
  JAXMG_CHECK(Driver::instance().occupancy_max_active_blocks(&resident, reinterpret_cast<CUfunction>(found.kernel),
                                                             sweep_threads,
                                                             static_cast<std::size_t>(found.shared_bytes)));
  if (resident < 1) throw Error(ErrorCode::internal, "this GPU has too little shared memory for a triangular solve");
  found.blocks = std::max((multiprocessors - multiprocessors / 8) / share, 2);
  return found;
}

// The part of a sweep that all batches of right-hand sides have in common.
template <class T>
TriangularSweep describe_sweep(const SweepKernel& kernel, const TileColumns& layout, const SweepSystem<T>& system,
                               const SweepWorkspace<T>& w, int rank) {
  const std::int64_t most = kernel.pieces * sweep_piece;
  const std::int64_t tile = layout.tile(), parts = ceil_div(tile, most);
  const std::int64_t tiles = ceil_div(layout.shard(), tile);
  TriangularSweep p{};
  p.a = system.factor.data;
  p.ld = system.factor.ld;
  p.ldx = system.x.ld;
  p.solved = w.solved.data;
  p.sums = w.sums.data;
  p.n = checked_int(layout.order(), "n");
  p.shard = checked_int(layout.shard(), "the shard");
  p.tile = checked_int(tile, "the tile");
  p.full = checked_int(layout.full_slots(), "full tiles");
  p.tiles = checked_int(tiles, "tiles");
  p.parts = checked_int(parts, "parts");
  p.unit = checked_int(ceil_div(ceil_div(tile, parts), std::int64_t{sweep_piece}) * sweep_piece, "the unit");
  p.units = checked_int(layout.ranks() * tiles * parts, "units");
  p.ranks = layout.ranks();
  p.rank = rank;
  // Enough for the units of a tile, which follow each other on a rank, and one more to prepare.
  p.chains = checked_int(std::clamp<std::int64_t>(kernel.blocks / 4, 1, parts + 1), "thread blocks");
  p.ascending = system.ascending() ? 1 : 0;
  p.conjugated = system.op == Op::conj_transpose ? 1 : 0;
  p.unit_diagonal = system.diag == Diag::unit ? 1 : 0;
  return p;
}

// A sweep with some of the right-hand sides.
template <class T>
void launch_sweep(cudaStream_t stream, const SweepKernel& kernel, TriangularSweep p, MatrixView<T> x) {
  p.x = x.data;
  p.columns = checked_int(x.columns, "right-hand sides");
  launch_cooperative(kernel.kernel, {kernel.blocks, sweep_threads}, kernel.shared_bytes, stream, p);
}

}  // namespace jaxmg::cuda
