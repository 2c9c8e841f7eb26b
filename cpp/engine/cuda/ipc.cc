#include "engine/cuda/ipc.h"

#include <cuda_runtime_api.h>

#include <bit>
#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "core/error.h"
#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"
#include "engine/cuda/virtual_memory.h"

namespace jaxmg::cuda {
namespace {

static_assert(sizeof(cudaIpcMemHandle_t) == sizeof(RemoteMemory::Handle));

int current_device() {
  int device = 0;
  JAXMG_CHECK(cudaGetDevice(&device));
  return device;
}

// Makes a device current for a scope.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    cudaGetDevice(&before_);
    cudaSetDevice(device);
  }
  ~OnDevice() { cudaSetDevice(before_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
};

// Allocations of a device which have been offered to other processes.
class Exports {
 public:
  // Adds a buffer to an offer; throws if its memory can be given to other processes neither by a handle nor as files.
  IpcOffer::Buffer describe(const MemoryRegion& region, IpcOffer& offer, OfferedFiles& files) {
    Segments segments = Segments::of(region);
    if (segments.all.empty()) return describe_by_handle(region);
    try {
      return describe_by_files(region, segments, offer, files);
    } catch (const Error& no_files) {
      try {
        return describe_by_handle(region);
      } catch (const Error&) {
        throw Error(ErrorCode::internal, no_files.what());
      }
    }
  }

  // Lists the allocations that still exist, at most as many as an offer holds.
  void list(IpcOffer& offer) {
    constexpr std::size_t most = IpcOffer::most_exports / 2;
    known_.remove_if([&](const Known& known) { return id_of(known.base) != known.id; });
    if (known_.size() > most) known_.resize(most);
    virtual_.remove_if([](const KnownVirtual& known) { return !known.segments.exist(); });
    while (virtual_.size() > most) virtual_.pop_back();
    for (const Known& known : known_) offer.exports[static_cast<std::size_t>(offer.exported++)] = known.id;
    for (const KnownVirtual& known : virtual_) offer.exports[static_cast<std::size_t>(offer.exported++)] = known.id;
  }

 private:
  struct Known {
    CUdeviceptr base = 0;
    std::uint64_t id = 0;
    RemoteMemory::Handle handle{};
  };
  // Its memory is held, and therefore the number of its handle is not given to other memory.
  struct KnownVirtual {
    Segments segments;
    std::uint64_t id = 0;
    OfferedFiles files;
  };

  IpcOffer::Buffer describe_by_handle(const MemoryRegion& region) {
    const auto address = reinterpret_cast<CUdeviceptr>(region.base);
    const Driver& driver = Driver::instance();
    CUdeviceptr base = 0;
    std::size_t bytes = 0;
    if (const CUresult found = driver.mem_get_address_range(&base, &bytes, address); found != CUDA_SUCCESS) {
      no_handle("CUDA driver error " + std::to_string(static_cast<int>(found)));
    }
    const std::uint64_t id = id_of(base);
    if (id == 0) no_handle("it is in no allocation");
    auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) { return known.id == id; });
    if (found == known_.end()) {
      cudaIpcMemHandle_t handle{};
      const cudaError_t given = cudaIpcGetMemHandle(&handle, reinterpret_cast<void*>(base));
      if (given != cudaSuccess) {
        cudaGetLastError();
        unsigned long long types = 0;  // all kinds of handles that this memory allows
        driver.pointer_get_attribute(&types, CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, address);
        no_handle(cudaGetErrorString(given) + std::string(", requestedHandleTypes ") + std::to_string(types) +
                  ", size " + std::to_string(bytes));
      }
      Known known{base, id, {}};
      std::memcpy(known.handle.data(), &handle, sizeof(handle));
      found = known_.insert(known_.begin(), known);
    } else {
      known_.splice(known_.begin(), known_, found);  // most recently used first
    }
    return {{found->handle, id}, static_cast<std::int64_t>(address - base), region.bytes};
  }

  IpcOffer::Buffer describe_by_files(const MemoryRegion& region, Segments& segments, IpcOffer& offer,
                                     OfferedFiles& files) {
    auto found = std::find_if(virtual_.begin(), virtual_.end(),
                              [&](const KnownVirtual& known) { return known.segments == segments; });
    if (found == virtual_.end()) {
      OfferedFiles exported;
      try {
        for (const Segment& segment : segments.all) {
          exported.push_back(std::make_shared<FileDescriptor>(segment.memory.export_file(segment.bytes)));
        }
      } catch (const Error& error) {
        throw Error(ErrorCode::internal,
                    std::string("its virtual memory cannot be exported as a file (") + error.what() + ")");
      }
      found = virtual_.insert(virtual_.begin(), {std::move(segments), virtual_bit | ++last_virtual_, exported});
    } else {
      virtual_.splice(virtual_.begin(), virtual_, found);  // most recently used first
    }
    IpcOffer::Buffer buffer;
    buffer.allocation.id = found->id;
    std::memcpy(buffer.allocation.handle.data(), &found->id, sizeof(found->id));
    buffer.offset = static_cast<std::int64_t>(reinterpret_cast<CUdeviceptr>(region.base) - found->segments.base);
    buffer.bytes = region.bytes;
    buffer.files = static_cast<std::int64_t>(found->files.size());
    for (const IpcOffer::Buffer& other : offer.buffers) {
      if (other.files == 0 || !(other.allocation == buffer.allocation)) continue;
      buffer.first_file = other.first_file;
      return buffer;
    }
    if (files.size() + found->files.size() > IpcOffer::most_files) {
      throw Error(ErrorCode::internal, "its buffers are in more than " + std::to_string(IpcOffer::most_files) +
                                           " segments of virtual memory");
    }
    buffer.first_file = offer.files;
    for (const Segment& segment : found->segments.all) {
      offer.segment_bytes[static_cast<std::size_t>(offer.files++)] = segment.bytes;
    }
    files.insert(files.end(), found->files.begin(), found->files.end());
    return buffer;
  }

  [[noreturn]] static void no_handle(const std::string& why) {
    throw Error(ErrorCode::internal,
                "its memory has no CUDA IPC handle (" + why + "), as with the allocator cuda_async");
  }

  // The number that CUDA gives to an allocation and never again in this process; 0 if there is none.
  static std::uint64_t id_of(CUdeviceptr base) {
    unsigned long long id = 0;
    const CUresult found = Driver::instance().pointer_get_attribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, base);
    return found == CUDA_SUCCESS ? id : 0;
  }

  static constexpr std::uint64_t virtual_bit = std::uint64_t{1} << 63;  // CUDA's numbers are small

  std::list<Known> known_;
  std::list<KnownVirtual> virtual_;
  std::uint64_t last_virtual_ = 0;
};

std::mutex& exports_mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

Exports& exports_of(int device) {
  static auto* const all = new std::map<int, Exports>;  // never destroyed, as CUDA may be unloaded before statics
  return (*all)[device];
}

std::byte* open(const RemoteMemory::Handle& bytes) {
  cudaIpcMemHandle_t handle{};
  std::memcpy(&handle, bytes.data(), sizeof(handle));
  void* address = nullptr;
  const cudaError_t opened = cudaIpcOpenMemHandle(&address, handle, cudaIpcMemLazyEnablePeerAccess);
  if (opened != cudaSuccess) {
    cudaGetLastError();
    throw Error(ErrorCode::internal, std::string("cudaIpcOpenMemHandle: ") + cudaGetErrorString(opened));
  }
  return static_cast<std::byte*>(address);
}

// Mappings for each device of this process.
std::map<int, RemoteMemory>& all_remote_memory() {
  static auto* const all = new std::map<int, RemoteMemory>;
  return *all;
}
std::mutex& remote_memory_mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

RemoteMemory& remote_memory(int device) {
  std::lock_guard lock(remote_memory_mutex());
  return all_remote_memory()
      .try_emplace(device, open,
                   [device](std::byte* address) {
                     const OnDevice current(device);
                     cudaIpcCloseMemHandle(address);
                   })
      .first->second;
}

}  // namespace

IpcOffer offer_buffers(const MemoryRegions& buffers, OfferedFiles& files) {
  IpcOffer offer;
  files.clear();
  if (buffers.size() > offer.buffers.size()) {
    offer.refusal = Refusal("the call has " + std::to_string(buffers.size()) + " buffers");
    return offer;
  }
  std::lock_guard lock(exports_mutex());
  Exports& exports = exports_of(current_device());
  try {
    for (const MemoryRegion& region : buffers) {
      IpcOffer::Buffer& buffer = offer.buffers[static_cast<std::size_t>(offer.count++)];
      if (region.bytes > 0) buffer = exports.describe(region, offer, files);
    }
    exports.list(offer);
  } catch (const Error& error) {
    offer.refusal = Refusal(error.what());
  }
  return offer;
}

FileSet MappedBuffers::add(const MemoryOwner& owner, const IpcOffer& offer, FileSet given,
                           std::vector<FileDescriptor>& files) {
  const int device = current_device();
  RemoteMemory& remote = remote_memory(device);
  if (regions.empty()) {
    remote.keep_only(owner, {offer.exports.begin(), offer.exports.begin() + offer.exported});
    regions.resize(static_cast<std::size_t>(offer.count));
    mappings.resize(regions.size());
  }
  FileSet missing = 0;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const IpcOffer::Buffer& buffer = offer.buffers[i];
    if (buffer.bytes == 0 || mappings[i]) continue;
    if (buffer.files == 0) {
      mappings[i] = remote.map(owner, buffer.allocation);
    } else {
      FileSet needed = 0;
      std::vector<FileDescriptor*> own;
      std::vector<std::int64_t> bytes;
      for (std::int64_t f = buffer.first_file; f < buffer.first_file + buffer.files; ++f) {
        const FileSet bit = FileSet{1} << f;
        needed |= bit;
        if ((given & bit) == 0) continue;
        own.push_back(&files.at(static_cast<std::size_t>(std::popcount(given & (bit - 1)))));
        bytes.push_back(offer.segment_bytes[static_cast<std::size_t>(f)]);
      }
      if ((needed & ~given) == 0) {
        mappings[i] = remote.map(owner, buffer.allocation, [&] { return map_segments(own, bytes, device); });
      } else {
        mappings[i] = remote.find(owner, buffer.allocation);
        if (!mappings[i]) missing |= needed;
      }
    }
    if (mappings[i]) regions[i] = {mappings[i].get() + buffer.offset, buffer.bytes};
  }
  return missing;
}

void forget_process(std::uint64_t process) {
  std::lock_guard lock(remote_memory_mutex());
  for (auto& entry : all_remote_memory()) entry.second.drop(process);
}

RegisteredMemory::RegisteredMemory(const FileDescriptor& file, std::int64_t bytes) : memory_(file, bytes) {
  JAXMG_CHECK(cudaHostRegister(memory_.data(), static_cast<std::size_t>(bytes),
                               cudaHostRegisterPortable | cudaHostRegisterMapped));
}

RegisteredMemory::~RegisteredMemory() { cudaHostUnregister(memory_.data()); }

std::byte* RegisteredMemory::on_device() const {
  void* address = nullptr;
  JAXMG_CHECK(cudaHostGetDevicePointer(&address, memory_.data(), 0));
  return static_cast<std::byte*>(address);
}

}  // namespace jaxmg::cuda
