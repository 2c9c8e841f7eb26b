// How the ranks of the host engine exchange blocks: those of one process share its memory, those of different ones
// have links.
#pragma once

#include <vector>

#include "comm/block.h"
#include "comm/fault_injection.h"
#include "comm/gathering.h"
#include "comm/process_links.h"

namespace jaxmg {

class Communicator {
 public:
  // Among ranks of one process.
  explicit Communicator(Attendance& attendance)
      : attendance_(attendance), size_(static_cast<int>(attendance.members().size())), fault_(attendance.rank()) {}
  Communicator(Attendance& attendance, ProcessLinks& links)
      : attendance_(attendance), links_(&links), size_(links.ranks()), fault_(attendance.rank()) {}

  int rank() const { return attendance_.rank(); }
  int size() const { return size_; }

  // Moves the blocks. Their targets hold them on return, and their sources may be overwritten.
  void exchange(const std::vector<Block>& blocks);
  // Returns once all ranks have come here; throws if one has failed.
  void barrier();

 private:
  Attendance& attendance_;
  ProcessLinks* links_ = nullptr;
  int size_;
  FaultInjection fault_;
};

}  // namespace jaxmg
