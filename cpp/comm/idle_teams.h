// What the ranks of a mesh keep between calls: teams, where no call uses them.
//
// Ranks in several processes have to take the same team. All see the same roll, and on it, how many teams each process
// has had to give up: a team is used again only while these numbers are what they were when it was made. If one process
// alone gave a team up, the others so leave it, too.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "comm/roll.h"

namespace jaxmg {

template <class Team>
class IdleTeams {
 public:
  // An idle team of the roll's ranks and of this kind, or make(). It is idle again when the last copy is dropped, if it
  // is not retired by then.
  template <class Make>
  std::shared_ptr<Team> acquire(const Roll& roll, int kind, Make&& make) {
    const Key key(roll, kind);
    std::vector<std::unique_ptr<Team>> outdated;  // outlives the lock: ending a team may take long
    std::unique_ptr<Team> team;
    {
      std::lock_guard lock(mutex_);
      for (auto& [other, teams] : idle_) {
        if (other.outdated_by(key)) std::move(teams.begin(), teams.end(), std::back_inserter(outdated));
      }
      std::erase_if(idle_, [&](const auto& entry) { return entry.first.outdated_by(key); });
      if (auto& teams = idle_[key]; !teams.empty()) {
        team = std::move(teams.back());
        teams.pop_back();
      }
    }
    outdated.clear();
    if (!team) team = make();
    return {team.release(), [this, key](Team* done) {
              std::unique_ptr<Team> owned(done);
              if (owned->retired()) return;
              std::lock_guard lock(mutex_);
              idle_[key].push_back(std::move(owned));
            }};
  }

 private:
  struct Key {
    int kind;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> devices;  // process and device of each rank
    std::vector<std::uint32_t> retired;                            // by each rank's process; none where there is one

    Key(const Roll& roll, int kind_of_team) : kind(kind_of_team) {
      const bool several = roll.ranks_of(roll.entry(0).process).size() < static_cast<std::size_t>(roll.ranks());
      for (int r = 0; r < roll.ranks(); ++r) {
        devices.emplace_back(roll.entry(r).process, roll.entry(r).device);
        if (several) retired.push_back(roll.entry(r).retired);
      }
    }
    bool outdated_by(const Key& other) const {
      return kind == other.kind && devices == other.devices && retired != other.retired;
    }
    auto operator<=>(const Key&) const = default;
  };

  std::mutex mutex_;
  std::map<Key, std::vector<std::unique_ptr<Team>>> idle_;
};

}  // namespace jaxmg
