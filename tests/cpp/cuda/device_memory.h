// Buffers of ranks in GPU memory, with the interface of host_memory.h.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "engine/cuda/check.h"
#include "matrices.h"

namespace jaxmg::testing {

// Pool of device memory by device and exact size, which lets compute-sanitizer detect accesses beyond the end. Released
// buffers are reused: allocation takes longer than most tests.
class DevicePool {
 public:
  static DevicePool& instance() {
    static auto* const pool = new DevicePool;  // never destroyed: CUDA may be unloaded before statics
    return *pool;
  }

  // Makes `device` current.
  std::byte* take(int device, std::int64_t bytes) {
    JAXMG_CHECK(cudaSetDevice(device));
    std::lock_guard lock(mutex_);
    auto& idle = idle_[{device, bytes}];
    if (idle.empty()) {
      if (source_) return source_(device, bytes);
      void* made = nullptr;
      JAXMG_CHECK(cudaMalloc(&made, static_cast<std::size_t>(bytes)));
      return static_cast<std::byte*>(made);
    }
    std::byte* const buffer = idle.back();
    idle.pop_back();
    return buffer;
  }
  void give_back(int device, std::int64_t bytes, std::byte* buffer) {
    std::lock_guard lock(mutex_);
    if (bytes > largest_kept && !source_) {
      cudaFree(buffer);
      return;
    }
    idle_[{device, bytes}].push_back(buffer);
  }

  // Takes new memory from source(device, bytes) instead of cudaMalloc, and forgets released buffers.
  using Source = std::function<std::byte*(int, std::int64_t)>;
  void set_source(Source source) {
    std::lock_guard lock(mutex_);
    source_ = std::move(source);
    idle_.clear();
  }

 private:
  static constexpr std::int64_t largest_kept = std::int64_t{16} << 20;
  std::mutex mutex_;
  std::map<std::pair<int, std::int64_t>, std::vector<std::byte*>> idle_;
  Source source_;
};

// Stream that plays the part of XLA's: the work of a rank begins after it and ends in it.
class DeviceStream {
 public:
  explicit DeviceStream(int device) : device_(device) {
    JAXMG_CHECK(cudaSetDevice(device));
    JAXMG_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  ~DeviceStream() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  DeviceStream(DeviceStream&& other) noexcept
      : device_(other.device_), stream_(std::exchange(other.stream_, nullptr)) {}
  DeviceStream& operator=(DeviceStream&&) = delete;

  int device() const { return device_; }
  cudaStream_t get() const { return stream_; }
  void synchronize() const { JAXMG_CHECK(cudaStreamSynchronize(stream_)); }

 private:
  int device_;
  cudaStream_t stream_{};
};

// A matrix of one shape on every rank.
template <class T>
class OnDeviceRanks {
 public:
  OnDeviceRanks(std::vector<MatrixView<T>> views, const std::vector<DeviceStream>& streams)
      : views_(std::move(views)), streams_(streams) {}

  MatrixView<T> view(int rank) const { return views_[static_cast<std::size_t>(rank)]; }

  void upload(int rank, const Matrix<T>& from) {
    copy(rank, view(rank).data, from.data(), from.rows() * from.columns(), cudaMemcpyHostToDevice);
  }
  Matrix<T> download(int rank) const {
    const MatrixView<T> from = view(rank);
    Matrix<T> to(from.rows, from.columns);
    copy(rank, to.data(), from.data, from.rows * from.columns, cudaMemcpyDeviceToHost);
    return to;
  }

 private:
  void copy(int rank, T* to, const T* from, std::int64_t count, cudaMemcpyKind kind) const {
    const DeviceStream& stream = streams_[static_cast<std::size_t>(rank)];
    JAXMG_CHECK(cudaSetDevice(stream.device()));
    JAXMG_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T), kind, stream.get()));
    stream.synchronize();
  }

  std::vector<MatrixView<T>> views_;
  const std::vector<DeviceStream>& streams_;
};

class DeviceMemory {
 public:
  explicit DeviceMemory(const std::vector<int>& devices) : regions_(devices.size()) {
    for (const int device : devices) streams_.emplace_back(device);
  }
  ~DeviceMemory() {
    for (std::size_t r = 0; r < streams_.size(); ++r) {
      cudaSetDevice(streams_[r].device());
      for (const MemoryRegion& region : regions_[r]) {
        DevicePool::instance().give_back(streams_[r].device(), region.bytes, region.base);
      }
    }
  }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  // Every byte starts as 0xff: NaN in all floating-point types.
  template <class T>
  OnDeviceRanks<T> matrix(std::int64_t rows, std::int64_t columns) {
    const std::int64_t bytes = std::max<std::int64_t>(1, rows * columns * static_cast<std::int64_t>(sizeof(T)));
    std::vector<MatrixView<T>> views;
    for (std::size_t r = 0; r < streams_.size(); ++r) {
      std::byte* const base = DevicePool::instance().take(streams_[r].device(), bytes);
      regions_[r].push_back({base, bytes});
      views.push_back({reinterpret_cast<T*>(base), rows, columns, rows});
      JAXMG_CHECK(cudaMemsetAsync(base, 0xff, static_cast<std::size_t>(bytes), streams_[r].get()));
    }
    return OnDeviceRanks<T>(std::move(views), streams_);
  }

  const MemoryRegions& regions(int rank) const { return regions_[static_cast<std::size_t>(rank)]; }
  const DeviceStream& stream(int rank) const { return streams_[static_cast<std::size_t>(rank)]; }

 private:
  std::vector<DeviceStream> streams_;
  std::vector<MemoryRegions> regions_;
};

}  // namespace jaxmg::testing
