// Memory of other processes that is mapped into this process, one allocation at a time.
//
// A mapping is expensive, and is therefore kept between calls. Handles may be reused for new allocations: the key of a
// mapping also has a number that the exporting process never gives to another allocation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace jaxmg {

// An allocation, as the process that owns it names it to others.
struct ExportedAllocation {
  std::array<std::byte, 64> handle{};
  std::uint64_t id = 0;  // unique among all allocations in the lifetime of the exporting process

  bool operator==(const ExportedAllocation&) const = default;
};

// The device that an allocation belongs to.
struct MemoryOwner {
  std::uint64_t process = 0;  // nonce
  std::uint32_t device = 0;   // ordinal in its process

  bool operator==(const MemoryOwner&) const = default;
};

class RemoteMemory {
 public:
  using Handle = std::array<std::byte, 64>;
  using Open = std::function<std::byte*(const Handle&)>;
  using Close = std::function<void(std::byte*)>;

  RemoteMemory(Open open, Close close) : open_(std::move(open)), close_(std::move(close)) {}

  // The first address of an allocation's mapping, which exists while the pointer is held, or kept here. Throws what
  // Open throws.
  std::shared_ptr<std::byte> map(const MemoryOwner& owner, const ExportedAllocation& allocation);
  // The same for an allocation that make() maps.
  using Make = std::function<std::shared_ptr<std::byte>()>;
  std::shared_ptr<std::byte> map(const MemoryOwner& owner, const ExportedAllocation& allocation, const Make& make);
  // Its mapping if there is one.
  std::shared_ptr<std::byte> find(const MemoryOwner& owner, const ExportedAllocation& allocation);
  // Drops all mappings of an owner, except of allocations with these ids.
  void keep_only(const MemoryOwner& owner, const std::vector<std::uint64_t>& ids);
  // Drops all mappings of a process.
  void drop(std::uint64_t process);
  std::size_t size();

 private:
  struct Mapping {
    MemoryOwner owner;
    ExportedAllocation allocation;
    std::shared_ptr<std::byte> memory;
  };

  template <class Condition>
  void drop_if(Condition&& condition);

  Open open_;
  Close close_;
  std::mutex mutex_;
  std::list<Mapping> mappings_;
};

}  // namespace jaxmg
