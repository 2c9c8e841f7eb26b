// The blocking of the eigensolver: bandwidth, tile and buffers, from sizes alone.
#include "routines/syevd.h"

#include <algorithm>
#include <cstdint>

#include "core/ceil_div.h"
#include "planner/cost_model.h"
#include "planner/one_rank.h"
#include "planner/plan.h"

namespace jaxmg::routines {
namespace {

// The work on A consists of products of matrices with b columns, which are faster for larger b; the work on the band
// grows with b. GPU kernels support 32 and 64, for complex128 only 32.
std::int64_t choose_bandwidth(const SyevdProblem& q) {
  if (q.platform == Platform::cuda) return q.type == ScalarType::c128 || q.n < 2048 ? 32 : 64;
  return q.n < 256 ? 8 : q.n < 1024 ? 16 : 32;
}

// Panels that do not straddle tiles are cheapest; several tiles per rank balance the load to the end.
std::int64_t choose_tile(const SyevdProblem& q, std::int64_t b) {
  const std::int64_t shard = q.shard();
  if (q.ranks == 1) return q.n;
  const std::int64_t least = ceil_div(q.n, 1024);  // not more than a thousand tiles
  if (q.tile > 0) return std::max(least, std::min(q.tile, shard));
  const std::int64_t widest = q.platform == Platform::cuda ? 512 : 128;
  const std::int64_t wanted = std::max(least, std::clamp(shard / 16, b, std::max(b, widest)));
  return std::min(shard, ceil_div(wanted, b) * b);
}

// Several ranks are faster only if the time saved exceeds communication and synchronisation. On GPUs an exchange takes
// 20 to 65 us, there are three for each of n / b panels and as many for a level of merges.
bool one_is_enough(const SyevdProblem& q) {
  // A given tile size requests a distributed solve.
  return q.ranks > 1 && q.tile == 0 && q.n <= most_for_one_rank(q, Syevd::one_rank);
}

// The library has no way to find a few eigenvectors only.
bool leaves_to_library(const SyevdProblem& q) {
  const OneRankOrders& orders = one_rank_orders(q.platform);
  const OrdersByType most = 4 * q.vectors >= q.n ? orders.library_syevd : orders.library_syevd_values;
  return q.ranks == 1 && q.tile == 0 && q.n <= most.of(q.type);
}

// The number of panels whose updates are applied together. Deeper products pass over A less often, but only the first
// panel after them is then factored beside an update. One H100 (f64) reduces n = 8192 in 55 and 54 ms with delays 1 and
// 2, n = 16384 in 330, 294, 276 and 272 ms with delays 1 to 4, and n = 32768 in 2.32 and 1.83 s with delays 1 and 2.
std::int64_t choose_delay(const SyevdProblem& q) {
  if (q.platform == Platform::cpu) return 1;
  const std::int64_t elements = q.n * q.shard();
  return elements >= std::int64_t{1} << 28 ? 4 : elements >= std::int64_t{1} << 27 ? 2 : 1;
}

// cuBLAS gains nothing from less (engine/cuda/blas_ops.h). Smaller shards do without, and CPUs have no use for it.
std::int64_t choose_scratch(const SyevdProblem& q) {
  constexpr std::int64_t scratch = std::int64_t{32} << 20;
  return q.platform == Platform::cuda && q.shard_bytes() >= 2 * scratch ? scratch : 0;
}

// The fastest blocking.
SyevdBlocking preferred_blocking(const SyevdProblem& q, std::int64_t b) {
  SyevdBlocking blocking{};
  blocking.b = b;
  blocking.delay = choose_delay(q);
  const std::int64_t depth = q.platform == Platform::cpu ? 128 : q.n > 8192 ? 512 : 256;
  blocking.depth = std::max(b, depth / b * b);
  blocking.columns = std::max<std::int64_t>(1, q.share_of_vectors());
  const std::int64_t least = BackTransformationWorkspace<double>::least_diamonds(q.n, b);
  blocking.in_place = q.platform == Platform::cuda && q.type == ScalarType::f64;
  // Without a second copy of the eigenvectors, there is room for twice as many.
  blocking.diamonds = std::max(4 * least, q.share_of_vectors() * q.n / (blocking.in_place ? 1 : 2) / (4 * b * b));
  // S has n rows: half a shard of it.
  blocking.secular = std::min(default_secular_columns(q.n), std::max<std::int64_t>(256, q.shard() / 2));
  // All reflectors are P / 2 shards of the matrix. Beside it, the eigenvectors and 1.5 shards for the way back, four
  // ranks have room for them within six shards.
  blocking.kept = q.ranks <= 4 ? b : Reflectors<double>::share(b, q.ranks);
  blocking.scratch = choose_scratch(q);
  return blocking;
}

Planned<Syevd::Plan> preferred_plan(const SyevdProblem& q, bool solo) {
  const SyevdProblem at_work = solo ? alone(q) : q;
  const std::int64_t b = choose_bandwidth(q);
  Planned<Syevd::Plan> made;
  made.plan.tile = solo ? q.shard() : choose_tile(q, b);
  made.plan.alone = solo ? q.n : 0;
  made.plan.blocking = preferred_blocking(at_work, b);
  made.plan.blocking.library = leaves_to_library(at_work);
  made.shard_bytes = q.shard_bytes();
  made.rhs_bytes = q.vector_bytes();
  made.workspace_bytes = workspace_bytes<Syevd>(q, made.plan);
  return made;
}

// Gives up the scratch, which loses least time, where that frees memory; false where other stages need more.
bool give_up_scratch(const SyevdProblem& q, Planned<Syevd::Plan>& made) {
  Planned<Syevd::Plan> without = made;
  without.plan.blocking.scratch = 0;
  without.workspace_bytes = workspace_bytes<Syevd>(q, without.plan);
  if (without.workspace_bytes == made.workspace_bytes) return false;
  made = without;
  return true;
}

// Shrinks the blocking, cheapest loss first; false when it is minimal.
bool shrink(const SyevdProblem& q, SyevdBlocking& blocking) {
  const std::int64_t least = BackTransformationWorkspace<double>::least_diamonds(q.n, blocking.b);
  const std::int64_t share = Reflectors<double>::share(blocking.b, q.ranks);
  if (q.vectors > 0 && blocking.kept > share) {
    blocking.kept = share;
  } else if (blocking.diamonds > 4 * least) {
    blocking.diamonds = std::max(4 * least, blocking.diamonds / 2);
  } else if (blocking.secular > 256) {
    blocking.secular /= 2;
  } else if (blocking.depth > 2 * blocking.b) {
    blocking.depth = std::max<std::int64_t>(2, blocking.depth / blocking.b / 2) * blocking.b;
  } else if (blocking.columns > 256 && !blocking.in_place) {
    blocking.columns = (blocking.columns + 1) / 2;
  } else if (blocking.diamonds > least) {
    blocking.diamonds = least;
  } else if (blocking.delay > 1) {
    blocking.delay /= 2;
  } else if (blocking.secular > 1) {
    blocking.secular = (blocking.secular + 1) / 2;
  } else {
    return false;
  }
  return true;
}

double estimate(const SyevdProblem& q, const Planned<Syevd::Plan>& made) {
  const SyevdBlocking& blocking = made.plan.blocking;
  const ColumnsCost cost = cost_of(made.plan.solo() ? alone(q) : q);
  const double seconds = blocking.library ? cost.library_syevd(q.n, q.vectors, blocking.b)
                                          : cost.syevd(q.n, q.vectors, blocking.b, blocking.kept < blocking.b);
  return made.plan.solo() ? seconds + collection_seconds(q, made) : seconds;
}

}  // namespace

Planned<Syevd::Plan> Syevd::plan(const Problem& q) {
  q.check();
  auto made = preferred_plan(q, one_is_enough(q));
  if (made.plan.solo() && exceeds_limit(q, made)) made = preferred_plan(q, false);
  const auto measure = [&] { made.workspace_bytes = workspace_bytes<Syevd>(q, made.plan); };
  if (made.plan.blocking.library && exceeds_limit(q, made)) {
    made.plan.blocking.library = false;
    measure();
  }
  while (exceeds_limit(q, made) && (give_up_scratch(q, made) || shrink(q, made.plan.blocking))) measure();
  check_limit(q, made);
  made.seconds = estimate(q, made);
  return made;
}

}  // namespace jaxmg::routines
