// Comparison that sorts indices by the numbers they refer to.
#pragma once

#include <cmath>

namespace jaxmg {

// Ascending, NaN last, equal numbers in the order of their indices: a strict weak order for any numbers.
template <class R>
struct Ascending {
  const R* value;

  template <class Index>
  bool operator()(Index a, Index b) const {
    const R x = value[a], y = value[b];
    if (x < y || y < x) return x < y;
    if (std::isnan(x) != std::isnan(y)) return std::isnan(y);
    return a < b;
  }
};

}  // namespace jaxmg
