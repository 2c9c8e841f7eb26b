// Ranks are threads already. OpenBLAS shares one pool of threads among all callers and lets one call into it at a
// time: calls from several ranks wait for each other, spinning on the cores that the ranks need. Where variants of
// gemm mix, releases of 2026 and before do not even keep them apart safely (OpenMathLib/OpenBLAS, issue 5836).
#pragma once

namespace jaxmg {

// While any of these lives, calls of OpenBLAS use the thread they are made from; the last one to go restores the
// former count. It belongs to the process, so other users of the same OpenBLAS have one thread meanwhile.
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
