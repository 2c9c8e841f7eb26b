#include "layout/redistribution.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"

namespace jaxmg {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Perfect matching of senders and receivers with `count[r][match[r]]` positive, by augmenting paths. Receivers `shift`
// ranks after their senders are tried first.
class Matching {
 public:
  Matching(const std::vector<std::vector<std::int64_t>>& count, std::size_t shift)
      : count_(count), shift_(shift), sender_(count.size(), none), receiver_(count.size(), none) {
    for (std::size_t r = 0; r < count.size(); ++r) {
      std::vector<bool> tried(count.size(), false);
      if (!augment(r, tried)) throw Error(ErrorCode::internal, "tiles are not dealt evenly");
    }
  }
  std::size_t receiver(std::size_t sender) const { return receiver_[sender]; }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  bool augment(std::size_t r, std::vector<bool>& tried) {
    for (std::size_t i = 0; i < count_.size(); ++i) {
      const std::size_t d = (r + shift_ + i) % count_.size();
      if (count_[r][d] == 0 || tried[d]) continue;
      tried[d] = true;
      if (sender_[d] == none || augment(sender_[d], tried)) {
        sender_[d] = r;
        receiver_[r] = d;
        return true;
      }
    }
    return false;
  }

  const std::vector<std::vector<std::int64_t>>& count_;
  std::size_t shift_;
  std::vector<std::size_t> sender_, receiver_;
};

// A cycle of the permutation of a rank's slots: each slot is filled from the next one, and the last from the first.
struct Cycle {
  int rank;
  std::vector<std::int64_t> slots;
};

class Planner {
 public:
  Planner(const TileColumns& layout, std::int64_t staging_tiles, bool inverse)
      : ranks_(layout.ranks()), slots_(layout.full_slots()), staging_(staging_tiles), target_(at(ranks_)) {
    for (std::int64_t block = 0; block < ranks_ * slots_; ++block) {
      const TilePlace in_block{static_cast<int>(block / slots_), block % slots_, false};
      const TilePlace dealt{static_cast<int>(block % ranks_), block / ranks_, false};
      const TilePlace& from = inverse ? dealt : in_block;
      target_[at(from.rank)].resize(at(slots_));
      target_[at(from.rank)][at(from.slot)] = inverse ? in_block : dealt;
    }
  }

  std::vector<RedistributionRound> run() {
    send_all();
    sort_all();
    return std::move(rounds_);
  }

 private:
  struct Sent {
    TilePlace from, target;
  };

  // Sends every tile to its rank.
  void send_all() {
    const std::size_t ranks = at(ranks_);
    std::vector<std::vector<std::vector<std::int64_t>>> waiting(ranks, std::vector<std::vector<std::int64_t>>(ranks));
    std::vector<std::vector<std::int64_t>> count(ranks, std::vector<std::int64_t>(ranks, 0));
    for (std::size_t r = 0; r < ranks; ++r) {
      for (std::int64_t slot = slots_ - 1; slot >= 0; --slot) {
        const std::size_t d = at(target_[r][at(slot)].rank);
        waiting[r][d].push_back(slot);
        ++count[r][d];
      }
    }
    std::vector<Sent> together;
    std::vector<std::int64_t> sending(ranks, 0);
    for (std::int64_t matching = 0; matching < slots_; ++matching) {
      const Matching pairs(count, at(matching) % ranks);
      bool full = false;
      for (std::size_t r = 0; r < ranks; ++r) {
        const std::size_t d = pairs.receiver(r);
        --count[r][d];
        if (d == r) continue;
        const std::int64_t slot = waiting[r][d].back();
        waiting[r][d].pop_back();
        together.push_back({{static_cast<int>(r), slot, false}, target_[r][at(slot)]});
        full = ++sending[r] == staging_ || full;
      }
      if (full || matching + 1 == slots_) {
        send(together);
        together.clear();
        sending.assign(ranks, 0);
      }
    }
  }

  void send(const std::vector<Sent>& together) {
    if (together.empty()) return;
    RedistributionRound save, move;
    std::vector<std::vector<std::int64_t>> freed(at(ranks_));
    std::vector<std::int64_t> staged(at(ranks_), 0);
    std::vector<TilePlace> saved;
    for (const Sent& s : together) {
      saved.push_back({s.from.rank, staged[at(s.from.rank)]++, true});
      save.push_back({s.from, saved.back()});
      freed[at(s.from.rank)].push_back(s.from.slot);
    }
    // A tile goes to its final slot if that is free, else to any free slot. Moves keep the order of the matchings:
    // ranks that run them one by one never send to the same rank at the same time.
    move.resize(together.size());
    std::vector<std::size_t> homeless;
    const auto put = [&](std::size_t i, std::vector<std::int64_t>::iterator slot) {
      auto& free = freed[at(together[i].target.rank)];
      move[i] = {saved[i], {together[i].target.rank, *slot, false}};
      target_[at(together[i].target.rank)][at(*slot)] = together[i].target;
      free.erase(slot);
    };
    for (std::size_t i = 0; i < together.size(); ++i) {
      auto& free = freed[at(together[i].target.rank)];
      const auto last = std::find(free.begin(), free.end(), together[i].target.slot);
      if (last != free.end()) {
        put(i, last);
      } else {
        homeless.push_back(i);
      }
    }
    for (const std::size_t i : homeless) put(i, freed[at(together[i].target.rank)].begin());
    rounds_.push_back(std::move(save));
    rounds_.push_back(std::move(move));
  }

  // Moves every tile to its slot.
  void sort_all() {
    const std::vector<Cycle> cycles = find_cycles();
    std::size_t longest = 0;
    for (const Cycle& cycle : cycles) longest = std::max(longest, cycle.slots.size());
    // More cuts mean fewer rounds: use as many as the staging tiles allow with all cycles in one batch.
    for (std::size_t length = 2; length <= longest; ++length) {
      const std::size_t rounds = rounds_.size();
      start_batch();
      if (std::all_of(cycles.begin(), cycles.end(), [&](const Cycle& c) { return add(c, length); })) return;
      rounds_.resize(rounds);
    }
    // Too many cycles for one batch: run whole cycles in several batches.
    start_batch();
    for (const Cycle& cycle : cycles) {
      if (add(cycle, cycle.slots.size())) continue;
      start_batch();
      add(cycle, cycle.slots.size());
    }
  }

  std::vector<Cycle> find_cycles() const {
    std::vector<Cycle> cycles;
    for (int r = 0; r < static_cast<int>(ranks_); ++r) {
      std::vector<std::int64_t> source(at(slots_));
      for (std::int64_t slot = 0; slot < slots_; ++slot) source[at(target_[at(r)][at(slot)].slot)] = slot;
      std::vector<bool> seen(at(slots_), false);
      for (std::int64_t first = 0; first < slots_; ++first) {
        Cycle cycle{r, {}};
        for (std::int64_t slot = first; !seen[at(slot)]; slot = source[at(slot)]) {
          seen[at(slot)] = true;
          cycle.slots.push_back(slot);
        }
        if (cycle.slots.size() > 1) cycles.push_back(std::move(cycle));
      }
    }
    return cycles;
  }

  // A batch is a round of saves followed by rounds of moves; its cycles share the staging tiles.
  void start_batch() {
    batch_begin_ = rounds_.size();
    used_.assign(at(ranks_), 0);
  }
  RedistributionRound& round(std::size_t i) {
    while (rounds_.size() <= batch_begin_ + i) rounds_.emplace_back();
    return rounds_[batch_begin_ + i];
  }

  // Adds a cycle, cut every `length` slots, to the batch; returns false if too few staging tiles are left.
  bool add(const Cycle& cycle, std::size_t length) {
    const std::size_t cuts = (cycle.slots.size() + length - 1) / length;
    std::int64_t& used = used_[at(cycle.rank)];
    if (used + static_cast<std::int64_t>(cuts) > staging_) return false;
    const auto place = [&](std::size_t i) { return TilePlace{cycle.rank, cycle.slots[i], false}; };
    const auto staged = [&](std::size_t cut) {
      return TilePlace{cycle.rank, used + static_cast<std::int64_t>(cut % cuts), true};
    };
    for (std::size_t cut = 0; cut < cuts; ++cut) {
      const std::size_t begin = cut * length, end = std::min(begin + length, cycle.slots.size());
      round(0).push_back({place(begin), staged(cut)});
      for (std::size_t i = begin; i < end; ++i) {
        round(1 + i - begin).push_back({i + 1 < end ? place(i + 1) : staged(cut + 1), place(i)});
      }
    }
    used += static_cast<std::int64_t>(cuts);
    return true;
  }

  std::int64_t ranks_, slots_, staging_;
  std::vector<std::vector<TilePlace>> target_;  // of the tile now in each slot of each rank
  std::vector<RedistributionRound> rounds_;
  std::vector<std::int64_t> used_;
  std::size_t batch_begin_ = 0;
};

}  // namespace

std::vector<RedistributionRound> plan_redistribution(const TileColumns& layout, std::int64_t staging_tiles,
                                                     bool inverse) {
  if (layout.ranks() == 1 || layout.full_slots() == 0) return {};
  if (staging_tiles < 1) {
    throw Error(ErrorCode::invalid_argument,
                "redistribution requires at least one staging tile, got " + std::to_string(staging_tiles));
  }
  return Planner(layout, staging_tiles, inverse).run();
}

}  // namespace jaxmg
