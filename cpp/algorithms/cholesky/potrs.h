// Solves L L^H X = B with the factor that Potrf leaves in tile columns: L Y = B, then L^H X = Y.
//
// The sweeps are in trsm_few.h and trsm_many.h, selected by the layout of B.
#pragma once

#include <cstdint>

#include "algorithms/triangular/triangle.h"
#include "core/matrix_view.h"

namespace jaxmg {

// Triangular systems that a solve with a factor consists of.
enum class Sweeps : std::int64_t { both = 0, forward = 1, backward = 2 };

// Overwrites X, which holds B on entry. `solver` solves with triangles of the factor.
void potrs(Sweeps wanted, auto&& solver) {
  if (wanted != Sweeps::backward) solver.solve({Uplo::lower, Op::none, Diag::non_unit});
  if (wanted == Sweeps::forward) {
    solver.share();
  } else {
    solver.solve({Uplo::lower, Op::conj_transpose, Diag::non_unit});
  }
}

}  // namespace jaxmg
