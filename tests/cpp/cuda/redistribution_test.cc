#include "cuda_ranks.h"
#include "redistribution_checks.h"

namespace jaxmg::testing {

INSTANTIATE_TYPED_TEST_SUITE_P(Peers, Redistribute, OnAllScalars<PeerRanks>);
// NCCL transports bytes: one scalar type is enough.
using ThroughNccl = ::testing::Types<On<NcclRanks, float>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Nccl, Redistribute, ThroughNccl);

namespace {

template <class Ranks>
class LargeRedistribute : public ::testing::Test {};

using AllRanks = ::testing::Types<PeerRanks, NcclRanks>;
TYPED_TEST_SUITE(LargeRedistribute, AllRanks);

// Tiles of 13 MB, two at a time: more than NCCL's packing buffers hold.
TYPED_TEST(LargeRedistribute, IsExactAndInvertible) {
  JAXMG_NEEDS_RANKS(TypeParam, 2);
  for (const int ranks : {2, 4}) {
    if (!TypeParam::available(ranks)) continue;
    SCOPED_TRACE(::testing::Message() << ranks << " ranks");
    const TileColumns layout(850 * ranks, 850, 400, ranks);
    Matrix<double> a(4000, layout.order());
    for (std::int64_t i = 0; i < a.rows() * a.columns(); ++i) a.data()[i] = static_cast<double>(i);
    TypeParam there(ranks), back(ranks);
    EXPECT_TRUE(deal(there, in_blocks(a, layout), layout, 2, false) == dealt(a, layout));
    EXPECT_TRUE(deal(back, dealt(a, layout), layout, 1, true) == in_blocks(a, layout));
  }
}

}  // namespace
}  // namespace jaxmg::testing
