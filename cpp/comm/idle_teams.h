// Pool of idle teams: the resources that the ranks of a mesh keep between calls.
//
// Ranks in several processes must take the same team. All of them see the same roll, which counts the teams that each
// process has retired. A team is reused only while these counts equal the counts at its creation. Therefore, if one
// process retires a team, all others drop it too.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "comm/roll.h"

namespace jaxmg {

template <class Team>
class IdleTeams {
 public:
  // Limit on idle teams that belong to this process alone; the most recently used ones are kept.
  static constexpr std::size_t most = 32;

  // Returns an idle team of the roll's ranks and of this kind, or make(). Unless retired, the team returns to the pool
  // when the last copy of the pointer is dropped.
  template <class Make>
  std::shared_ptr<Team> acquire(const Roll& roll, int kind, Make&& make) {
    const Key key(roll, kind);
    std::list<Idle> outdated;  // outlives the lock: destroying a team may take long
    std::unique_ptr<Team> team;
    {
      std::lock_guard lock(mutex_);
      for (auto next = idle_.begin(); next != idle_.end();) {
        const auto one = next++;
        if (one->key.outdated_by(key)) outdated.splice(outdated.end(), idle_, one);
      }
      const auto found = std::find_if(idle_.rbegin(), idle_.rend(), [&](const Idle& one) { return one.key == key; });
      if (found != idle_.rend()) {
        team = std::move(found->team);
        idle_.erase(std::next(found).base());
      }
    }
    outdated.clear();
    if (!team) team = make();
    return {team.release(), [this, key](Team* done) { put(key, std::unique_ptr<Team>(done)); }};
  }

 private:
  struct Key {
    int kind;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> devices;  // process and device of each rank
    std::vector<std::uint32_t> retired;                            // by rank; empty for a single process

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
    // Teams of one process need no agreement on which of them are dropped.
    bool of_one_process() const { return retired.empty(); }
    bool operator==(const Key&) const = default;
  };
  struct Idle {
    Key key;
    std::unique_ptr<Team> team;
  };

  void put(const Key& key, std::unique_ptr<Team> team) {
    if (team->retired()) return;
    std::list<Idle> superfluous;  // outlives the lock
    std::lock_guard lock(mutex_);
    idle_.push_back({key, std::move(team)});
    const auto own = [](const Idle& one) { return one.key.of_one_process(); };
    if (key.of_one_process() && std::count_if(idle_.begin(), idle_.end(), own) > static_cast<std::ptrdiff_t>(most)) {
      superfluous.splice(superfluous.end(), idle_, std::find_if(idle_.begin(), idle_.end(), own));
    }
  }

  std::mutex mutex_;
  std::list<Idle> idle_;  // least recently used first
};

}  // namespace jaxmg
