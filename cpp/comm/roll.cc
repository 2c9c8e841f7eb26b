#include "comm/roll.h"

#include <atomic>
#include <random>

namespace jaxmg {

int Roll::rank_of(std::uint64_t process, std::uint32_t device) const {
  for (int r = 0; r < ranks(); ++r) {
    if (entry(r).process == process && entry(r).device == device) return r;
  }
  return -1;
}

std::vector<int> Roll::ranks_of(std::uint64_t process) const {
  std::vector<int> local;
  for (int r = 0; r < ranks(); ++r) {
    if (entry(r).process == process) local.push_back(r);
  }
  return local;
}

std::uint64_t process_nonce() {
  static const std::uint64_t nonce = [] {
    std::random_device random;
    return (static_cast<std::uint64_t>(random()) << 32) | random();
  }();
  return nonce;
}

std::uint64_t fresh_call() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace jaxmg
