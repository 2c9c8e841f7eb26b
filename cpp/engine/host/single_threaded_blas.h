// Guard that limits OpenBLAS to one thread per call, since ranks are threads already. OpenBLAS shares one pool of
// threads among all callers and admits one call at a time: calls from several ranks wait for each other, spinning on
// the cores that the ranks need. In releases up to 2026, concurrent calls of different gemm variants are not even safe
// (OpenMathLib/OpenBLAS, issue 5836).
#pragma once

namespace jaxmg {

// While any guard exists, calls of OpenBLAS run in the calling thread; the last guard restores the former count. The
// count belongs to the process, therefore other users of the same OpenBLAS also have one thread meanwhile.
//
// Does nothing if the BLAS given to set_blas() is not an OpenBLAS with threads of its own.
class SingleThreadedBlas {
 public:
  SingleThreadedBlas();
  ~SingleThreadedBlas();
  SingleThreadedBlas(const SingleThreadedBlas&) = delete;
  SingleThreadedBlas& operator=(const SingleThreadedBlas&) = delete;
};

}  // namespace jaxmg
