#include "engine/cuda/transport.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace jaxmg::cuda {

Error no_progress(const Participant& participant, int ranks, std::chrono::milliseconds timeout) {
  const std::vector<int>& here = participant.members();
  std::vector<int> others;
  for (int r = 0; r < ranks; ++r) {
    if (std::find(here.begin(), here.end(), r) == here.end()) others.push_back(r);
  }
  return {ErrorCode::deadline_exceeded,
          "not all of the rank(s) " + list_of(others) + ", in other processes, made progress within " +
              std::to_string(timeout.count()) + " ms (the environment variable JAXMG_TIMEOUT_SECONDS sets this limit)"};
}

}  // namespace jaxmg::cuda
