// Communicator of the host engine: ranks of one process exchange blocks through shared memory, ranks of different
// processes through links.
#pragma once

#include <vector>

#include "comm/block.h"
#include "comm/fault_injection.h"
#include "comm/process_links.h"
#include "comm/rendezvous.h"

namespace jaxmg {

class Communicator {
 public:
  // For ranks of one process.
  explicit Communicator(Participant& participant)
      : participant_(participant), size_(static_cast<int>(participant.members().size())), fault_(participant.rank()) {}
  Communicator(Participant& participant, ProcessLinks& links)
      : participant_(participant), links_(&links), size_(links.ranks()), fault_(participant.rank()) {}

  int rank() const { return participant_.rank(); }
  int size() const { return size_; }

  // Moves the blocks. On return the targets hold them, and the sources may be overwritten.
  void exchange(const std::vector<Block>& blocks);
  // Returns once all ranks have reached the barrier; throws if one has failed.
  void barrier();

 private:
  Participant& participant_;
  ProcessLinks* links_ = nullptr;
  int size_;
  FaultInjection fault_;
};

}  // namespace jaxmg
