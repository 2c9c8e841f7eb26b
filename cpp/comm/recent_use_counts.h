// Use counts of recently used keys, in storage of fixed size (least recently used keys are dropped).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace jaxmg {

template <class Key>
class RecentUseCounts {
 public:
  explicit RecentUseCounts(std::size_t capacity) : capacity_(capacity) { entries_.reserve(capacity); }

  // Counts a use of `key`; returns the number of uses before it, or 0 if `capacity` other keys were used since then.
  std::uint64_t next(const Key& key) {
    ++uses_;
    for (Entry& entry : entries_) {
      if (entry.key == key) {
        entry.last_use = uses_;
        return entry.turns++;
      }
    }
    if (entries_.size() == capacity_) {
      *std::min_element(entries_.begin(), entries_.end(),
                        [](const Entry& a, const Entry& b) { return a.last_use < b.last_use; }) = {key, 1, uses_};
    } else {
      entries_.push_back({key, 1, uses_});
    }
    return 0;
  }
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Key key;
    std::uint64_t turns, last_use;
  };

  std::size_t capacity_;
  std::uint64_t uses_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace jaxmg
