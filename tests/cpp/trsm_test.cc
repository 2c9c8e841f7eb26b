#include "trsm_checks.h"

#include "core/error.h"
#include "dealt.h"
#include "ranks.h"
#include "routines/trtrs.h"
#include "solves.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Host, Trsm, OnAllScalars<HostRanks>);

namespace {

using T = std::complex<double>;
using routines::Trtrs;

// Solves A X = B, with B replicated or distributed by columns; returns X.
Matrix<T> trtrs(HostRanks& ranks, const Matrix<T>& transpose, const Matrix<T>& b, const CallOf<Trtrs, T>& call,
                std::int64_t workspace_bytes) {
  const int size = static_cast<int>(call.problem.ranks);
  const TileColumns layout = call.problem.layout(call.plan.tile);
  const auto rhs = on_ranks(b, size, call.plan.distributed_rhs);
  auto shards = ranks.matrix<T>(layout.order(), layout.shard());
  auto x = ranks.matrix<T>(b.rows(), rhs[0].columns());
  auto workspace = ranks.matrix<std::byte>(workspace_bytes, 1);
  upload(shards, in_blocks(transpose, layout));
  upload(x, rhs);
  ranks.run([&](auto& engine) {
    const int rank = engine.rank();
    call.run(engine, workspace.view(rank), shards.view(rank), x.view(rank));
  });
  const auto found = download(x, size);
  return call.plan.distributed_rhs ? side_by_side(found, b.columns()) : found[0];
}

// Exactly the workspace of the plan, and NaN in elements that must not be read.
TEST(Trtrs, SolvesWithEveryTriangleOfAMatrixInRows) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t n : {1, 7, 40}) {
      for (const std::int64_t nrhs : {2, 70}) {
        for (int form = 0; form < 8; ++form) {
          CallOf<Trtrs, T> call(n, ranks, 0);
          auto& q = call.problem;
          q.nrhs = nrhs;
          if (n > 1) q.tile = 4;
          q.lower = form & 1;
          q.transposed = form & 2;
          q.unit_diagonal = form & 4;
          SCOPED_TRACE(::testing::Message() << n << " on " << ranks << ", nrhs " << nrhs << ", form " << form);
          const auto made = Trtrs::plan(q);
          call.plan = made.plan;
          const Diag diag = q.unit_diagonal ? Diag::unit : Diag::non_unit;
          // The shards are columns of A^T.
          const Matrix<T> transpose = triangle<T>(n, q.lower ? Uplo::upper : Uplo::lower, diag);
          const Matrix<T> full = expanded(transpose, {Side::left, q.lower ? Uplo::upper : Uplo::lower,
                                                      q.transposed ? Op::none : Op::transpose, diag});
          const Matrix<T> b = random_matrix<T>(n, nrhs, 2);
          HostRanks enough(ranks), too_few(ranks);
          EXPECT_LE(solve_error(full, trtrs(enough, transpose, b, call, made.workspace_bytes), b), 3);
          if (made.workspace_bytes > 0) {
            EXPECT_THROW(trtrs(too_few, transpose, b, call, made.workspace_bytes - Arena::alignment), Error);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace jaxmg::testing
