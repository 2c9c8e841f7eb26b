#include "engine/cuda/copy_batches.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/error.h"
#include "engine/cuda/check.h"
#include "engine/cuda/kernel_abi.h"
#include "engine/cuda/launch.h"

namespace jaxmg::cuda {
namespace {

// The widest access in bytes that all addresses and sizes of an item allow.
unsigned char vector_of(const CopyItem& item) {
  const auto bits = reinterpret_cast<std::uintptr_t>(item.from) | reinterpret_cast<std::uintptr_t>(item.to) |
                    static_cast<std::uintptr_t>(item.column_bytes) |
                    (item.columns > 1 ? static_cast<std::uintptr_t>(item.from_pitch | item.to_pitch) : 0);
  return bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : 4;
}

CopyItem item_of(const Block& block) {
  CopyItem item{};
  item.from = reinterpret_cast<const char*>(block.from);
  item.to = reinterpret_cast<char*>(block.to);
  item.from_pitch = block.from_pitch;
  item.to_pitch = block.to_pitch;
  item.column_bytes = checked_int(block.column_bytes, "bytes of a column");
  item.columns = checked_int(block.columns, "columns");
  item.vector = vector_of(item);
  return item;
}

// Copy engines are faster than a kernel for one long run of bytes (396 against 310 GB/s between two H200), and slower
// for rectangles.
bool suits_copy_engine(const Block& block) {
  const bool one_run =
      block.columns == 1 || (block.from_pitch == block.column_bytes && block.to_pitch == block.column_bytes);
  return one_run && block.bytes() >= (std::int64_t{1} << 20);
}

// Collects items and launches them when the kernel's argument is full.
class Launcher {
 public:
  Launcher(cudaStream_t stream, int thread_blocks) : stream_(stream), thread_blocks_(thread_blocks) {}
  ~Launcher() noexcept(false) {
    if (batch_.count > 0) launch();
  }
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  CopyBatch& batch() { return batch_; }
  void add(const CopyItem& item) {
    batch_.items[batch_.count++] = item;
    if (batch_.count == copy_items) launch();
  }

 private:
  void launch() {
    cuda::launch(kernel<"copy">(), {thread_blocks_, 512}, stream_, batch_);
    batch_.count = 0;
  }

  cudaStream_t stream_;
  int thread_blocks_;
  CopyBatch batch_{};
};

}  // namespace

void copy_to_targets(cudaStream_t stream, int rank, const std::vector<MemoryRegions>& buffers,
                     const std::vector<Block>& blocks, int thread_blocks) {
  for (const Block& block : blocks) {
    if (block.source != rank || !suits_copy_engine(block)) continue;
    for (int i = 0; i < static_cast<int>(buffers.size()); ++i) {
      const int target = (rank + 1 + i) % static_cast<int>(buffers.size());
      if (!block.reaches(target)) continue;
      std::byte* const to = symmetric_address(buffers[static_cast<std::size_t>(rank)],
                                              buffers[static_cast<std::size_t>(target)], block.to);
      if (to == block.from) continue;
      JAXMG_CHECK(cudaMemcpyAsync(to, block.from, static_cast<std::size_t>(block.bytes()), cudaMemcpyDefault, stream));
    }
  }
  const auto& own = buffers[static_cast<std::size_t>(rank)];
  if (own.size() > copy_regions)
    throw Error(ErrorCode::internal, "the call has " + std::to_string(own.size()) +
                                         " buffers, but a copy takes at most " + std::to_string(copy_regions));
  const int ranks = static_cast<int>(buffers.size());
  for (int first = 0; first < ranks; first += copy_targets) {
    const int last = std::min(ranks, first + copy_targets);
    Launcher launcher(stream, thread_blocks);
    for (int target = first; target < last; ++target) {
      for (std::size_t region = 0; region < own.size(); ++region) {
        launcher.batch().offset[target - first][region] =
            buffers[static_cast<std::size_t>(target)][region].base - own[region].base;
      }
    }
    for (const Block& block : blocks) {
      if (block.source != rank || block.bytes() == 0 || suits_copy_engine(block)) continue;
      CopyItem item = item_of(block);
      item.region = static_cast<unsigned char>(region_index(own, block.to));
      for (int target = first; target < last; ++target) {
        const bool in_place = target == rank && block.from == block.to;
        if (block.reaches(target) && !in_place) item.targets |= static_cast<unsigned short>(1u << (target - first));
      }
      if (item.targets != 0) launcher.add(item);
    }
  }
}

void copy_locally(cudaStream_t stream, const std::vector<Block>& blocks) {
  Launcher launcher(stream, local_blocks);
  for (const Block& block : blocks) {
    if (block.bytes() == 0) continue;
    CopyItem item = item_of(block);
    item.targets = 1;
    launcher.add(item);
  }
}

}  // namespace jaxmg::cuda
