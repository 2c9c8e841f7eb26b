// Failure of a rank on a GPU: all ranks report it in time, and the next call works.
#include <chrono>
#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "cuda_ranks.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"
#include "solves.h"

namespace jaxmg::testing {
namespace {

template <class Ranks>
class Faults : public ::testing::Test {
 protected:
  using T = double;
  static constexpr std::chrono::milliseconds short_timeout{2'000};

  // Solves a system; returns the error message of each rank.
  static std::vector<std::string> solve(const std::vector<int>& devices,
                                        std::chrono::milliseconds limit = test_timeout) {
    const Shape shape{60, static_cast<int>(devices.size()), 4, 12, 3};
    const TileColumns layout = shape.layout();
    const auto a = positive_definite<T>(shape.n, 1);
    const auto b = random_matrix<T>(shape.n, 2, 2);
    Ranks there(devices);
    there.set_timeout(limit);
    auto shards = there.template matrix<T>(shape.n, layout.shard());
    auto x = there.template matrix<T>(shape.n, b.columns());
    auto status = there.template matrix<std::int32_t>(1, 1);
    const CallOf<routines::Posv, T> call(shape, b.columns(), false);
    auto workspace = there.template matrix<std::byte>(call.bytes(), 1);
    upload(shards, in_blocks(a, layout));
    upload(x, std::vector<Matrix<T>>(devices.size(), b));
    const auto thrown = there.try_run([&](auto& engine) {
      const int r = engine.rank();
      call.run(engine, workspace.view(r), shards.view(r), x.view(r), status.view(r));
    });
    std::vector<std::string> messages;
    for (const std::exception_ptr& error : thrown) {
      messages.emplace_back();
      try {
        if (error) std::rethrow_exception(error);
      } catch (const std::exception& e) {
        messages.back() = e.what();
      }
    }
    if (messages == std::vector<std::string>(devices.size())) {
      EXPECT_LE(solve_error(a, x.download(0), b), 3);
    }
    return messages;
  }
};

using AllRanks = ::testing::Types<PeerRanks, NcclRanks>;
TYPED_TEST_SUITE(Faults, AllRanks);

TYPED_TEST(Faults, OfOneRankAreReportedByAllAndTheNextCallWorks) {
  JAXMG_NEEDS_RANKS(TypeParam, 2);
  for (const int ranks : {2, 4}) {
    if (!TypeParam::available(ranks)) continue;
    const auto devices = TypeParam::spread(ranks);
    const std::vector<std::string> none(devices.size());
    EXPECT_EQ(this->solve(devices), none);
    for (const auto& [rank, exchange] : {std::pair{0, 1}, {ranks - 1, 2}, {1, 7}}) {
      SCOPED_TRACE(::testing::Message() << "rank " << rank << " of " << ranks << " at exchange " << exchange);
      const auto began = std::chrono::steady_clock::now();
      {
        const ScopedVariable fault("JAXMG_INJECT_FAULT", std::to_string(rank) + ":" + std::to_string(exchange));
        const auto messages = this->solve(devices, this->short_timeout);
        for (int r = 0; r < ranks; ++r) {
          const std::string& message = messages[static_cast<std::size_t>(r)];
          EXPECT_NE(message, "") << "rank " << r << " reports no failure";
          EXPECT_TRUE(r != rank || message.find("injected fault") != std::string::npos) << message;
        }
      }
      EXPECT_LE(std::chrono::steady_clock::now() - began, 2 * this->short_timeout);
      EXPECT_EQ(this->solve(devices), none);
    }
  }
}

// Ranks of one process report the failure before the time-out, even in a first call, which runs in lockstep.
TYPED_TEST(Faults, AreReportedImmediately) {
  JAXMG_NEEDS_RANKS(TypeParam, 2);
  TypeParam there(TypeParam::available(4) ? 4 : 2);
  auto a = there.template matrix<double>(8, 8);
  const auto exchanges = [&](auto& engine) {
    const auto view = a.view(engine.rank());
    for (int i = 0; i < 8; ++i) {
      engine.exchange(Lane::panel, {make_block(i % engine.size(), all_ranks, view, view)});
    }
  };
  const ScopedVariable fault("JAXMG_INJECT_FAULT", "1:3");
  const auto began = std::chrono::steady_clock::now();
  const auto thrown = there.try_run(exchanges);
  EXPECT_LE(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
  for (std::size_t r = 0; r < thrown.size(); ++r) {
    ASSERT_TRUE(thrown[r]);
    try {
      std::rethrow_exception(thrown[r]);
    } catch (const Error& error) {
      // Other ranks may receive an error of NCCL first.
      if (std::is_same_v<TypeParam, PeerRanks>) {
        EXPECT_STREQ(error.what(), r == 1 ? "injected fault" : "rank 1 failed: injected fault");
      }
    }
  }
}

TEST(Transport, UnknownNameIsRejected) {
  const ScopedVariable transport("JAXMG_TRANSPORT", "pigeons");
  RollEntry entry;
  entry.process = process_nonce();
  EXPECT_THROW(cuda::Team::acquire(Roll(&entry, 1)), Error);
}

}  // namespace
}  // namespace jaxmg::testing
