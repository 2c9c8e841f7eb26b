// CUDA's virtual memory management: physical memory and the addresses at which it is mapped are separate, and other
// processes get physical memory as an open file. JAX's default allocator takes its memory in this way.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "comm/file_descriptor.h"

namespace jaxmg::cuda {

// Reference to physical memory, which exists while this is held.
class PhysicalMemory {
 public:
  PhysicalMemory() = default;
  ~PhysicalMemory();
  PhysicalMemory(PhysicalMemory&& other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
  PhysicalMemory& operator=(PhysicalMemory&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  // What is mapped at an address; empty if nothing is, or if the address belongs to memory of another kind.
  static PhysicalMemory at(CUdeviceptr address);
  static PhysicalMemory import(const FileDescriptor& file);

  // Throws if the memory was not made for export as a file.
  FileDescriptor export_file(std::int64_t bytes) const;

  CUmemGenericAllocationHandle get() const { return handle_; }
  explicit operator bool() const { return handle_ != 0; }
  // Equal references are to the same memory while both are held.
  bool operator==(const PhysicalMemory& other) const { return handle_ == other.handle_; }

 private:
  explicit PhysicalMemory(CUmemGenericAllocationHandle handle) : handle_(handle) {}

  CUmemGenericAllocationHandle handle_ = 0;
};

// Physical memory with the size of its mapping.
struct Segment {
  PhysicalMemory memory;
  std::int64_t bytes = 0;
};

// The segments, one after another, which contain a range of addresses.
struct Segments {
  CUdeviceptr base = 0;
  std::vector<Segment> all;

  // Empty if the region does not begin in virtual memory; throws if it ends elsewhere.
  static Segments of(const MemoryRegion& region);
  std::int64_t bytes() const;
  // Whether they still are at their addresses.
  bool exist() const;
  bool operator==(const Segments& other) const;
};

// Maps segments of other processes one after another, with access for `device`.
std::shared_ptr<std::byte> map_segments(const std::vector<FileDescriptor*>& files,
                                        const std::vector<std::int64_t>& bytes, int device);

}  // namespace jaxmg::cuda
