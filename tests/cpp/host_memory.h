// Buffers of ranks in host memory, of equal size on every rank, as in a call from JAX.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "matrices.h"

namespace jaxmg::testing {

// A matrix of one shape on every rank.
template <class T>
class OnHostRanks {
 public:
  explicit OnHostRanks(std::vector<MatrixView<T>> views) : views_(std::move(views)) {}

  MatrixView<T> view(int rank) const { return views_[static_cast<std::size_t>(rank)]; }

  void upload(int rank, const Matrix<T>& from) {
    std::copy_n(from.data(), from.rows() * from.columns(), view(rank).data);
  }
  Matrix<T> download(int rank) const {
    const MatrixView<T> from = view(rank);
    Matrix<T> to(from.rows, from.columns);
    std::copy_n(from.data, from.rows * from.columns, to.data());
    return to;
  }

 private:
  std::vector<MatrixView<T>> views_;
};

class HostMemory {
 public:
  explicit HostMemory(int ranks) : regions_(static_cast<std::size_t>(ranks)) {}

  // Every byte starts as 0xff: NaN in all floating-point types.
  template <class T>
  OnHostRanks<T> matrix(std::int64_t rows, std::int64_t columns) {
    const std::int64_t bytes = std::max<std::int64_t>(1, rows * columns * static_cast<std::int64_t>(sizeof(T)));
    std::vector<MatrixView<T>> views;
    for (MemoryRegions& regions : regions_) {
      owned_.push_back(std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(bytes)));
      std::memset(owned_.back().get(), 0xff, static_cast<std::size_t>(bytes));
      regions.push_back({owned_.back().get(), bytes});
      views.push_back({reinterpret_cast<T*>(owned_.back().get()), rows, columns, rows});
    }
    return OnHostRanks<T>(std::move(views));
  }

  const MemoryRegions& regions(int rank) const { return regions_[static_cast<std::size_t>(rank)]; }

 private:
  std::vector<MemoryRegions> regions_;
  std::vector<std::unique_ptr<std::byte[]>> owned_;
};

}  // namespace jaxmg::testing
