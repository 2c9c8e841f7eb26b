#include "ffi/host/workers.h"

#include <latch>
#include <memory>

#include "gtest/gtest.h"

namespace jaxmg::testing {

// More tasks than cores, each of which waits for the last one; and again, by threads that are idle then.
TEST(Workers, NoTaskWaitsForAnotherOneToEnd) {
  constexpr int tasks = 32;
  for (int round = 0; round < 3; ++round) {
    const auto all_run = std::make_shared<std::latch>(tasks), all_done = std::make_shared<std::latch>(tasks);
    for (int i = 0; i < tasks; ++i) {
      Workers::instance().run([all_run, all_done] {
        all_run->arrive_and_wait();
        all_done->count_down();
      });
    }
    all_done->wait();
  }
}

}  // namespace jaxmg::testing
