// Triangular systems of a factor in tile columns.
#pragma once

#include "core/matrix_view.h"

namespace jaxmg {

// op(F) X = B, where F is a triangle of the factor, optionally with an implicit unit diagonal.
struct TriangularSystem {
  Uplo uplo;
  Op op;
  Diag diag;

  // Forward substitution, from the first row to the last; otherwise backward.
  bool ascending() const { return (uplo == Uplo::lower) == (op == Op::none); }
};

}  // namespace jaxmg
