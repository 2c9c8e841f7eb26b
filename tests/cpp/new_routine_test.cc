// The steps of "Adding a routine" in CONTRIBUTING.md for a routine that the library does not have, and for a vendor's
// service of it: an algorithm, a record and a list of routines are all that planner, encoding, table of backends and
// calls need.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "gtest/gtest.h"
#include "ranks.h"
#include "routines/calling.h"
#include "routines/planning.h"
#include "routines/record.h"
#include "routines/serve.h"

namespace jaxmg {
namespace testing {

// 1. The algorithm: X = s A for the ranks' own columns, and the number of ranks.
template <class T, class E>
void scale_columns(E& engine, T factor, MatrixView<T> a, std::int32_t* ranks) {
  for (std::int64_t j = 0; j < a.columns; ++j) {
    for (std::int64_t i = 0; i < a.rows; ++i) *a.at(i, j) *= factor;
  }
  engine.set_info(Lane::panel, ranks, engine.size());
}

// 2. The record.
struct Scale : OnBlockColumns<Scale> {
  static constexpr auto name = "scale";
  struct Problem : SquareProblem {
    std::int64_t factor = 1;
    static constexpr const char* counted = "factor";

    void fields(auto&& visit) {
      SquareProblem::fields(visit);
      visit(counted, factor);
    }
  };
  using Plan = BlockColumnPlan;
  using Buffers = Signature<InOut<Shard>, Out<Info>>;

  template <class T>
  using Workspace = Staged<Dealing<T>>;

  static double seconds(const ColumnsCost& cost, const Problem& q, const Plan&) {
    return cost.pass(static_cast<double>(q.shard_bytes()));
  }
  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan&, Workspace<T>&, MatrixView<T> a,
                  MatrixView<std::int32_t> info) {
    scale_columns(engine, static_cast<T>(static_cast<Real<T>>(q.factor)), a, info.data);
  }
};

}  // namespace testing

// A backend that serves it.
template <>
struct Served<CusolverMg, testing::Scale> : testing::Scale {
  static Planned<Plan> plan(const Problem& q) {
    auto made = testing::Scale::plan(q);
    made.seconds /= 2;
    return made;
  }
};

namespace testing {
namespace {

// 3. The line in the table.
using Table = List<Scale>;

constexpr auto four_ranks = "n=10 ranks=4 factor=3 dtype=float32";

// One rank of a call on threads.
struct OnThreads {
  using Engine = HostEngine;
  static constexpr auto name = "threads";
  Communicator& communicator;

  static void prepare(const MemoryRegion&) {}
  static void copy(const Buffer& to, const Buffer& from) {
    std::memcpy(to.data, from.data, static_cast<std::size_t>(from.bytes));
  }
  template <class Body>
  void run(const EngineNeeds& needs, Body&& body) const {
    HostEngine engine(communicator);
    body(engine, Arena(needs.workspace.base, needs.workspace.bytes));
  }
};

TEST(NewRoutine, IsInTheTableOfBackends) { EXPECT_EQ(capabilities<Table>(), "scale factor tiled cusolvermg\n"); }

TEST(NewRoutine, IsPlannedByNameAndItsPlanReadsBack) {
  const Answer ours = plan<Table>("scale", "tiled", four_ranks),
               theirs = plan<Table>("scale", "cusolvermg", four_ranks);
  EXPECT_EQ(ours.tile, 3);
  EXPECT_EQ(ours.shard_bytes, 3 * 10 * 4);
  EXPECT_GE(ours.workspace_bytes, 256);
  EXPECT_EQ(theirs.seconds, ours.seconds / 2);
  const std::string text = description<Table>(ours.plan);
  for (const auto* const part : {"scale", " n=10", " factor=3", " dtype=float32", " platform=cpu", " depth=3"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
  EXPECT_NE(ours.plan, theirs.plan);
  EXPECT_EQ(plan<Table>("scale", "tiled", std::string(four_ranks) + " workspace_limit=1000000").plan, ours.plan)
      << "planner-only arguments must not be part of the program";
}

TEST(NewRoutine, RejectsOtherNamesArgumentsAndBackends) {
  for (const auto* const problem : {"n=10 ranks=4 facto=3", "n=ten", "n=10 dtype=int8", "n=0"}) {
    EXPECT_THROW(plan<Table>("scale", "tiled", problem), Error) << problem;
  }
  EXPECT_THROW(plan<Table>("scale", "cusolvermp", four_ranks), Error);
  EXPECT_THROW(plan<Table>("rotate", "tiled", four_ranks), Error);
}

// The result of a call with this plan on each of four ranks, or its error message.
std::vector<std::string> outcomes(const Answer& made, std::int64_t rows = 3, std::int64_t workspace_bytes = 1 << 20) {
  HostMemory memory(4);
  auto a = memory.matrix<float>(10, rows);
  auto info = memory.matrix<std::int32_t>(1, 1);
  auto workspace = memory.matrix<std::byte>(workspace_bytes, 1);
  std::vector<std::string> found(4);
  on_communicators(4, memory, [&](Communicator& communicator, Participant& participant) {
    const int rank = participant.rank();
    const MatrixView<float> own = a.view(rank);
    std::fill_n(own.data, 10 * rows, static_cast<float>(rank));
    const auto buffer = [](auto view, ElementType type, Shape shape) {
      const auto bytes = static_cast<std::int64_t>(sizeof(*view.data)) * view.rows * view.columns;
      return Buffer{reinterpret_cast<std::byte*>(view.data), bytes, type, std::move(shape)};
    };
    const Buffer matrix = buffer(own, ElementType::f32, {rows, 10});
    const PlannedCall call{{matrix},
                           {matrix, buffer(info.view(rank), ElementType::i32, {1})},
                           buffer(workspace.view(rank), ElementType::other, {workspace_bytes}),
                           made.plan};
    try {
      run_call<Table, Scale>(call, OnThreads{communicator});
      found[static_cast<std::size_t>(rank)] =
          std::to_string(own.data[10 * rows - 1]) + ", " + std::to_string(*info.view(rank).data);
    } catch (const Error& error) {
      found[static_cast<std::size_t>(rank)] = error.what();
    }
  });
  return found;
}

TEST(NewRoutine, RunsOnEveryRank) {
  const auto found = outcomes(plan<Table>("scale", "tiled", four_ranks));
  for (int r = 0; r < 4; ++r) {
    EXPECT_EQ(found[static_cast<std::size_t>(r)], std::to_string(3.0F * static_cast<float>(r)) + ", 4");
  }
}

TEST(NewRoutine, ChecksBuffersPlanAndBackendOfTheCall) {
  const Answer made = plan<Table>("scale", "tiled", four_ranks);
  for (const std::string& error : outcomes(made, 4)) {
    EXPECT_NE(error.find("buffer a is 4 x 10"), std::string::npos) << error;
  }
  for (const std::string& error : outcomes(plan<Table>("scale", "cusolvermg", four_ranks))) {
    EXPECT_EQ(error, "there is no backend number 1 on threads");
  }
  Answer older = made;
  ++older.plan[2];
  for (const std::string& error : outcomes(older)) {
    EXPECT_NE(error.find("another version of jaxmg"), std::string::npos) << error;
  }
  Answer cut = made;
  cut.plan.pop_back();
  for (const std::string& error : outcomes(cut)) EXPECT_NE(error.find("too few words"), std::string::npos) << error;
}

}  // namespace
}  // namespace testing
}  // namespace jaxmg
