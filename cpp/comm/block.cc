#include "comm/block.h"

#include "core/error.h"

namespace jaxmg {

std::byte* symmetric_address(const MemoryRegions& here, const MemoryRegions& there, const void* address) {
  const auto* wanted = static_cast<const std::byte*>(address);
  for (std::size_t i = 0; i < here.size(); ++i) {
    if (wanted >= here[i].base && wanted < here[i].base + here[i].bytes) {
      return there[i].base + (wanted - here[i].base);
    }
  }
  throw Error(ErrorCode::internal, "an address outside the buffers of the call was given to a communicator");
}

}  // namespace jaxmg
