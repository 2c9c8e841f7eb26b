// Ring of buffer slots that the steps of an algorithm use in rotation.
//
// Step i works in slot i % slots. Before it overwrites the buffers of its slot, all work of step i - slots that reads
// them must be done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/engine.h"

namespace jaxmg {

// Rows or columns [begin, end).
struct Range {
  std::int64_t begin, end;
};

template <class E>
class SlotRing {
 public:
  using Event = typename E::Event;

  SlotRing(E& engine, std::size_t slots) : e_(engine), slots_(slots) {}

  std::size_t slot(std::size_t step) const { return step % slots_; }

  // Forgets all steps, for a sweep that begins after a join.
  void restart() { uses_.clear(); }

  // Makes `lane` wait until the buffers of this step may be overwritten.
  void await(Lane lane, std::size_t step) {
    if (step < slots_ || step - slots_ >= uses_.size()) return;
    for (const Event& use : uses_[step - slots_]) e_.wait(lane, use);
  }

  // Marks the buffers of this step as in use until the work now in `lane` is done, which is the returned event.
  Event used(Lane lane, std::size_t step) {
    if (uses_.size() <= step) uses_.resize(step + 1);
    uses_[step].push_back(e_.record(lane));
    return uses_[step].back();
  }

  // Calls update(lane, begin, end) for the updates of a step: `near`, on the critical path, in lane `panel`, and `far`
  // in lane `bulk`. Near elements were far in earlier steps, and therefore near updates wait for the far updates of the
  // last step.
  template <class Update>
  void update(std::size_t step, Range near, Range far, Update&& update) {
    if (step > 0) e_.wait(Lane::panel, uses_[step - 1].back());
    update(Lane::panel, near.begin, near.end);
    used(Lane::panel, step);
    update(Lane::bulk, far.begin, far.end);
    used(Lane::bulk, step);
  }

 private:
  E& e_;
  std::size_t slots_;
  std::vector<std::vector<Event>> uses_;  // of each step
};

}  // namespace jaxmg
