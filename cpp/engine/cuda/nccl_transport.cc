#include "engine/cuda/nccl_transport.h"

#include <algorithm>
#include <string>
#include <thread>

#include "engine/cuda/check.h"
#include "engine/cuda/copy_batches.h"
#include "engine/scratch.h"

namespace jaxmg::cuda {
namespace {

// Traffic in one direction between this rank and a peer: blocks, cut into slices that each fit a packing buffer. Both
// sides cut the same blocks in the same order, therefore slice k sent is slice k received.
class Traffic {
 public:
  explicit Traffic(std::int64_t slice_bytes) : slice_bytes_(slice_bytes) {}

  void add(Block block) {
    // Cut columns longer than a buffer into shorter ones, then cut blocks between columns.
    for (std::int64_t row = 0; row < block.column_bytes; row += slice_bytes_) {
      Block rows = block;
      rows.from += row;
      rows.to += row;
      rows.column_bytes = std::min(slice_bytes_, block.column_bytes - row);
      add_columns(rows);
    }
  }
  std::size_t slices() const { return slices_.size(); }
  const std::vector<Block>& slice(std::size_t k) const { return slices_[k]; }
  std::int64_t bytes(std::size_t k) const {
    std::int64_t sum = 0;
    for (const Block& block : slices_[k]) sum += block.bytes();
    return sum;
  }

 private:
  void add_columns(Block block) {
    while (block.columns > 0) {
      std::int64_t fit = left_ / block.column_bytes;
      if (fit == 0) {
        slices_.emplace_back();
        left_ = slice_bytes_;
        fit = left_ / block.column_bytes;
      }
      Block part = block;
      part.columns = std::min(fit, block.columns);
      slices_.back().push_back(part);
      left_ -= part.bytes();
      block.columns -= part.columns;
      block.from += part.columns * block.from_pitch;
      block.to += part.columns * block.to_pitch;
    }
  }

  std::int64_t slice_bytes_;
  std::int64_t left_ = 0;
  std::vector<std::vector<Block>> slices_;
};

// Checks the result of a call within a group; calls in progress are settled at the end of the group.
void added(ncclResult_t result) {
  if (result != ncclInProgress) JAXMG_CHECK(result);
}

// Appends the copies that pack (or unpack) the blocks of a slice contiguously.
void pack(std::vector<Block>& copies, const std::vector<Block>& slice, std::byte* buffer, bool unpack) {
  for (Block block : slice) {
    std::byte* const packed = buffer;
    buffer += block.bytes();
    if (unpack) {
      block.from = packed;
      block.from_pitch = block.column_bytes;
    } else {
      block.to = packed;
      block.to_pitch = block.column_bytes;
    }
    copies.push_back(block);
  }
}

}  // namespace

NcclTransport::NcclTransport(Participant& participant, int ranks, const ncclUniqueId& id,
                             std::chrono::milliseconds timeout)
    : participant_(&participant), rank_(participant.rank()), ranks_(ranks), timeout_(timeout) {
  JAXMG_CHECK(cudaStreamCreateWithFlags(&network_, cudaStreamNonBlocking));
  JAXMG_CHECK(cudaEventCreateWithFlags(&reached_, cudaEventDisableTiming));
  // Non-blocking, because a rank of another process that never arrives must not block this rank indefinitely.
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  try {
    settle(ncclCommInitRankConfig(&communicator_, ranks_, id, rank_, &config), "ncclCommInitRankConfig");
  } catch (...) {
    release();
    throw;
  }
}

void NcclTransport::settle(ncclResult_t result, const char* what) {
  wait_until([&] {
    if (result == ncclInProgress) result = state();
    return result != ncclInProgress;
  });
  check(result, what);
}

ncclResult_t NcclTransport::state() {
  std::lock_guard lock(mutex_);
  check_in_use();
  ncclResult_t result = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(communicator_, &result);
  return asked != ncclSuccess ? asked : result;
}

void NcclTransport::check_in_use() {
  if (communicator_ != nullptr) return;
  participant_->check();
  throw Error(ErrorCode::aborted, "the NCCL communicator was aborted after an error");
}

template <class Done>
void NcclTransport::wait_until(Done&& done) {
  const auto time_from_now = [&] { return std::chrono::steady_clock::now() + timeout_; };
  auto deadline = time_from_now();
  while (!done()) {
    participant_->check();
    if (made_progress()) deadline = time_from_now();
    if (std::chrono::steady_clock::now() > deadline) throw no_progress(*participant_, ranks_, timeout_);
    std::this_thread::yield();
  }
}

bool NcclTransport::made_progress() {
  const std::size_t before = finished_;
  while (finished_ < exchanges_ && cudaEventQuery(arrived_[finished_]) == cudaSuccess) ++finished_;
  return finished_ > before;
}

NcclTransport::~NcclTransport() { release(); }

void NcclTransport::release() noexcept {
  abandon();
  cudaFree(own_scratch_);
  for (cudaEvent_t event : arrived_) cudaEventDestroy(event);
  cudaEventDestroy(reached_);
  cudaStreamDestroy(network_);
}

void NcclTransport::begin(const Call& call) {
  if (call.packing == nullptr && own_scratch_ == nullptr) JAXMG_CHECK(cudaMalloc(&own_scratch_, 2 * packed_bytes));
  scratch_ = call.packing != nullptr ? call.packing : own_scratch_;
  participant_ = &call.participant;
  lockstep_ = call.first_of_its_kind;
  exchanges_ = finished_ = 0;  // waits already enqueued for these events are unaffected
  timeout_ = call.timeout;
}

void NcclTransport::exchange(Lane, cudaStream_t stream, const std::vector<Block>& blocks) {
  const std::int64_t slice_bytes = packed_bytes / ranks_ / 256 * 256;
  const auto peers = static_cast<std::size_t>(ranks_);
  std::vector<Traffic> out(peers, Traffic(slice_bytes)), in(peers, Traffic(slice_bytes));
  std::vector<Block> local;
  for (const Block& block : blocks) {
    if (block.bytes() == 0) continue;
    if (block.source == rank_) {
      for (int r = 0; r < ranks_; ++r) {
        if (block.reaches(r) && r != rank_) out[static_cast<std::size_t>(r)].add(block);
      }
      if (block.reaches(rank_) && block.from != block.to) local.push_back(block);
    } else if (block.reaches(rank_)) {
      in[static_cast<std::size_t>(block.source)].add(block);
    }
  }
  std::size_t rounds = 0;
  for (std::size_t p = 0; p < peers; ++p) rounds = std::max({rounds, out[p].slices(), in[p].slices()});
  if (rounds == 0 && local.empty()) return;

  JAXMG_CHECK(cudaEventRecord(reached_, stream));
  JAXMG_CHECK(cudaStreamWaitEvent(network_, reached_, 0));
  const auto send_buffer = [&](std::size_t p) { return scratch_ + static_cast<std::int64_t>(p) * slice_bytes; };
  const auto receive_buffer = [&](std::size_t p) { return send_buffer(p) + packed_bytes; };
  for (std::size_t k = 0; k < rounds; ++k) {
    std::vector<Block> packing, unpacking;
    for (std::size_t p = 0; p < peers; ++p) {
      if (k < out[p].slices()) pack(packing, out[p].slice(k), send_buffer(p), false);
      if (k < in[p].slices()) pack(unpacking, in[p].slice(k), receive_buffer(p), true);
    }
    copy_locally(network_, packing);
    std::unique_lock lock(mutex_);
    check_in_use();
    JAXMG_CHECK(ncclGroupStart());
    for (std::size_t p = 0; p < peers; ++p) {
      const int peer = static_cast<int>(p);
      if (k < out[p].slices()) {
        added(ncclSend(send_buffer(p), static_cast<std::size_t>(out[p].bytes(k)), ncclInt8, peer, communicator_,
                       network_));
      }
      if (k < in[p].slices()) {
        added(ncclRecv(receive_buffer(p), static_cast<std::size_t>(in[p].bytes(k)), ncclInt8, peer, communicator_,
                       network_));
      }
    }
    const ncclResult_t result = ncclGroupEnd();
    lock.unlock();
    settle(result, "ncclGroupEnd");
    copy_locally(network_, unpacking);
  }
  copy_locally(network_, local);
  if (exchanges_ == arrived_.size()) {
    JAXMG_CHECK(cudaEventCreateWithFlags(&arrived_.emplace_back(), cudaEventDisableTiming));
  }
  const cudaEvent_t arrived = arrived_[exchanges_++];
  JAXMG_CHECK(cudaEventRecord(arrived, network_));
  JAXMG_CHECK(cudaStreamWaitEvent(stream, arrived, 0));
  if (lockstep_) complete(network_);
}

void NcclTransport::complete(cudaStream_t stream) {
  JAXMG_CHECK(cudaEventRecord(reached_, stream));
  wait_until([&] {
    check(state(), "NCCL");
    const cudaError_t reached = cudaEventQuery(reached_);
    if (reached != cudaErrorNotReady) JAXMG_CHECK(reached);
    return reached == cudaSuccess;
  });
}

void NcclTransport::abandon() noexcept {
  std::lock_guard lock(mutex_);
  if (communicator_ == nullptr) return;
  ncclCommAbort(communicator_);
  communicator_ = nullptr;
}

}  // namespace jaxmg::cuda
