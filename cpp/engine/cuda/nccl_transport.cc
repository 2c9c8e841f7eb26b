#include "engine/cuda/nccl_transport.h"

#include <algorithm>
#include <string>
#include <thread>

#include "engine/cuda/check.h"
#include "engine/cuda/copy_batches.h"
#include "engine/scratch.h"

namespace jaxmg::cuda {
namespace {

// Checks the result of a call within a group; calls in progress are settled at the end of the group.
void added(ncclResult_t result) {
  if (result != ncclInProgress) JAXMG_CHECK(result);
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
  const PackingBuffers buffers{scratch_, scratch_ + packed_bytes, packed_bytes};
  std::vector<MessageRound> rounds = plan_messages(blocks, rank_, ranks_, buffers);
  const std::vector<Block> local = local_blocks_of(blocks, rank_);
  if (rounds.empty() && local.empty()) return;
  if (rounds.empty()) rounds.emplace_back();
  rounds.back().unpacking.insert(rounds.back().unpacking.end(), local.begin(), local.end());

  JAXMG_CHECK(cudaEventRecord(reached_, stream));
  JAXMG_CHECK(cudaStreamWaitEvent(network_, reached_, 0));
  for (const MessageRound& round : rounds) {
    copy_locally(network_, round.packing);
    if (!round.sends.empty() || !round.receives.empty()) transfer(round);
    copy_locally(network_, round.unpacking);
  }
  if (exchanges_ == arrived_.size()) {
    JAXMG_CHECK(cudaEventCreateWithFlags(&arrived_.emplace_back(), cudaEventDisableTiming));
  }
  const cudaEvent_t arrived = arrived_[exchanges_++];
  JAXMG_CHECK(cudaEventRecord(arrived, network_));
  JAXMG_CHECK(cudaStreamWaitEvent(stream, arrived, 0));
  if (lockstep_) complete(network_);
}

// NCCL sends and receives the messages of one group at once.
void NcclTransport::transfer(const MessageRound& round) {
  std::unique_lock lock(mutex_);
  check_in_use();
  JAXMG_CHECK(ncclGroupStart());
  for (const Message& message : round.sends) {
    added(ncclSend(message.data, static_cast<std::size_t>(message.bytes), ncclInt8, message.peer, communicator_,
                   network_));
  }
  for (const Message& message : round.receives) {
    added(ncclRecv(message.data, static_cast<std::size_t>(message.bytes), ncclInt8, message.peer, communicator_,
                   network_));
  }
  const ncclResult_t result = ncclGroupEnd();
  lock.unlock();
  settle(result, "ncclGroupEnd");
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
