// Workspace of consecutive stages that share the same memory.
//
// Pieces that outlive the stages are carved from an arena first. Then each stage carves its own pieces from the
// remainder, all starting at the same address. Without a buffer it only counts bytes, like Arena.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "core/arena.h"

namespace jaxmg {

class StagedArena {
 public:
  StagedArena() = default;
  // The stages begin after the pieces carved so far.
  explicit StagedArena(const Arena& carved) : shared_(carved), bytes_(carved.used()) {}

  // The pieces of one stage, valid until another stage uses its own: Pieces(arena, arguments...).
  template <class Pieces, class... Arguments>
  Pieces stage(Arguments&&... arguments) {
    Arena arena = shared_;
    Pieces pieces(arena, std::forward<Arguments>(arguments)...);
    reserve(arena);
    return pieces;
  }
  // Calls carve(arena) for the pieces of one stage.
  template <class Carve>
  void carve_stage(Carve&& carve) {
    Arena arena = shared_;
    carve(arena);
    reserve(arena);
  }

  // The arena from which every stage is carved.
  const Arena& shared() const { return shared_; }
  // Bytes of the largest stage and the pieces before it.
  std::int64_t bytes() const { return bytes_; }

 private:
  void reserve(const Arena& stage) { bytes_ = std::max(bytes_, stage.used()); }

  Arena shared_;
  std::int64_t bytes_ = 0;
};

}  // namespace jaxmg
