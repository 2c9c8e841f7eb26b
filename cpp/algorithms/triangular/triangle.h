// Which triangular system a factor in tile columns is read as.
#pragma once

#include "core/matrix_view.h"

namespace jaxmg {

// op(F) X = B, where F is a triangle of the factor, with an implicit unit diagonal or not.
struct TriangularSystem {
  Uplo uplo;
  Op op;
  Diag diag;

  // Substitution goes from the first row to the last, or from the last to the first.
  bool ascending() const { return (uplo == Uplo::lower) == (op == Op::none); }
};

}  // namespace jaxmg
