// Arithmetic of the products of a factorisation in float32 (or complex64).
#pragma once

#include <cstdint>

namespace jaxmg {

enum class Arithmetic : std::int64_t {
  full = 0,
  tf32 = 1,    // operands rounded to 11 significant bits
  fp16x2 = 2,  // operands as two FP16 numbers each, 22 significant bits; three products
};

// Bits of an FP16 number.
using Half = std::uint16_t;

}  // namespace jaxmg
