#include "comm/communicator.h"

#include <algorithm>
#include <cstring>

namespace jaxmg {

void Communicator::exchange(const std::vector<Block>& blocks) {
  fault_.step();
  participant_.barrier();
  const std::vector<int>& members = participant_.members();
  for (const Block& block : blocks) {
    if (!block.reaches(rank()) || block.bytes() == 0) continue;
    if (links_ != nullptr && std::find(members.begin(), members.end(), block.source) == members.end()) continue;
    const std::byte* from =
        symmetric_address(participant_.buffers(rank()), participant_.buffers(block.source), block.from);
    if (from == block.to) continue;
    for (std::int64_t column = 0; column < block.columns; ++column) {
      std::memcpy(block.to + column * block.to_pitch, from + column * block.from_pitch,
                  static_cast<std::size_t>(block.column_bytes));
    }
  }
  if (links_ != nullptr) links_->exchange(blocks);
  participant_.barrier();
}

void Communicator::barrier() {
  participant_.barrier();
  if (links_ == nullptr) return;
  links_->barrier();
  participant_.barrier();
}

}  // namespace jaxmg
