#include "comm/thread_communicator.h"

#include <cstring>

namespace jaxmg {

void ThreadCommunicator::exchange(const std::vector<Block>& blocks) {
  fault_.step();
  attendance_.barrier();
  for (const Block& block : blocks) {
    if (!block.reaches(rank()) || block.bytes() == 0) continue;
    const std::byte* from =
        symmetric_address(attendance_.buffers(rank()), attendance_.buffers(block.source), block.from);
    if (from == block.to) continue;
    for (std::int64_t column = 0; column < block.columns; ++column) {
      std::memcpy(block.to + column * block.to_pitch, from + column * block.from_pitch,
                  static_cast<std::size_t>(block.column_bytes));
    }
  }
  attendance_.barrier();
}

}  // namespace jaxmg
