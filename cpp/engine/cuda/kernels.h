// Launches of the kernels in kernels.cu.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cuda/kernel_abi.h"

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

}  // namespace jaxmg::cuda
