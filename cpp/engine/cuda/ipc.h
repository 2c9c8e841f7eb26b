// CUDA IPC: ranks in other processes of this host write to the buffers of a call.
//
// At the start of a call, each rank offers its buffers to the ranks of other processes: an allocation, and the offset
// of the buffer in it. The other ranks map allocations that they have not mapped yet. Memory of cudaMalloc has a
// handle, which is part of the offer. Virtual memory (virtual_memory.h) has an open file for each of its segments,
// which a rank sends to the ranks that need it. The devices of the other processes need not be visible in this process.
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
#include "comm/process_links.h"
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
    std::int64_t first_file = 0, files = 0;  // of the segments of virtual memory
  };
  static constexpr std::size_t most_exports = 64;
  static constexpr std::size_t most_files = ProcessLinks::most_files;

  std::array<Buffer, copy_regions> buffers{};
  std::int64_t count = 0;
  std::array<std::uint64_t, most_exports> exports{};  // ids of all allocations that others may keep mapped
  std::int64_t exported = 0;
  std::array<std::int64_t, most_files> segment_bytes{};  // of each file
  std::int64_t files = 0;
  Refusal refusal;
};

// The open files of an offer, in order.
using OfferedFiles = std::vector<std::shared_ptr<const FileDescriptor>>;
// Bit f stands for file f of an offer.
using FileSet = std::uint64_t;
static_assert(IpcOffer::most_files <= 64);

// Offers buffers in memory of the current device.
IpcOffer offer_buffers(const MemoryRegions& buffers, OfferedFiles& files);

// Buffers of another process that are mapped for the current device. The mappings exist while this is held.
struct MappedBuffers {
  MemoryRegions regions;
  std::vector<std::shared_ptr<std::byte>> mappings;  // of each buffer

  // Maps all buffers of an offer whose files are not needed or are given; returns the files that are needed for the
  // rest. Throws if the device cannot access a buffer.
  FileSet add(const MemoryOwner& owner, const IpcOffer& offer, FileSet given, std::vector<FileDescriptor>& files);
};

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
