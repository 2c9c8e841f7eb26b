// Pools of idle teams in simulated processes: each process has its own pool, and all see the same rolls.
#include "comm/idle_teams.h"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/roll.h"
#include "gtest/gtest.h"

namespace jaxmg::testing {
namespace {

struct FakeTeam {
  explicit FakeTeam(std::uint64_t common) : id(common) { ++alive; }
  ~FakeTeam() { --alive; }
  FakeTeam(const FakeTeam&) = delete;
  FakeTeam& operator=(const FakeTeam&) = delete;

  bool retired() const { return given_up; }

  std::uint64_t id;  // shared by the members of a team
  bool given_up = false;
  static inline int alive = 0;
};

// Two processes with two devices each.
class Processes {
 public:
  // Members of the roll: process and device.
  using Members = std::vector<std::pair<std::size_t, std::uint32_t>>;

  // The teams that the processes on the roll use in a call.
  std::array<std::shared_ptr<FakeTeam>, 2> call(const Members& members, int kind = 0) {
    std::vector<RollEntry> entries;
    ++calls_;
    for (const auto& [process, device] : members) {
      RollEntry& entry = entries.emplace_back();
      entry.process = 7 + process;
      entry.device = device;
      entry.retired = retired_.at(process);
      entry.call = calls_;
    }
    const Roll roll(entries.data(), static_cast<std::int64_t>(entries.size()));
    std::array<std::shared_ptr<FakeTeam>, 2> teams;
    for (const auto& [process, device] : members) {
      if (teams.at(process)) continue;
      teams.at(process) = idle_.at(process).acquire(roll, kind, [&] {
        ++made;
        return std::make_unique<FakeTeam>(roll.entry(0).call);
      });
    }
    return teams;
  }

  void retire(std::size_t process, FakeTeam& team) {
    team.given_up = true;
    ++retired_.at(process);
  }

  int made = 0;

 private:
  std::uint64_t calls_ = 0;
  std::array<std::uint32_t, 2> retired_{};
  std::array<IdleTeams<FakeTeam>, 2> idle_;
};

const Processes::Members all{{0, 0}, {0, 1}, {1, 0}, {1, 1}};

std::uint64_t common_id(const std::array<std::shared_ptr<FakeTeam>, 2>& teams) {
  EXPECT_EQ(teams[0]->id, teams[1]->id);
  return teams[0]->id;
}

TEST(IdleTeams, AreUsedAgain) {
  Processes processes;
  const std::uint64_t first = common_id(processes.call(all));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(common_id(processes.call(all)), first);
  EXPECT_EQ(processes.made, 2);
}

TEST(IdleTeams, ServeOneCallAtATime) {
  Processes processes;
  const auto busy = processes.call(all);
  EXPECT_NE(common_id(processes.call(all)), common_id(busy));
}

TEST(IdleTeams, ServeTheirDevicesInTheirOrderOnly) {
  Processes processes;
  const std::uint64_t first = common_id(processes.call(all));
  EXPECT_NE(common_id(processes.call({{1, 0}, {1, 1}, {0, 0}, {0, 1}})), first);
  EXPECT_NE(common_id(processes.call({{0, 0}, {1, 0}})), first);
  EXPECT_NE(common_id(processes.call(all, 1)), first);
  EXPECT_EQ(common_id(processes.call(all)), first);
}

// For either process that retires a team, whether or not the other process does.
TEST(IdleTeams, AreDroppedByAllIfOneProcessRetiresThem) {
  for (const std::vector<std::size_t>& who : {std::vector<std::size_t>{0}, {1}, {0, 1}}) {
    Processes processes;
    std::uint64_t last = common_id(processes.call(all));
    for (int i = 0; i < 3; ++i) {
      {
        const auto teams = processes.call(all);
        EXPECT_EQ(common_id(teams), last);
        for (const std::size_t process : who) processes.retire(process, *teams.at(process));
      }
      const std::uint64_t next = common_id(processes.call(all));
      EXPECT_NE(next, last);
      last = next;
    }
  }
}

TEST(IdleTeams, AreDestroyedWhenOutdated) {
  Processes processes;
  for (int i = 0; i < 3; ++i) {
    {
      const auto teams = processes.call(all);
      EXPECT_EQ(FakeTeam::alive, 2);
      processes.retire(0, *teams[0]);
    }
    EXPECT_EQ(FakeTeam::alive, 1);  // the other process has not dropped it yet
  }
}

// Other processes do not affect a team of one process.
TEST(IdleTeams, OfOneProcessAreKept) {
  Processes processes;
  const Processes::Members own{{1, 1}, {1, 0}};
  const std::uint64_t first = processes.call(own)[1]->id;
  {
    const auto teams = processes.call(all);
    processes.retire(1, *teams[1]);
  }
  EXPECT_EQ(processes.call(own)[1]->id, first);
}

// Programs may use any number of meshes.
TEST(IdleTeams, OfOneProcessAreKeptWhileTheyAreFew) {
  Processes processes;
  const auto most = static_cast<std::uint32_t>(IdleTeams<FakeTeam>::most);
  const std::uint64_t of_both = common_id(processes.call(all));
  const auto call = [&](std::uint32_t device) { return processes.call({{0, 0}, {0, device}})[0]->id; };
  const std::uint64_t often = call(1), once = call(2);
  for (std::uint32_t device = 3; device < 5 * most; ++device) {
    EXPECT_EQ(call(1), often);
    call(device);
    EXPECT_LE(FakeTeam::alive, static_cast<int>(most) + 2);
  }
  EXPECT_NE(call(2), once);
  // A team of both processes is kept, since the other process cannot know that it was dropped.
  EXPECT_EQ(common_id(processes.call(all)), of_both);
}

}  // namespace
}  // namespace jaxmg::testing
