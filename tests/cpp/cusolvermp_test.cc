// Routines served by a solver of block-cyclic matrices, with a stand-in for the vendor's solver: every rank gathers the
// whole matrix, solves with LAPACK or our own eigensolver, and keeps its part.

#include <algorithm>
#include <complex>
#include <cstdint>
#include <vector>

#include "algorithms/moves/block_cyclic.h"
#include "cusolvermp_checks.h"
#include "gtest/gtest.h"
#include "lapack.h"
#include "ranks.h"

namespace jaxmg::testing {

class CollectingSolver {
 public:
  explicit CollectingSolver(HostEngine& engine) : e_(engine) {}

  template <class T>
  std::int32_t potrf(const BlockCyclicMatrix<T>& a, VendorWorkspace& workspace) {
    if (!use(workspace, 100)) return 0;
    Matrix<T> whole = collect(a);
    const Matrix<T> before = whole;
    const int info = lapack_potrf(whole);
    for (std::int64_t j = 0; j < whole.columns(); ++j) std::copy_n(&before(0, j), j, &whole(0, j));  // left alone
    keep(whole, a);
    return info;
  }
  template <class T>
  std::int32_t potrs(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& b, VendorWorkspace& workspace) {
    if (!use(workspace, 1000)) return 0;
    Matrix<T> x = collect(b);
    lapack_potrs(collect(a), x);
    keep(x, b);
    return 0;
  }
  template <class T>
  std::int32_t getrf(const BlockCyclicMatrix<T>& a, std::int64_t* pivots, VendorWorkspace& workspace) {
    if (!use(workspace, 200)) return 0;
    Matrix<T> whole = collect(a);
    std::vector<int> found;
    const int info = lapack_getrf(whole, found);
    keep(whole, a);
    Matrix<std::int64_t> rows(a.layout.rows.n, 1);
    std::copy(found.begin(), found.end(), rows.data());
    keep(rows, like_rows(a, pivots));
    return info;
  }
  template <class T>
  std::int32_t getrs(const BlockCyclicMatrix<T>& a, std::int64_t* pivots, const BlockCyclicMatrix<T>& b,
                     VendorWorkspace& workspace) {
    if (!use(workspace, 2000)) return 0;
    const Matrix<std::int64_t> rows = collect(like_rows(a, pivots));
    Matrix<T> x = collect(b);
    lapack_getrs(collect(a), {rows.data(), rows.data() + rows.rows()}, x);
    keep(x, b);
    return 0;
  }
  template <class T>
  std::int32_t syevd(const BlockCyclicMatrix<T>& a, Real<T>* w, const BlockCyclicMatrix<T>& z, bool vectors,
                     VendorWorkspace& workspace) {
    if (!use(workspace, 300)) return 0;
    const Matrix<T> whole = collect(a);
    HostRanks alone(1);
    const auto found = eigen(alone, whole, eigen_shape(whole.rows(), 1, whole.rows(), 4, 1), vectors);
    std::copy_n(found.w[0].data(), whole.rows(), w);
    if (vectors) keep(found.z, z);
    return found.status[0];
  }
  template <class T>
  std::int32_t geqrf(const BlockCyclicMatrix<T>& a, T* tau, VendorWorkspace& workspace) {
    if (!use(workspace, 400)) return 0;
    Matrix<T> whole = collect(a);
    const std::vector<T> scalars = lapack_geqrf(whole);
    keep(whole, a);
    const CyclicBlocks& columns = a.layout.columns;
    for (std::int64_t j = 0; j < static_cast<std::int64_t>(scalars.size()); ++j) {
      if (columns.owner(j) == a.layout.grid().column(e_.rank())) {
        tau[columns.local(j)] = scalars[static_cast<std::size_t>(j)];
      }
    }
    return 0;
  }
  template <class T>
  std::int32_t gesvd(const BlockCyclicMatrix<T>& a, Real<T>* s, const BlockCyclicMatrix<T>& u,
                     const BlockCyclicMatrix<T>& vh, bool vectors, VendorWorkspace& workspace) {
    if (!use(workspace, 500)) return 0;
    Matrix<T> whole = collect(a), left(whole.rows(), whole.rows()), right(whole.rows(), whole.rows());
    const int info = lapack_gesdd(whole, s, left, right);
    keep(Matrix<T>(whole.rows(), whole.rows(), not_a_number<T>()), a);  // lost
    if (!vectors) return info;
    keep(left, u);
    keep(right, vh);
    return info;
  }
  template <class T>
  std::int32_t polar(const BlockCyclicMatrix<T>& a, const BlockCyclicMatrix<T>& h, VendorWorkspace& workspace) {
    if (!use(workspace, 600)) return 0;
    Matrix<T> whole = collect(a);
    const std::int64_t n = whole.rows();
    Matrix<T> left(n, n), right(n, n), unitary(n, n), hermitian(n, n);
    std::vector<Real<T>> s(static_cast<std::size_t>(n));
    const int info = lapack_gesdd(whole, s.data(), left, right);
    gemm<T>(T(1), left, Op::none, right, unitary);
    Matrix<T> scaled = right;
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t i = 0; i < n; ++i) scaled(i, j) *= s[static_cast<std::size_t>(i)];
    }
    gemm<T>(T(1), adjoint(right), Op::none, scaled, hermitian);
    keep(unitary, a);
    keep(hermitian, h);
    return info;
  }

 private:
  // Pivots, dealt as the rows of A are to the first column of the grid.
  template <class T>
  static BlockCyclicMatrix<std::int64_t> like_rows(const BlockCyclicMatrix<T>& a, std::int64_t* pivots) {
    const std::int64_t block = a.layout.rows.block;
    return {BlockCyclic(a.layout.rows.n, 1, block, block, a.layout.grid()), pivots};
  }
  // All of the workspace that was asked for is written to.
  static bool use(VendorWorkspace& workspace, std::int64_t bytes) {
    if (!workspace.suffices("LAPACK", bytes)) return false;
    std::fill_n(static_cast<std::byte*>(workspace.parts.front()), bytes, std::byte{0xff});
    return true;
  }
  template <class T>
  Matrix<T> collect(const BlockCyclicMatrix<T>& a) {
    Matrix<T> whole(a.layout.rows.n, a.layout.columns.n);
    gather_copies(e_, a, whole.view());
    return whole;
  }
  template <class T>
  void keep(const Matrix<T>& whole, const BlockCyclicMatrix<T>& a) {
    const MatrixView<T> part = a.part(e_.rank());
    const BlockCyclic& layout = a.layout;
    for (std::int64_t j = 0; j < whole.columns(); ++j) {
      for (std::int64_t i = 0; i < whole.rows(); ++i) {
        if (layout.grid().rank(layout.rows.owner(i), layout.columns.owner(j)) != e_.rank()) continue;
        *part.at(layout.rows.local(i), layout.columns.local(j)) = whole(i, j);
      }
    }
  }

  HostEngine& e_;
};

}  // namespace jaxmg::testing

namespace jaxmg {

template <>
struct CusolverMpOn<HostEngine> {
  static testing::CollectingSolver get(HostEngine& engine, std::uint32_t*) { return testing::CollectingSolver(engine); }
};

namespace testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, SolverBackends, OnAllScalars<HostRanks>);

}  // namespace testing
}  // namespace jaxmg
