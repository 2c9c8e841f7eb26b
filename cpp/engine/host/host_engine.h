// The CPU engine: LAPACK and BLAS, with one thread for each rank. Every operation has finished when it returns, and
// therefore lanes and events do nothing. It is the reference of the CUDA engine's tests.
//
// Its operations are in blas_ops.h, cholesky_ops.h, lu_ops.h, panel_qr_ops.h, scaling_ops.h, svd_ops.h, tall_ops.h,
// band_ops.h, tridiagonal_ops.h, heevd_ops.h and gesdd_ops.h; exchanges and status are here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "comm/communicator.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/host/band_ops.h"
#include "engine/host/blas_ops.h"
#include "engine/host/cholesky_ops.h"
#include "engine/host/gesdd_ops.h"
#include "engine/host/heevd_ops.h"
#include "engine/host/lu_ops.h"
#include "engine/host/panel_qr_ops.h"
#include "engine/host/scaling_ops.h"
#include "engine/host/svd_ops.h"
#include "engine/host/tall_ops.h"
#include "engine/host/tridiagonal_ops.h"
#include "engine/scaling.h"
#include "engine/scaling_ops.h"

namespace jaxmg {

class HostEngine : public HostBlasOps,
                   public HostCholeskyOps,
                   public HostLuOps,
                   public HostPanelQrOps,
                   public HostScalingOps,
                   public HostSvdOps,
                   public HostTallOps,
                   public HostBandOps,
                   public HostTridiagonalOps,
                   public HostHeevdOps,
                   public HostGesddOps {
 public:
  struct Event {};
  struct Range {
    explicit Range(const char*) {}
  };

  // The engine of a single rank.
  HostEngine() = default;
  explicit HostEngine(Communicator& communicator) : communicator_(&communicator) {}

  HostEngine alone() const { return {}; }

  int rank() const { return communicator_ != nullptr ? communicator_->rank() : 0; }
  int size() const { return communicator_ != nullptr ? communicator_->size() : 1; }

  Event record(Lane) { return {}; }
  void wait(Lane, Event) {}
  void join() {}

  void exchange(Lane lane, const std::vector<Block>& blocks) {
    if (communicator_ != nullptr) {
      communicator_->exchange(blocks);
    } else {
      copy_all(lane, blocks);
    }
  }

  void copy_all(Lane, const std::vector<Block>& blocks) {
    for (const Block& block : blocks) {
      if (block.from == block.to) continue;
      for (std::int64_t j = 0; j < block.columns; ++j) {
        std::memcpy(block.to + j * block.to_pitch, block.from + j * block.from_pitch,
                    static_cast<std::size_t>(block.column_bytes));
      }
    }
  }

  template <class T>
  void fetch(Lane, const T* from, std::int64_t count, T* to) {
    std::copy_n(from, count, to);
  }
  template <class T>
  void store(Lane, const T* from, std::int64_t count, T* to) {
    std::copy_n(from, count, to);
  }

  template <class Real>
  void choose_scale(Lane, const Real* norms, Real* scale, std::int32_t* info) {
    const Real norm = *std::max_element(norms, norms + size());
    *scale = scale_for(norm);
    if (*scale != 0) return;
    if (info == nullptr) {
      *scale = 1;
    } else {
      *info = not_finite;
    }
  }

  void set_info(Lane, std::int32_t* info, std::int32_t value) { *info = value; }

  template <class T>
  void conclude(Lane, const std::int32_t* infos, MatrixView<T> x, std::int32_t* status) {
    const std::int32_t first = *std::min_element(infos, infos + size());
    *status = first == no_failure ? 0 : first;
    if (*status == 0) return;
    for (std::int64_t j = 0; j < x.columns; ++j) {
      std::fill_n(x.at(0, j), x.rows, T(std::numeric_limits<Real<T>>::quiet_NaN()));
    }
  }

 private:
  Communicator* communicator_ = nullptr;  // null: this is the only rank
};

}  // namespace jaxmg
