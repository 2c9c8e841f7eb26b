#include "engine/host/blas.h"

#include "core/scalar.h"

namespace jaxmg {
namespace {

template <class T>
bool store(const std::string& routine, void* function) {
  Blas<T>& blas = Blas<T>::instance();
  if (routine == "gemm") {
    blas.gemm = reinterpret_cast<decltype(blas.gemm)>(function);
  } else if (routine == "trsm") {
    blas.trsm = reinterpret_cast<decltype(blas.trsm)>(function);
  } else if (routine == "trsv") {
    blas.trsv = reinterpret_cast<decltype(blas.trsv)>(function);
  } else if (routine == "potrf") {
    blas.potrf = reinterpret_cast<decltype(blas.potrf)>(function);
  } else if (routine == "getrf") {
    blas.getrf = reinterpret_cast<decltype(blas.getrf)>(function);
  } else if (routine == "geqrf") {
    blas.geqrf = reinterpret_cast<decltype(blas.geqrf)>(function);
  } else if (routine == "larft") {
    blas.larft = reinterpret_cast<decltype(blas.larft)>(function);
  } else if (routine == (is_complex<T> ? "heevd" : "syevd")) {
    blas.heevd = reinterpret_cast<decltype(blas.heevd)>(function);
  } else if (routine == "gesdd") {
    blas.gesdd = reinterpret_cast<decltype(blas.gesdd)>(function);
  } else {
    return false;
  }
  return true;
}

}  // namespace

template <class T>
Blas<T>& Blas<T>::instance() {
  static Blas table;
  return table;
}

template struct Blas<float>;
template struct Blas<double>;
template struct Blas<std::complex<float>>;
template struct Blas<std::complex<double>>;

bool set_blas(const std::string& name, void* function) {
  if (name.empty()) return false;
  const std::string routine = name.substr(1);
  switch (name[0]) {
    case 's':
      return store<float>(routine, function);
    case 'd':
      return store<double>(routine, function);
    case 'c':
      return store<std::complex<float>>(routine, function);
    case 'z':
      return store<std::complex<double>>(routine, function);
    default:
      return false;
  }
}

}  // namespace jaxmg
