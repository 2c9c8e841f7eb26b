#include "comm/remote_memory.h"

#include <algorithm>
#include <utility>

namespace jaxmg {

std::shared_ptr<std::byte> RemoteMemory::find(const MemoryOwner& owner, const ExportedAllocation& allocation) {
  std::lock_guard lock(mutex_);
  for (const Mapping& mapping : mappings_) {
    if (mapping.owner == owner && mapping.allocation == allocation) return mapping.memory;
  }
  return nullptr;
}

std::shared_ptr<std::byte> RemoteMemory::map(const MemoryOwner& owner, const ExportedAllocation& allocation) {
  return map(owner, allocation, [&] { return std::shared_ptr<std::byte>(open_(allocation.handle), close_); });
}

std::shared_ptr<std::byte> RemoteMemory::map(const MemoryOwner& owner, const ExportedAllocation& allocation,
                                             const Make& make) {
  std::lock_guard lock(mutex_);
  for (const Mapping& mapping : mappings_) {
    if (mapping.owner == owner && mapping.allocation == allocation) return mapping.memory;
  }
  // A handle with another id belongs to an allocation that has been freed since.
  std::erase_if(mappings_, [&](const Mapping& mapping) {
    return mapping.owner == owner && mapping.allocation.handle == allocation.handle;
  });
  std::shared_ptr<std::byte> memory = make();
  mappings_.push_back({owner, allocation, memory});
  return memory;
}

template <class Condition>
void RemoteMemory::drop_if(Condition&& condition) {
  std::lock_guard lock(mutex_);
  std::erase_if(mappings_, condition);
}

void RemoteMemory::keep_only(const MemoryOwner& owner, const std::vector<std::uint64_t>& ids) {
  drop_if([&](const Mapping& mapping) {
    return mapping.owner == owner && std::find(ids.begin(), ids.end(), mapping.allocation.id) == ids.end();
  });
}

void RemoteMemory::drop(std::uint64_t process) {
  drop_if([&](const Mapping& mapping) { return mapping.owner.process == process; });
}

std::size_t RemoteMemory::size() {
  std::lock_guard lock(mutex_);
  return mappings_.size();
}

}  // namespace jaxmg
