#include "engine/host/single_threaded_blas.h"

#include <dlfcn.h>

#include <algorithm>
#include <mutex>
#include <string>

#include "engine/host/blas.h"

namespace jaxmg {
namespace {

// OpenBLAS's functions that read and set the number of threads of a call.
struct ThreadCount {
  int (*get)() = nullptr;
  void (*set)(int) = nullptr;

  explicit operator bool() const { return get != nullptr && set != nullptr; }
};

// OpenBLAS built with OpenMP keeps the count per calling thread, which has its own pool: there is no process-wide count
// to set.
constexpr int openmp = 2;

// The thread-count functions of the OpenBLAS that contains or is called by `routine`.
ThreadCount thread_count_of(void* routine) {
  Dl_info where{};
  if (routine == nullptr || dladdr(routine, &where) == 0) return {};
  // The library is already loaded, and stays loaded. Symbols are also searched in its dependencies: SciPy's routines
  // are wrappers in a library that links its OpenBLAS. Another OpenBLAS of the process (NumPy's) is not found.
  void* const library = dlopen(where.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
  if (library == nullptr) return {};
  ThreadCount found;
  // SciPy's wheels have the prefix; builds with 64-bit integers have the suffix.
  for (const std::string prefix : {"scipy_openblas_", "openblas_"}) {
    for (const std::string suffix : {"", "64_"}) {
      const auto symbol = [&](const char* name) {
        std::string full = prefix;
        full.append(name).append(suffix);
        return dlsym(library, full.c_str());
      };
      const ThreadCount count{reinterpret_cast<int (*)()>(symbol("get_num_threads")),
                              reinterpret_cast<void (*)(int)>(symbol("set_num_threads"))};
      const auto parallel = reinterpret_cast<int (*)()>(symbol("get_parallel"));
      if (!found && count && (parallel == nullptr || parallel() != openmp)) found = count;
    }
  }
  dlclose(library);
  return found;
}

// Reference count of all guards of the process.
class Guards {
 public:
  static Guards& instance() {
    static Guards guards;
    return guards;
  }

  void enter() {
    const std::lock_guard lock(mutex_);
    if (guards_ == 0) begin();
    ++guards_;
    if (count_ && count_.get() > 1) count_.set(1);
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    if (--guards_ == 0 && count_) count_.set(former_);
  }

 private:
  void begin() {
    void* const gemm = reinterpret_cast<void*>(Blas<double>::instance().gemm);
    if (gemm != gemm_) {
      count_ = thread_count_of(gemm);
      gemm_ = gemm;
    }
    if (count_) former_ = count_.get();
  }

  std::mutex mutex_;
  int guards_ = 0;
  void* gemm_ = nullptr;  // the routine whose library count_ belongs to
  ThreadCount count_;
  int former_ = 0;
};

}  // namespace

SingleThreadedBlas::SingleThreadedBlas() { Guards::instance().enter(); }
SingleThreadedBlas::~SingleThreadedBlas() { Guards::instance().leave(); }

}  // namespace jaxmg
