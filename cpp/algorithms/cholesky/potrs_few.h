// Solves L L^H X = B with the factor that Potrf leaves in tile columns, for few right-hand sides that every rank holds:
// a forward sweep by columns, L Y = B, and a backward sweep by dot products, L^H X = Y.
#pragma once

#include "algorithms/triangular/trsm_few.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
using PotrsFewWorkspace = TrsmFewWorkspace<T>;

template <class T, class E>
class PotrsFew {
 public:
  // `x` holds B (n x nrhs) on every rank, and X on return.
  PotrsFew(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<T> x, PotrsFewWorkspace<T>& workspace)
      : sweeps_(engine, layout, a, x, workspace) {}

  void run() {
    forward();
    backward();
  }
  // L Y = B. On return X holds Y in the rows of own tiles; other rows still hold B.
  void forward() { sweeps_.solve({Uplo::lower, Op::none, Diag::non_unit}); }
  // Broadcasts the rows of all tiles from their owners.
  void share() { sweeps_.share(); }
  // L^H X = Y, where every rank has all of Y or the rows of its own tiles.
  void backward() { sweeps_.solve({Uplo::lower, Op::conj_transpose, Diag::non_unit}); }

 private:
  TrsmFew<T, E> sweeps_;
};

}  // namespace jaxmg
