#include "comm/block.h"

#include "core/error.h"

namespace jaxmg {

std::size_t region_index(const MemoryRegions& regions, const void* address) {
  const auto* wanted = static_cast<const std::byte*>(address);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    if (wanted >= regions[i].base && wanted < regions[i].base + regions[i].bytes) return i;
  }
  throw Error(ErrorCode::internal, "a block of an exchange has an address outside the buffers of the call");
}

std::byte* symmetric_address(const MemoryRegions& here, const MemoryRegions& there, const void* address) {
  const std::size_t i = region_index(here, address);
  return there[i].base + (static_cast<const std::byte*>(address) - here[i].base);
}

}  // namespace jaxmg
