// When to end the iteration of the corrected seminormal equations, and the squared norms of its residuals.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

namespace jaxmg {

// The steps of all right-hand sides: norms of R dx and, before the step, of the residuals.
//
// After a step, A^H r is known to be R^H R dx before it, and thus ||r - A dx||^2 = ||r||^2 - ||R dx||^2 + (R dx)^H E (R
// dx) with E of tsqr.h. Without another pass over A, the squared norm is therefore known except for ||E|| ||R dx||^2.
class Steps {
 public:
  explicit Steps(double relative_accuracy) : eps_(relative_accuracy) {}

  double departure = 1;  // about ||E||

  // `squares`: minus the squared norms of the residuals.
  void add(const std::vector<double>& norms, const std::vector<double>& squares) {
    improves_ = false;
    if (first_.empty()) first_ = norms;
    for (std::size_t k = 0; k < norms.size(); ++k) {
      double next = norms[k];
      if (!last_.empty()) next *= norms[k] <= last_[k] / 2 ? norms[k] / last_[k] : 0;
      improves_ |= next > eps_ * first_[k];
    }
    last_ = norms;
    squares_ = squares;
  }

  // Whether the step after the last one improves x: it would not be below eps times the first one, as the ratio of the
  // last two predicts, and steps still shrink.
  bool improves() const { return improves_; }

  // The squared norms of the residuals before the last step; or after it.
  std::vector<double> squares_before() const {
    std::vector<double> before;
    for (const double square : squares_) before.push_back(-square);
    return before;
  }
  std::vector<double> squares_after() const {
    std::vector<double> after = squares_before();
    for (std::size_t k = 0; k < after.size(); ++k) after[k] -= last_[k] * last_[k];
    return after;
  }
  // Whether the latter are as accurate as sums of squares.
  bool knows_squares_after() const {
    const auto before = squares_before(), after = squares_after();
    bool accurate = true;
    for (std::size_t k = 0; k < after.size(); ++k) {
      accurate &= departure * last_[k] * last_[k] <= eps_ * after[k] && after[k] >= before[k] / 2;
    }
    return accurate;
  }

 private:
  double eps_;
  std::vector<double> first_, last_, squares_;
  bool improves_ = true;
};

template <class R>
Steps steps_of() {
  return Steps(static_cast<double>(std::numeric_limits<R>::epsilon()));
}

}  // namespace jaxmg
