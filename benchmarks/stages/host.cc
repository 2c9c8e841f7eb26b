// The stages of the eigensolver on the CPU.
#include <optional>

#include "engine/host/single_threaded_blas.h"
#include "ranks.h"
#include "syevd_stages.h"

namespace {

template <class T>
int run(const Arguments& arguments) {
  jaxmg::benchmarks::StagedSyevd<T, jaxmg::testing::HostRanks> solver(arguments, jaxmg::Platform::cpu);
  std::optional<jaxmg::SingleThreadedBlas> single_threaded;  // as in a call from JAX
  if (arguments.devices > 1) single_threaded.emplace();
  return jaxmg::benchmarks::report<T>(arguments, solver);
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  return DISPATCH(run, arguments);
}
