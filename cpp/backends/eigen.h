// The interface of a backend for eigenvalue problems. `TiledEigen` is ours; vendor libraries sit behind it, too
// (backend.h).
#pragma once

#include <cstdint>

#include "algorithms/eigen/syevd.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// How eigenvectors are returned: as columns of Z, or as rows of Z^H.
enum class EigenvectorForm { columns, adjoint_rows };

// One rank's part of A = Z diag(w) Z^H after the buffers of a call have been decoded.
template <class T>
struct HermitianEigen {
  TileColumns layout;
  SyevdBlocking blocking;
  MatrixView<T> a;       // this rank's columns in block order, n rows; the lower triangle is read, all is overwritten
  Real<T>* w;            // n eigenvalues in ascending order, on every rank
  MatrixView<T> z;       // this rank's eigenvectors, n by its share of the wanted ones; empty: none are wanted
  EigenvectorForm form;  // with adjoint_rows, the memory of z receives its adjoint
  EigenvectorChoice<Real<T>> wanted;
  std::int32_t* status;  // LAPACK's info, the same on all ranks; w and z are NaN unless it is 0
};

template <class T, class E>
class EigenBackend {
 public:
  virtual ~EigenBackend() = default;
  virtual void syevd(E& engine, const HermitianEigen<T>& problem, Arena workspace) = 0;
};

}  // namespace jaxmg
