// The interface of a backend for Cholesky factorisations and what they are good for. Vendor libraries will sit
// behind it; `TiledCholesky` is ours.
#pragma once

#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// One rank's part of A X = B after the buffers of a call have been decoded.
template <class T>
struct CholeskySolve {
  TileColumns layout;
  std::int64_t depth;    // of the updates
  std::int64_t slots;    // sets of panel buffers
  bool distributed_rhs;  // x holds this rank's columns of B, not all of them
  MatrixView<T> a;       // this rank's columns in block order, n rows; overwritten
  MatrixView<T> x;       // B on entry, X on return (NaN where A is not positive definite)
  std::int32_t* status;  // LAPACK's info, the same on all ranks
};

template <class T, class E>
class CholeskyBackend {
 public:
  virtual ~CholeskyBackend() = default;
  virtual void potrs(E& engine, const CholeskySolve<T>& problem, Arena workspace) = 0;
};

}  // namespace jaxmg
