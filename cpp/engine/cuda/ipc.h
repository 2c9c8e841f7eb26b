// CUDA IPC: ranks in other processes of this host write to the buffers of a call.
//
// At the start of a call, each rank offers its buffers to the ranks of other processes: a handle of each allocation,
// and the offset of the buffer in it. The other ranks map allocations that they have not mapped yet. The devices of the
// other processes need not be visible in this process.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/block.h"
#include "comm/file_descriptor.h"
#include "comm/remote_memory.h"
#include "comm/shared_memory.h"
#include "engine/cuda/kernel_abi.h"

namespace jaxmg::cuda {

// Why a rank cannot exchange through CUDA IPC, or an empty text; of fixed size, to be sent to other processes.
struct Refusal {
  std::array<char, 240> text{};

  Refusal() = default;
  explicit Refusal(const std::string& why) {
    std::copy_n(why.data(), std::min(why.size(), text.size() - 1), text.data());
  }
  explicit operator bool() const { return text[0] != '\0'; }
};

// A rank's buffers, as it offers them to the ranks of other processes.
struct IpcOffer {
  struct Buffer {
    ExportedAllocation allocation;
    std::int64_t offset = 0;
    std::int64_t bytes = 0;
  };
  static constexpr std::size_t most_exports = 64;

  std::array<Buffer, copy_regions> buffers{};
  std::int64_t count = 0;
  std::array<std::uint64_t, most_exports> exports{};  // ids of all allocations that others may keep mapped
  std::int64_t exported = 0;
  Refusal refusal;
};

// Offers buffers in memory of the current device.
IpcOffer offer_buffers(const MemoryRegions& buffers);

// Buffers of another process that are mapped for the current device. The mappings exist while this is held.
struct MappedBuffers {
  MemoryRegions regions;
  std::vector<std::shared_ptr<std::byte>> mappings;
};
// Throws if the device cannot access them.
MappedBuffers map_buffers(const MemoryOwner& owner, const IpcOffer& offer);

// Closes all mappings of memory of another process that no call uses.
void forget_process(std::uint64_t process);

// Memory of several processes which the devices of this process read and write, too.
class RegisteredMemory {
 public:
  RegisteredMemory(const FileDescriptor& file, std::int64_t bytes);
  ~RegisteredMemory();
  RegisteredMemory(const RegisteredMemory&) = delete;
  RegisteredMemory& operator=(const RegisteredMemory&) = delete;

  std::byte* data() const { return memory_.data(); }
  // Its address for the current device.
  std::byte* on_device() const;

 private:
  SharedMemory memory_;
};

}  // namespace jaxmg::cuda
