#include "engine/cuda/virtual_memory.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>
#include <string>

#include "core/error.h"
#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"

namespace jaxmg::cuda {
namespace {

constexpr auto as_file = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

// A reserved range of addresses with memory mapped at its beginning.
class Mapping {
 public:
  explicit Mapping(std::int64_t bytes) : bytes_(static_cast<std::size_t>(bytes)) {
    check(Driver::instance().mem_address_reserve(&base_, bytes_, 0, 0, 0),
          ("cuMemAddressReserve of " + std::to_string(bytes) + " bytes").c_str());
  }
  ~Mapping() {
    const Driver& driver = Driver::instance();
    CUdeviceptr at = base_;
    for (const std::size_t part : mapped_) {
      driver.mem_unmap(at, part);
      at += part;
    }
    driver.mem_address_free(base_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  void append(const PhysicalMemory& memory, std::int64_t bytes) {
    const std::size_t used = std::accumulate(mapped_.begin(), mapped_.end(), std::size_t{0});
    check(Driver::instance().mem_map(base_ + used, static_cast<std::size_t>(bytes), 0, memory.get(), 0),
          ("cuMemMap of " + std::to_string(bytes) + " bytes").c_str());
    mapped_.push_back(static_cast<std::size_t>(bytes));
  }
  void allow(int device) {
    CUmemAccessDesc access{};
    access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    access.location.id = device;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    check(Driver::instance().mem_set_access(base_, bytes_, &access, 1), "cuMemSetAccess");
  }
  std::byte* data() const { return reinterpret_cast<std::byte*>(base_); }

 private:
  CUdeviceptr base_ = 0;
  std::size_t bytes_;
  std::vector<std::size_t> mapped_;
};

}  // namespace

PhysicalMemory::~PhysicalMemory() {
  if (handle_ != 0) Driver::instance().mem_release(handle_);
}

PhysicalMemory PhysicalMemory::at(CUdeviceptr address) {
  CUmemGenericAllocationHandle handle = 0;
  const CUresult found = Driver::instance().mem_retain_allocation_handle(&handle, reinterpret_cast<void*>(address));
  return PhysicalMemory(found == CUDA_SUCCESS ? handle : 0);
}

PhysicalMemory PhysicalMemory::import(const FileDescriptor& file) {
  CUmemGenericAllocationHandle handle = 0;
  const auto descriptor = reinterpret_cast<void*>(static_cast<std::intptr_t>(file.get()));
  check(Driver::instance().mem_import(&handle, descriptor, as_file), "cuMemImportFromShareableHandle");
  return PhysicalMemory(handle);
}

FileDescriptor PhysicalMemory::export_file(std::int64_t bytes) const {
  CUmemAllocationProp properties{};
  JAXMG_CHECK(Driver::instance().mem_get_allocation_properties(&properties, handle_));
  int file = -1;
  CUresult exported = CUDA_ERROR_NOT_SUPPORTED;
  if ((properties.requestedHandleTypes & as_file) != 0) {
    exported = Driver::instance().mem_export(&file, handle_, as_file, 0);
  }
  if (exported != CUDA_SUCCESS) {
    std::array<char, 120> text{};
    std::snprintf(text.data(), text.size(), "requestedHandleTypes %u, size %lld, driver error %d",
                  static_cast<unsigned>(properties.requestedHandleTypes), static_cast<long long>(bytes),
                  static_cast<int>(exported));
    throw Error(ErrorCode::internal, text.data());
  }
  fcntl(file, F_SETFD, FD_CLOEXEC);
  return FileDescriptor(file);
}

Segments Segments::of(const MemoryRegion& region) {
  const auto first = reinterpret_cast<CUdeviceptr>(region.base);
  const CUdeviceptr end = first + static_cast<CUdeviceptr>(region.bytes);
  Segments found;
  CUdeviceptr next = first;
  while (next < end) {
    PhysicalMemory memory = PhysicalMemory::at(next);
    if (!memory && found.all.empty()) return found;
    CUdeviceptr base = 0;
    std::size_t bytes = 0;
    const CUresult known = Driver::instance().mem_get_address_range(&base, &bytes, next);
    if (!memory || known != CUDA_SUCCESS || bytes == 0 || (!found.all.empty() && base != next)) {
      throw Error(ErrorCode::internal, "a buffer of " + std::to_string(region.bytes) +
                                           " bytes leaves its memory after " + std::to_string(next - first) + " bytes");
    }
    if (found.all.empty()) found.base = base;
    found.all.push_back({std::move(memory), static_cast<std::int64_t>(bytes)});
    next = base + bytes;
  }
  return found;
}

std::int64_t Segments::bytes() const {
  std::int64_t sum = 0;
  for (const Segment& segment : all) sum += segment.bytes;
  return sum;
}

bool Segments::exist() const {
  CUdeviceptr at = base;
  for (const Segment& segment : all) {
    if (!(PhysicalMemory::at(at) == segment.memory)) return false;
    at += static_cast<CUdeviceptr>(segment.bytes);
  }
  return true;
}

bool Segments::operator==(const Segments& other) const {
  return base == other.base &&
         std::equal(all.begin(), all.end(), other.all.begin(), other.all.end(),
                    [](const Segment& a, const Segment& b) { return a.memory == b.memory && a.bytes == b.bytes; });
}

std::shared_ptr<std::byte> map_segments(const std::vector<FileDescriptor*>& files,
                                        const std::vector<std::int64_t>& bytes, int device) {
  const auto mapping = std::make_shared<Mapping>(std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0}));
  for (std::size_t i = 0; i < files.size(); ++i) {
    mapping->append(PhysicalMemory::import(*files[i]), bytes[i]);  // the mapping keeps the memory
  }
  mapping->allow(device);
  return {mapping, mapping->data()};
}

}  // namespace jaxmg::cuda
