// Communication between ranks that are threads of one process and share its memory.
#pragma once

#include <vector>

#include "comm/block.h"
#include "comm/fault_injection.h"
#include "comm/gathering.h"

namespace jaxmg {

class ThreadCommunicator {
 public:
  explicit ThreadCommunicator(Attendance& attendance) : attendance_(attendance), fault_(attendance.rank()) {}

  int rank() const { return attendance_.rank(); }
  int size() const { return static_cast<int>(attendance_.members().size()); }

  // Moves the blocks. Their targets hold them on return, and their sources may be overwritten.
  void exchange(const std::vector<Block>& blocks);

 private:
  Attendance& attendance_;
  FaultInjection fault_;
};

}  // namespace jaxmg
