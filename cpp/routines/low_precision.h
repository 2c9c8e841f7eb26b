// Problem of a factorisation whose products may be of lower precision than its type.
#pragma once

#include "core/arithmetic.h"
#include "planner/problem.h"

namespace jaxmg::routines {

struct LowPrecisionProblem : SquareProblem {
  Arithmetic arithmetic = Arithmetic::full;  // on GPUs, of float32 or complex64

  LowPrecisionProblem() = default;
  LowPrecisionProblem(const SquareProblem& q)
      : SquareProblem(q) {}  // problems of other backends add fields to this base

  void fields(auto&& visit) {
    SquareProblem::fields(visit);
    visit("arithmetic", arithmetic);
  }

  void check() const {
    SquareProblem::check();
    require(arithmetic == Arithmetic::full ||
                (platform == Platform::cuda && (type == ScalarType::f32 || type == ScalarType::c64)),
            "the type of the matrix, or the platform, does not have this arithmetic");
  }
  // Whether block columns are factored one after another even on one rank: vendors' factorisations have no such
  // arithmetic.
  bool by_blocks() const { return arithmetic != Arithmetic::full; }
};

}  // namespace jaxmg::routines
