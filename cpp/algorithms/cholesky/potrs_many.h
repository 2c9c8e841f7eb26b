// Solves L L^H X = B with the factor that Potrf leaves in tile columns, for many right-hand sides, of which every rank
// solves its own columns.
#pragma once

#include <cstdint>

#include "algorithms/triangular/trsm_many.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
using PotrsManyWorkspace = TrsmManyWorkspace<T>;

template <class T, class E>
class PotrsMany {
 public:
  // `x` holds this rank's columns of B (n x k), and its columns of X on return.
  PotrsMany(E& engine, const TileColumns& layout, std::int64_t depth, MatrixView<T> a, MatrixView<T> x,
            PotrsManyWorkspace<T>& workspace)
      : sweeps_(engine, layout, depth, a, x, workspace) {}

  void run() {
    forward();
    backward();
  }
  // L Y = B, Y in place of B.
  void forward() { sweeps_.solve({Uplo::lower, Op::none, Diag::non_unit}); }
  // L^H X = Y.
  void backward() { sweeps_.solve({Uplo::lower, Op::conj_transpose, Diag::non_unit}); }

 private:
  TrsmMany<T, E> sweeps_;
};

}  // namespace jaxmg
