// Flags through which thread blocks publish what they have written. For the kernel compiler only.
#pragma once

namespace jaxmg {

__device__ inline int load_acquire(const int* x) {
  int value;
  asm volatile("ld.acquire.gpu.s32 %0, [%1];" : "=r"(value) : "l"(x) : "memory");
  return value;
}
__device__ inline void store_release(int* x, int value) {
  asm volatile("st.release.gpu.s32 [%0], %1;" ::"l"(x), "r"(value) : "memory");
}

}  // namespace jaxmg
