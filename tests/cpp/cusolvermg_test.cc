// The backend of cuSOLVERMg on ranks of the host, with LAPACK as a stand-in for the library: distribution of columns,
// synchronisation of ranks, and results.
#include "cusolvermg_checks.h"

#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "comm/rendezvous.h"
#include "gtest/gtest.h"
#include "ranks.h"
#include "typed.h"

namespace jaxmg::testing {

// Host engine with the operations for one thread that drives all ranks.
class DrivenEngine : public HostEngine {
 public:
  DrivenEngine(Communicator& communicator, Participant& participant)
      : HostEngine(communicator), participant_(participant) {}

  DrivenEngine alone() const { return DrivenEngine(HostEngine::alone(), participant_); }

  template <class State>
  std::shared_ptr<State> kept() {
    return participant_.shared<State>([] { return std::make_shared<State>(); });
  }
  std::vector<int> devices() const { return all_members(size()); }
  template <class Work>
  void on_behalf_of_all(Work&& work) {
    participant_.barrier();
    if (rank() == 0) work();
    participant_.unlimited_barrier();
  }
  template <class T>
  T* address_on(int rank, T* address) const {
    const MemoryRegions &own = participant_.buffers(participant_.rank()), &there = participant_.buffers(rank);
    return reinterpret_cast<T*>(symmetric_address(own, there, address));
  }

 private:
  DrivenEngine(const HostEngine& engine, Participant& participant) : HostEngine(engine), participant_(participant) {}

  Participant& participant_;
};

class DrivenRanks {
 public:
  using Engine = DrivenEngine;
  static bool available(int) { return true; }

  explicit DrivenRanks(int ranks) : size_(ranks), memory_(ranks) {}

  template <class T>
  OnHostRanks<T> matrix(std::int64_t rows, std::int64_t columns) {
    return memory_.matrix<T>(rows, columns);
  }

  template <class Body>
  void run(Body&& body) {
    on_communicators(size_, memory_, [&](Communicator& communicator, Participant& participant) {
      DrivenEngine engine(communicator, participant);
      body(engine);
    });
  }

 private:
  int size_;
  HostMemory memory_;
};

// Workspace of the stand-in, which it overwrites to detect other users.
constexpr std::int64_t library_bytes = 1000;

class LapackSession {
 public:
  void open(const std::vector<int>& devices) { devices_ = devices.size(); }

  void potrf(DealtColumns& a, VendorWorkspace& work) {
    if (!begin(work)) return;
    each(a, [&]<class T>() {
      auto l = collect<T>(a);
      info_ = lapack_potrf(l);
      spread(a, l);
    });
  }

  void potrs(DealtColumns& a, DealtColumns& b, VendorWorkspace& work) {
    if (!begin(work)) return;
    each(a, [&]<class T>() {
      auto x = collect<T>(b);
      lapack_potrs(lower_triangle(collect<T>(a)), x);
      for (std::int64_t j = 0; j < b.columns; ++j) std::copy_n(&x(0, j), b.rows, column<T>(b, j));
    });
  }

  void potri(DealtColumns& a, VendorWorkspace& work) {
    if (!begin(work)) return;
    each(a, [&]<class T>() {
      auto x = identity<T>(a.rows);
      lapack_potrs(lower_triangle(collect<T>(a)), x);
      spread(a, x);
    });
  }

  void getrf(DealtColumns& a, DealtPivots& pivots, VendorWorkspace& work) {
    if (!begin(work)) return;
    each(a, [&]<class T>() {
      auto lu = collect<T>(a);
      std::vector<int> found;
      info_ = lapack_getrf(lu, found);
      for (std::int64_t j = 0; j < a.columns; ++j) {
        std::copy_n(&lu(0, j), a.rows, column<T>(a, j));
        *pivot(a, pivots, j) = found[static_cast<std::size_t>(j)];
      }
    });
  }

  void getrs(DealtColumns& a, DealtPivots& pivots, DealtColumns& b, VendorWorkspace& work) {
    if (!begin(work)) return;
    each(a, [&]<class T>() {
      std::vector<int> found;
      for (std::int64_t j = 0; j < a.columns; ++j) found.push_back(*pivot(a, pivots, j));
      auto x = collect<T>(b);
      lapack_getrs(collect<T>(a), found, x);
      for (std::int64_t j = 0; j < b.columns; ++j) std::copy_n(&x(0, j), b.rows, column<T>(b, j));
    });
  }

  void syevd(DealtColumns& a, bool vectors, VendorWorkspace& work) {
    if (!begin(work)) return;
    each(a, [&]<class T>() {
      auto z = widened(collect<T>(a));
      const auto w = decompose(z);
      values_.resize(w.size() * sizeof(Real<T>));
      for (std::size_t i = 0; i < w.size(); ++i)
        reinterpret_cast<Real<T>*>(values_.data())[i] = static_cast<Real<T>>(w[i]);
      for (std::int64_t j = 0; j < a.columns; ++j) {
        for (std::int64_t i = 0; i < a.rows; ++i) column<T>(a, j)[i] = vectors ? T(z(i, j)) : not_a_number<T>();
      }
    });
  }

  int info() const { return info_; }
  const std::byte* eigenvalues() const { return values_.data(); }

 private:
  bool begin(VendorWorkspace& work) {
    info_ = 0;
    if (!work.suffices("LAPACK", library_bytes)) return false;
    EXPECT_EQ(work.parts.size(), devices_);
    for (void* const part : work.parts) std::fill_n(static_cast<std::byte*>(part), work.bytes, std::byte{0xff});
    return true;
  }

  template <class Function>
  static void each(const DealtColumns& a, Function&& function) {
    dispatch(a.type, std::forward<Function>(function));
  }

  // Where column j is: block t on rank t mod P, behind those that the rank has already.
  std::pair<std::size_t, std::int64_t> place(const DealtColumns& a, std::int64_t j) const {
    const std::int64_t t = j / a.block, ranks = static_cast<std::int64_t>(devices_);
    return {static_cast<std::size_t>(t % ranks), t / ranks * a.block + j % a.block};
  }
  template <class T>
  T* column(const DealtColumns& a, std::int64_t j) const {
    const auto [rank, at] = place(a, j);
    return static_cast<T*>(a.parts[rank]) + at * a.rows;
  }
  std::int32_t* pivot(const DealtColumns& a, const DealtPivots& pivots, std::int64_t j) const {
    const auto [rank, at] = place(a, j);
    return pivots[rank] + at;
  }

  template <class T>
  Matrix<T> collect(const DealtColumns& a) const {
    Matrix<T> all(a.rows, a.columns);
    for (std::int64_t j = 0; j < a.columns; ++j) std::copy_n(column<T>(a, j), a.rows, &all(0, j));
    return all;
  }

  // The lower triangle.
  template <class T>
  void spread(const DealtColumns& a, const Matrix<T>& all) const {
    for (std::int64_t j = 0; j < a.columns; ++j) std::copy_n(&all(j, j), a.rows - j, column<T>(a, j) + j);
  }

  // Z takes the place of A.
  template <class Z>
  static std::vector<double> decompose(Matrix<Z>& a) {
    const int n = static_cast<int>(a.rows()), lwork = 64 * n;
    std::vector<double> w(static_cast<std::size_t>(n)), rwork(static_cast<std::size_t>(3 * n));
    std::vector<Z> work(static_cast<std::size_t>(lwork));
    int info = 0;
    if constexpr (is_complex<Z>) {
      zheev_("V", "L", &n, a.data(), &n, w.data(), work.data(), &lwork, rwork.data(), &info);
    } else {
      dsyev_("V", "L", &n, a.data(), &n, w.data(), work.data(), &lwork, &info);
    }
    EXPECT_EQ(info, 0);
    return w;
  }

  std::size_t devices_ = 0;
  std::vector<std::byte> values_;
  int info_ = 0;
};

struct LapackForAll {
  template <class R, class T>
  static std::int64_t bytes(const CallOf<R, T>& call) {
    LapackSession session;
    const std::int64_t needed = R::library_bytes(session, call.problem, call.plan, {});
    EXPECT_EQ(needed, library_bytes);
    return needed;
  }
};

}  // namespace jaxmg::testing

namespace jaxmg {

template <>
struct CusolverMgOn<testing::DrivenEngine> {
  using Session = testing::LapackSession;
};

namespace testing {

template <class S>
using OnTheHost = Driven<DrivenRanks, S, LapackForAll>;
// NVIDIA has deprecated the library: two types do for what stands for it.
using OnTheHostForTwo = ::testing::Types<OnTheHost<double>, OnTheHost<std::complex<float>>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Host, CusolverMgTest, OnTheHostForTwo);

}  // namespace testing
}  // namespace jaxmg
