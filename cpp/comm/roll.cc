#include "comm/roll.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <random>
#include <string>

namespace jaxmg {
namespace {

std::atomic<std::uint32_t> retired_teams{0};

}  // namespace

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

std::uint64_t machine_nonce() {
  static const std::uint64_t nonce = [] {
    std::string name;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> name;
    std::array<char, 64> network{};
    const ssize_t length = readlink("/proc/self/ns/net", network.data(), network.size());
    if (length > 0) name.append(network.data(), static_cast<std::size_t>(length));
    std::uint64_t hash = 14695981039346656037u;  // FNV-1a: the same in every build of this library
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    return hash;
  }();
  return nonce;
}

std::uint64_t fresh_call() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

void count_retired_team() { ++retired_teams; }

RollEntry own_entry(std::int32_t device) {
  RollEntry own;
  own.process = process_nonce();
  own.device = static_cast<std::uint32_t>(device);
  own.retired = retired_teams;
  own.call = fresh_call();
  own.machine = machine_nonce();
  return own;
}

}  // namespace jaxmg
