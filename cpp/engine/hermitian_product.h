// Sizes of the parts of a product with a Hermitian matrix, shared by algorithm and kernels.
#pragma once

#include "engine/portable.h"

namespace jaxmg {

// A rank's columns of the lower triangle are cut into strips of rows and chunks of columns. A strip's part of a chunk
// gives one sum for each of its rows and one for each of its columns.
template <int scalar_bytes>
constexpr int hermitian_strip = 2048 / scalar_bytes;
constexpr int hermitian_chunk = 256;

JAXMG_PORTABLE constexpr long long hermitian_strips(long long n, int strip) { return (n + strip - 1) / strip; }
JAXMG_PORTABLE constexpr long long hermitian_chunks(long long own) {
  return (own + hermitian_chunk - 1) / hermitian_chunk;
}

}  // namespace jaxmg
