// The interface of a backend for Cholesky factorisations and what they are good for. `TiledCholesky` is ours; vendor
// libraries sit behind it, too (backend.h).
#pragma once

#include <cstdint>

#include "core/arena.h"
#include "core/matrix_view.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// One rank's part of a matrix, and how it is worked on.
template <class T>
struct DealtMatrix {
  TileColumns layout;
  std::int64_t depth;   // of the updates
  std::int64_t slots;   // sets of panel buffers
  MatrixView<T> shard;  // n rows; the columns in block order or, of a factor, dealt
};

template <class T>
struct RightHandSides {
  MatrixView<T> x;   // B on entry, X on return
  bool distributed;  // x holds this rank's columns of B, not all of them
};

// Which triangular systems a solve with a factor is made of.
enum class Sweeps : std::int64_t { both = 0, forward = 1, backward = 2 };

// A matrix that is not positive definite makes all of a result NaN, on every rank. `info` is LAPACK's, the same on all
// ranks. A factor is what potrf leaves in `shard`; one that holds NaN on its diagonal makes results NaN.
template <class T, class E>
class CholeskyBackend {
 public:
  virtual ~CholeskyBackend() = default;
  // A X = B; A is overwritten.
  virtual void posv(E& engine, const DealtMatrix<T>& a, const RightHandSides<T>& b, std::int32_t* info,
                    Arena workspace) = 0;
  // A = L L^H, from block order to a factor.
  virtual void potrf(E& engine, const DealtMatrix<T>& a, std::int32_t* info, Arena workspace) = 0;
  // L L^H X = B, or L Y = B, or L^H X = Y.
  virtual void potrs(E& engine, const DealtMatrix<T>& factor, const RightHandSides<T>& b, Sweeps sweeps,
                     Arena workspace) = 0;
  // From a factor to A^-1, both triangles, in block order.
  virtual void potri(E& engine, const DealtMatrix<T>& factor, Arena workspace) = 0;
  // From a factor to L by rows: column j of the shards, in block order, is row j of L, conjugated, with zeros behind
  // it.
  virtual void lower(E& engine, const DealtMatrix<T>& factor, Arena workspace) = 0;
  // The diagonal of L, n x 1, on every rank.
  virtual void diagonal(E& engine, const DealtMatrix<T>& factor, MatrixView<T> diagonal) = 0;
};

}  // namespace jaxmg
