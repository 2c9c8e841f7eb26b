// Thread count of OpenBLAS: lowered while guards exist, and restored by the last guard.
#include "engine/host/single_threaded_blas.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <deque>
#include <optional>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "lapack.h"

namespace jaxmg::testing {
namespace {

// Starts with a count that every guard has to lower.
class SingleThreadedBlasTest : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "ThreadSanitizer stops when a library that it has a suppression for (tsan.supp) is opened again";
#endif
    get_ = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "openblas_get_num_threads"));
    set_ = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
    const auto parallel = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "openblas_get_parallel"));
    if (get_ == nullptr || set_ == nullptr || parallel == nullptr || parallel() != 1) {
      GTEST_SKIP() << "the tests are not linked with an OpenBLAS that has threads of its own";
    }
    before_ = get_();
    set_(many_);
    ASSERT_EQ(get_(), many_);
  }
  void TearDown() override {
    if (before_ > 0) set_(before_);
    set_blas("dgemm", reinterpret_cast<void*>(dgemm_));
  }

  int count() const { return get_(); }
  void set_count(int threads) const { set_(threads); }

  static constexpr int many_ = 3;

 private:
  int (*get_)() = nullptr;
  void (*set_)(int) = nullptr;
  int before_ = 0;
};

TEST_F(SingleThreadedBlasTest, IsOneInsideAndRestoredOutside) {
  {
    const SingleThreadedBlas guard;
    EXPECT_EQ(count(), 1);
  }
  EXPECT_EQ(count(), many_);
}

// A count that is already low stays as it is.
TEST_F(SingleThreadedBlasTest, IsNeverRaised) {
  set_count(1);
  {
    const SingleThreadedBlas guard;
    EXPECT_EQ(count(), 1);
  }
  EXPECT_EQ(count(), 1);
}

TEST_F(SingleThreadedBlasTest, TheLastGuardRestores) {
  std::optional<SingleThreadedBlas> first(std::in_place), second(std::in_place);
  EXPECT_EQ(count(), 1);
  first.reset();
  EXPECT_EQ(count(), 1);
  second.reset();
  EXPECT_EQ(count(), many_);
}

// Simulates concurrent calls: all ranks enter, each multiplies, and each leaves when it is done.
TEST_F(SingleThreadedBlasTest, HoldsForThreadsThatComeAndGo) {
  constexpr int calls = 3, ranks = 4, rounds = 200;
  std::atomic<int> wrong = 0;
  std::deque<std::barrier<>> together;
  for (int call = 0; call < calls; ++call) together.emplace_back(ranks);
  std::vector<std::thread> threads;
  for (int call = 0; call < calls; ++call) {
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&, call] {
        const int n = 32;
        const double one = 1, zero = 0;
        const std::vector<double> a(n * n, 1.0);
        std::vector<double> c(n * n);
        for (int round = 0; round < rounds; ++round) {
          const SingleThreadedBlas guard;
          together[static_cast<std::size_t>(call)].arrive_and_wait();
          if (count() != 1) ++wrong;
          Blas<double>::instance().gemm("N", "N", &n, &n, &n, &one, a.data(), &n, a.data(), &n, &zero, c.data(), &n);
          if (std::count(c.begin(), c.end(), static_cast<double>(n)) != n * n) ++wrong;
        }
      });
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(count(), many_);
}

void no_blas() {}

TEST_F(SingleThreadedBlasTest, DoesNothingWithoutOpenBlas) {
  int on_the_heap = 0;
  for (void* const gemm :
       {reinterpret_cast<void*>(no_blas), static_cast<void*>(&on_the_heap), static_cast<void*>(nullptr)}) {
    set_blas("dgemm", gemm);
    const SingleThreadedBlas guard;
    EXPECT_EQ(count(), many_);
  }
  EXPECT_EQ(count(), many_);
}

// The library is searched again when another BLAS is set, but a lowered count is restored in its own library.
TEST_F(SingleThreadedBlasTest, FollowsTheGivenBlas) {
  {
    const SingleThreadedBlas guard;
    set_blas("dgemm", reinterpret_cast<void*>(no_blas));
    EXPECT_EQ(count(), 1);
  }
  EXPECT_EQ(count(), many_);
  {
    const SingleThreadedBlas guard;
    EXPECT_EQ(count(), many_);
  }
  set_blas("dgemm", reinterpret_cast<void*>(dgemm_));
  const SingleThreadedBlas guard;
  EXPECT_EQ(count(), 1);
}

}  // namespace
}  // namespace jaxmg::testing
