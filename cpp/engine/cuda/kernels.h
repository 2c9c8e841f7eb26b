// Launches of the kernels in kernels.cu.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/secular.h"

namespace jaxmg::cuda {

// Copies all items of a batch with `blocks` thread blocks.
void launch_copy(const CopyBatch& batch, int blocks, cudaStream_t stream);

// Sets item.vector to the widest access all of the item's addresses allow.
void align(CopyItem& item);

void launch_set(std::int32_t* at, std::int32_t value, cudaStream_t stream);

// Those that take real numbers see a complex matrix as a real one of twice the rows.
template <class Real>
void launch_subtract(const Subtraction& subtraction, cudaStream_t stream);

// The diagonal becomes 1; `stride` reals lie between its entries.
template <class Real>
void launch_set_diagonal(Real* diagonal, std::int64_t stride, int n, cudaStream_t stream);

// See Engine::mirror and Engine::zero_below; these take scalars.
template <class T>
void launch_mirror(T* a, std::int64_t ld, int n, cudaStream_t stream);
template <class T>
void launch_zero_below(T* a, std::int64_t ld, int n, cudaStream_t stream);

// *info = min(*info, row + first failing pivot), from potrf's own word in *failed and the factor's diagonal.
template <class Real>
void launch_check_factor(const Real* diagonal, std::int64_t stride, int n, int row, const int* failed,
                         std::int32_t* info, cudaStream_t stream);

// See Engine::conclude.
template <class Real>
void launch_conclude(const std::int32_t* info, int ranks, Real* x, std::int64_t count, std::int32_t* status,
                     cudaStream_t stream);

// Factors a panel by as many thread blocks as suit it. Sets q.rows, q.in_shared and q.arrived; `scratch` holds
// geqrt_scratch(q.n) scalars of the type.
void launch_geqrt(PanelQr q, ScalarType type, cudaStream_t stream);

// Again real numbers; see BandReductionEngine. A scalar of unit_lower is `reals` of them.
template <class Real>
void launch_unit_lower(Real* a, std::int64_t ld, int rows, int columns, int reals, cudaStream_t stream);
template <class Real>
void launch_largest(const Real* a, std::int64_t ld, int rows, int columns, Real* norm, cudaStream_t stream);
template <class Real>
void launch_choose_scale(const Real* norms, int ranks, Real* scale, std::int32_t failure, std::int32_t* info,
                         cudaStream_t stream);
template <class Real>
void launch_multiply(const Real* scale, Real* a, std::int64_t ld, int rows, int columns, cudaStream_t stream);
template <class Real>
void launch_divide(const Real* scale, Real* a, std::int64_t ld, int rows, int columns, cudaStream_t stream);

// Band to tridiagonal and back, see BulgeChasingEngine: half-bandwidths are 32 or 64, of c128 only 32.
void launch_chase(Chase chase, int b, ScalarType type, cudaStream_t stream);
void launch_real_tridiagonal(const void* band, int ld, int n, void* d, void* e, void* phases, ScalarType type,
                             cudaStream_t stream);
void launch_form_diamonds(const DiamondBatch& batch, int waves, int b, ScalarType type, cudaStream_t stream);
void launch_merge_corners(const void* parts, void* q, void* y, int h, int count, ScalarType type, cudaStream_t stream);
void launch_scale_rows(const void* factors, void* a, std::int64_t ld, int rows, int columns, ScalarType type,
                       cudaStream_t stream);

// Real tridiagonal eigenproblems, see TridiagonalEngine. Leaves `first` ... first + count - 1, or columns likewise, are
// those that have own rows.
template <class Real>
void launch_solve_leaves(Halving leaves, std::int64_t first, std::int64_t count, Real* d, const Real* e,
                         std::int64_t row, MatrixView<Real> q, std::int32_t* info, cudaStream_t stream);
template <class Real>
void launch_take_cut_rows(Halving merges, std::int64_t row, MatrixView<Real> q, std::int64_t first, std::int64_t count,
                          Real* z, cudaStream_t stream);
template <class Real>
void launch_rotate_columns(Halving merges, const ColumnChains<Real>& chains, std::int64_t row, MatrixView<Real> from,
                           MatrixView<Real> to, cudaStream_t stream);
template <class Real>
void launch_solve_secular(const MergeLevel<Real>& level, std::int64_t first, std::int64_t count, std::int32_t* info,
                          cudaStream_t stream);
template <class Real>
void launch_adapt_weights(const MergeLevel<Real>& level, std::int64_t first, std::int64_t count, cudaStream_t stream);
template <class Real>
void launch_keep_deflated(const MergeLevel<Real>& level, std::int64_t column, std::int64_t columns, std::int64_t row,
                          MatrixView<Real> from, MatrixView<Real> to, cudaStream_t stream);
template <class Real>
void launch_secular_vectors(const MergeLevel<Real>& level, std::int64_t first, MatrixView<Real> s, cudaStream_t stream);
template <class Real>
void launch_bisect(std::int64_t n, const Real* d, const Real* squares, Real low, Real high, std::int64_t first,
                   MatrixView<Real> w, cudaStream_t stream);
// A matrix of complex numbers at `to`, `ld` of them between its columns.
template <class Real>
void launch_widen(MatrixView<Real> from, Real* to, std::int64_t ld, cudaStream_t stream);

}  // namespace jaxmg::cuda
