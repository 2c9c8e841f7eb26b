#include "engine/cuda/ipc.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "core/error.h"
#include "engine/cuda/check.h"
#include "engine/cuda/driver.h"

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
  // Describes an offer's buffer; throws if it has no handle.
  IpcOffer::Buffer describe(const MemoryRegion& region) {
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
        no_handle(cudaGetErrorString(given));
      }
      Known known{base, id, {}};
      std::memcpy(known.handle.data(), &handle, sizeof(handle));
      found = known_.insert(known_.begin(), known);
    } else {
      known_.splice(known_.begin(), known_, found);  // most recently used first
    }
    return {{found->handle, id}, static_cast<std::int64_t>(address - base), region.bytes};
  }

  // Lists the allocations that still exist, at most as many as an offer holds.
  void list(IpcOffer& offer) {
    known_.remove_if([&](const Known& known) { return id_of(known.base) != known.id; });
    if (known_.size() > IpcOffer::most_exports) known_.resize(IpcOffer::most_exports);
    for (const Known& known : known_) offer.exports[static_cast<std::size_t>(offer.exported++)] = known.id;
  }

 private:
  struct Known {
    CUdeviceptr base = 0;
    std::uint64_t id = 0;
    RemoteMemory::Handle handle{};
  };

  [[noreturn]] static void no_handle(const std::string& why) {
    throw Error(ErrorCode::internal,
                "its memory has no CUDA IPC handle (" + why + "), as with the allocators cuda_async and vmm");
  }

  // The number that CUDA gives to an allocation and never again in this process; 0 if there is none.
  static std::uint64_t id_of(CUdeviceptr base) {
    unsigned long long id = 0;
    const CUresult found = Driver::instance().pointer_get_attribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, base);
    return found == CUDA_SUCCESS ? id : 0;
  }

  std::list<Known> known_;
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

IpcOffer offer_buffers(const MemoryRegions& buffers) {
  IpcOffer offer;
  if (buffers.size() > offer.buffers.size()) {
    offer.refusal = Refusal("the call has " + std::to_string(buffers.size()) + " buffers");
    return offer;
  }
  std::lock_guard lock(exports_mutex());
  Exports& exports = exports_of(current_device());
  try {
    for (const MemoryRegion& region : buffers) {
      IpcOffer::Buffer& buffer = offer.buffers[static_cast<std::size_t>(offer.count++)];
      if (region.bytes > 0) buffer = exports.describe(region);
    }
    exports.list(offer);
  } catch (const Error& error) {
    offer.refusal = Refusal(error.what());
  }
  return offer;
}

MappedBuffers map_buffers(const MemoryOwner& owner, const IpcOffer& offer) {
  RemoteMemory& remote = remote_memory(current_device());
  remote.keep_only(owner, {offer.exports.begin(), offer.exports.begin() + offer.exported});
  MappedBuffers mapped;
  for (std::int64_t i = 0; i < offer.count; ++i) {
    const IpcOffer::Buffer& buffer = offer.buffers[static_cast<std::size_t>(i)];
    MemoryRegion& region = mapped.regions.emplace_back();
    if (buffer.bytes == 0) continue;
    std::shared_ptr<std::byte> mapping = remote.map(owner, buffer.allocation);
    region = {mapping.get() + buffer.offset, buffer.bytes};
    mapped.mappings.push_back(std::move(mapping));
  }
  return mapped;
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
