#include "engine/cuda/peer_transport.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "engine/cuda/check.h"
#include "engine/cuda/copy_batches.h"
#include "engine/cuda/driver.h"

namespace jaxmg::cuda {
namespace {

// Batch of writes to flags and waits for flags, enqueued in a stream together.
class FlagOperations {
 public:
  void write(std::uint32_t* flag, std::uint32_t value) {
    CUstreamBatchMemOpParams& op = operations_.emplace_back();
    op.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    op.writeValue.address = reinterpret_cast<CUdeviceptr>(flag);
    op.writeValue.value = value;
    op.writeValue.flags = CU_STREAM_WRITE_VALUE_DEFAULT;  // earlier work of the stream becomes visible first
  }
  // Waits until flag - value, as a signed number, is not negative.
  void wait(std::uint32_t* flag, std::uint32_t value) {
    CUstreamBatchMemOpParams& op = operations_.emplace_back();
    op.waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    op.waitValue.address = reinterpret_cast<CUdeviceptr>(flag);
    op.waitValue.value = value;
    op.waitValue.flags = CU_STREAM_WAIT_VALUE_GEQ;
  }
  void enqueue(cudaStream_t stream) {
    constexpr std::size_t most = 256;
    for (std::size_t first = 0; first < operations_.size(); first += most) {
      const auto count = static_cast<unsigned>(std::min(most, operations_.size() - first));
      JAXMG_CHECK(Driver::instance().stream_batch_mem_op(stream, count, &operations_[first], 0));
    }
  }

 private:
  std::vector<CUstreamBatchMemOpParams> operations_;
};

}  // namespace

DeviceFlags::DeviceFlags(int ranks) : ranks_(ranks) {
  const std::size_t bytes = PeerFlags::flags(ranks) * sizeof(std::uint32_t);
  JAXMG_CHECK(cudaMalloc(&flags_, bytes));
  JAXMG_CHECK(cudaMemset(flags_, 0, bytes));
  JAXMG_CHECK(cudaDeviceSynchronize());
}

DeviceFlags::~DeviceFlags() { cudaFree(flags_); }

PeerTransport::PeerTransport(int rank, std::vector<PeerFlags> flags) : rank_(rank), flags_(std::move(flags)) {
  JAXMG_CHECK(cudaHostAlloc(&stop_, sizeof(*stop_), cudaHostAllocMapped));
  *stop_ = 0;
  if (several_processes()) JAXMG_CHECK(cudaEventCreateWithFlags(&reached_, cudaEventDisableTiming));
}

PeerTransport::~PeerTransport() {
  if (reached_ != nullptr) cudaEventDestroy(reached_);
  cudaFreeHost(stop_);
}

void PeerTransport::begin(const Call& call) {
  buffers_ = call.buffers;
  participant_ = &call.participant;
  timeout_ = call.timeout;
}

void PeerTransport::exchange(Lane lane, cudaStream_t stream, const std::vector<Block>& blocks) {
  const std::uint32_t number = ++count_[static_cast<std::size_t>(lane)];
  const int ranks = size();
  std::vector<bool> is_target(flags_.size(), false), is_source(flags_.size(), false);
  for (const Block& block : blocks) {
    if (block.bytes() == 0) continue;
    if (block.reaches(rank_)) is_source[static_cast<std::size_t>(block.source)] = true;
    for (int r = 0; block.source == rank_ && r < ranks; ++r) {
      if (block.reaches(r)) is_target[static_cast<std::size_t>(r)] = true;
    }
  }
  std::vector<int> targets, sources;
  for (int r = 0; r < ranks; ++r) {
    if (r != rank_ && is_target[static_cast<std::size_t>(r)]) targets.push_back(r);
    if (r != rank_ && is_source[static_cast<std::size_t>(r)]) sources.push_back(r);
  }
  const auto await_post = [&](int r, PeerFlags::Kind kind) {
    participant_->spin_until([&] { return flags(r).has_posted(lane, kind, number); }, r, ranks);
  };

  FlagOperations say_ready, await_ready, say_done, await_done;
  for (const int r : sources) say_ready.write(flags(r).at(lane, PeerFlags::ready, rank_), number);
  say_ready.enqueue(stream);
  flags(rank_).post(lane, PeerFlags::ready, number);

  for (const int r : targets) {
    await_post(r, PeerFlags::ready);
    await_ready.wait(flags(rank_).at(lane, PeerFlags::ready, r), number);
    say_done.write(flags(r).at(lane, PeerFlags::done, rank_), number);
  }
  await_ready.enqueue(stream);
  copy_to_targets(stream, rank_, buffers_, blocks, targets.empty() ? local_blocks : link_blocks);
  say_done.enqueue(stream);
  flags(rank_).post(lane, PeerFlags::done, number);

  for (const int r : sources) {
    await_post(r, PeerFlags::done);
    await_done.wait(flags(rank_).at(lane, PeerFlags::done, r), number);
  }
  await_done.enqueue(stream);
}

void PeerTransport::complete(cudaStream_t stream) {
  if (!several_processes()) return;
  JAXMG_CHECK(cudaEventRecord(reached_, stream));
  const auto time_from_now = [&] { return std::chrono::steady_clock::now() + timeout_; };
  auto deadline = time_from_now();
  std::uint64_t progress = flags(rank_).progress();
  while (true) {
    const cudaError_t reached = cudaEventQuery(reached_);
    if (reached == cudaSuccess) return;
    if (reached != cudaErrorNotReady) JAXMG_CHECK(reached);
    participant_->check();
    if (const std::uint64_t now = flags(rank_).progress(); now != progress) {
      progress = now;
      deadline = time_from_now();
    }
    if (std::chrono::steady_clock::now() > deadline) throw no_progress(*participant_, size(), timeout_);
    std::this_thread::yield();
  }
}

void PeerTransport::abandon() noexcept {
  std::atomic_ref(*stop_).store(1, std::memory_order_relaxed);
  if (several_processes()) flags(rank_).release();
}

}  // namespace jaxmg::cuda
