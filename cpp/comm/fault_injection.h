// Fault injection for tests: with JAXMG_INJECT_FAULT=<rank>:<exchange> in the environment, that rank fails at that
// exchange (counted from 1) of every call; with JAXMG_INJECT_FAULT=<rank>:<exchange>:kill its process ends there.
#pragma once

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace jaxmg {

class FaultInjection {
 public:
  explicit FaultInjection(int rank) {
    const char* const fault = std::getenv("JAXMG_INJECT_FAULT");
    int faulty_rank = -1, exchange = 0, read = 0;
    if (fault != nullptr && std::sscanf(fault, "%d:%d%n", &faulty_rank, &exchange, &read) == 2 && faulty_rank == rank) {
      faulty_ = exchange;
      deadly_ = std::string(fault + read) == ":kill";
    }
  }

  // Call at every exchange.
  void step() {
    ++exchanges_;
    if (exchanges_ != faulty_) return;
    if (deadly_) std::raise(SIGKILL);
    throw Error(ErrorCode::internal, "injected fault");
  }

 private:
  int exchanges_ = 0;
  int faulty_ = 0;  // 0: none
  bool deadly_ = false;
};

}  // namespace jaxmg
