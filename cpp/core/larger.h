// The larger of two numbers, or NaN: std::max forgets a NaN, depending on the order of its arguments.
#pragma once

#include <cmath>

namespace jaxmg {

inline double larger_or_nan(double x, double y) { return x >= y || std::isnan(x) ? x : y; }

}  // namespace jaxmg
