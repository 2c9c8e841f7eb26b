// The stages of the eigensolver on GPUs.
#include "cuda/cuda_ranks.h"
#include "syevd_stages.h"

namespace {

template <class T>
int run(const Arguments& arguments) {
  jaxmg::benchmarks::StagedSyevd<T, jaxmg::testing::PeerRanks> solver(arguments, jaxmg::Platform::cuda);
  return jaxmg::benchmarks::report<T>(arguments, solver);
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  return DISPATCH(run, arguments);
}
