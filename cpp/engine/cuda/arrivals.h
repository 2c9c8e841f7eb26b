// Numbers that thread blocks of one or several GPUs send each other. Memory whose bits are all set holds no number yet:
// readers poll until they find one, which takes neither a flag nor a fence.
//
// For the kernel compiler only.
#pragma once

#include "device_scalar.h"

namespace jaxmg {

__device__ inline float load_arriving(const float* from) {
  float x;
  asm volatile("ld.relaxed.sys.global.f32 %0, [%1];" : "=f"(x) : "l"(from) : "memory");
  return x;
}
__device__ inline double load_arriving(const double* from) {
  double x;
  asm volatile("ld.relaxed.sys.global.f64 %0, [%1];" : "=d"(x) : "l"(from) : "memory");
  return x;
}
__device__ inline DeviceComplex<float> load_arriving(const DeviceComplex<float>* from) {
  DeviceComplex<float> x;
  asm volatile("ld.relaxed.sys.global.v2.f32 {%0, %1}, [%2];" : "=f"(x.re), "=f"(x.im) : "l"(from) : "memory");
  return x;
}
__device__ inline DeviceComplex<double> load_arriving(const DeviceComplex<double>* from) {
  DeviceComplex<double> x;
  asm volatile("ld.relaxed.sys.global.v2.f64 {%0, %1}, [%2];" : "=d"(x.re), "=d"(x.im) : "l"(from) : "memory");
  return x;
}

__device__ inline void store_arriving(float* to, float x) {
  asm volatile("st.relaxed.sys.global.f32 [%0], %1;" ::"l"(to), "f"(x) : "memory");
}
__device__ inline void store_arriving(double* to, double x) {
  asm volatile("st.relaxed.sys.global.f64 [%0], %1;" ::"l"(to), "d"(x) : "memory");
}
__device__ inline void store_arriving(DeviceComplex<float>* to, DeviceComplex<float> x) {
  asm volatile("st.relaxed.sys.global.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(x.re), "f"(x.im) : "memory");
}
__device__ inline void store_arriving(DeviceComplex<double>* to, DeviceComplex<double> x) {
  asm volatile("st.relaxed.sys.global.v2.f64 [%0], {%1, %2};" ::"l"(to), "d"(x.re), "d"(x.im) : "memory");
}

__device__ inline bool has_arrived(float x) { return __float_as_int(x) != -1; }
__device__ inline bool has_arrived(double x) { return __double_as_longlong(x) != -1; }
template <class R>
__device__ inline bool has_arrived(DeviceComplex<R> x) {
  return has_arrived(x.re) && has_arrived(x.im);
}

// All NaNs become one whose bits are not all set.
__device__ inline float sendable(float x) { return x == x ? x : __int_as_float(0x7fc00000); }
__device__ inline double sendable(double x) { return x == x ? x : __longlong_as_double(0x7ff8000000000000ll); }
template <class R>
__device__ inline DeviceComplex<R> sendable(DeviceComplex<R> x) {
  return {sendable(x.re), sendable(x.im)};
}

template <class T>
__device__ inline void send_number(T* to, T x) {
  store_arriving(to, sendable(x));
}

__device__ inline void prefetch(const void* from) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from)); }

__device__ inline long long nanoseconds_now() {
  long long now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}
__device__ inline int load_stop(const int* stop) {
  int value;
  asm volatile("ld.relaxed.sys.global.s32 %0, [%1];" : "=r"(value) : "l"(stop) : "memory");
  return value;
}
__device__ inline void fail_kernel() { asm volatile("trap;"); }

// Returns the time since which a thread has waited for numbers, or -1 if it must stop. `since` is the last result, 0 in
// the first call.
__device__ __noinline__ long long check_wait(const int* stop, long long limit, long long since) {
  if (stop != nullptr && load_stop(stop) != 0) return -1;
  const long long now = nanoseconds_now();
  if (since == 0) return now;
  if (now - since > limit) fail_kernel();
  return since;
}

// One wait of a thread.
struct Waiting {
  int spins = 0;
  long long since = 0;
};

// A thread's patience with numbers that do not arrive. Once the host has set `stop`, nothing is waited for any more,
// and what the kernel writes is undefined. After `limit` nanoseconds without a number the kernel fails.
struct Patience {
  const int* stop;
  long long limit;
  bool stopped = false;

  __device__ __forceinline__ Patience(const int* word, long long nanoseconds) : stop(word), limit(nanoseconds) {}

  // Called between two polls; sleeps for `nap` nanoseconds. Many threads that poll the same numbers without a pause
  // delay the threads that need them first.
  __device__ __forceinline__ void pause(Waiting& waiting, unsigned nap) {
    if (nap > 0) __nanosleep(nap);
    if (++waiting.spins % 1024 != 0) return;
    const long long since = check_wait(stop, limit, waiting.since);
    stopped = since < 0;
    waiting.since = since;
  }

  // Waits for up to `count` numbers: x[e] is the number at place(e) if expected(e), otherwise 0.
  template <int count, class T, class Place, class Expected>
  __device__ __forceinline__ void await(const Place& place, const Expected& expected, T (&x)[count], unsigned nap = 0) {
#pragma unroll
    for (int e = 0; e < count; ++e) x[e] = expected(e) ? load_arriving(place(e)) : T{};
    Waiting waiting;
    for (;;) {
      bool arrived = true;
#pragma unroll
      for (int e = 0; e < count; ++e) arrived = arrived && has_arrived(x[e]);
      if (arrived || stopped) return;
      pause(waiting, nap);
      // Polls all that are missing: several may have arrived since the last poll.
#pragma unroll
      for (int e = 0; e < count; ++e) {
        if (!has_arrived(x[e])) x[e] = load_arriving(place(e));
      }
    }
  }
  template <class T>
  __device__ __forceinline__ T await(const T* from) {
    T x[1];
    await([&](int) { return from; }, [](int) { return true; }, x);
    return x[0];
  }
};

}  // namespace jaxmg
