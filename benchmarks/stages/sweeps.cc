// Times of solves L L^H X = B with a kept factor and few right-hand sides, a forward and a backward sweep: by one
// kernel on each GPU, and tile by tile.
//
//   sweeps_cuda13 [types, default ds] [orders, default 16384,32768,65536] [right-hand sides, default 1,4]
//
// Times are medians in milliseconds, of the slowest rank, on 2 and 4 GPUs, or ranks that
// share GPUs with JAXMG_TEST_RANKS_PER_GPU. `differs` is the largest difference of the results of both ways, in units
// of eps.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "algorithms/triangular/trsm_few.h"
#include "core/arena.h"
#include "cuda/cuda_ranks.h"
#include "engine/cuda/check.h"
#include "matrices.h"

namespace {

using namespace jaxmg;
using jaxmg::testing::Matrix;
using jaxmg::testing::PeerRanks;

// The engine without sweeps in one operation.
struct TileByTile : cuda::CudaEngine {
  explicit TileByTile(const cuda::CudaEngine& engine) : cuda::CudaEngine(engine) {}
  void sweep() = delete;
};

struct Times {
  double forward = 0, both = 0;
};

template <class T, class E>
Times measure(E& engine, TrsmFew<T, E>& solver, MatrixView<T> given, MatrixView<T> x, int repeats) {
  const cudaStream_t stream = engine.stream(Lane::panel);
  std::vector<cudaEvent_t> events(static_cast<std::size_t>(3 * repeats));
  for (cudaEvent_t& event : events) JAXMG_CHECK(cudaEventCreate(&event));
  for (std::size_t i = 0; i < events.size(); i += 3) {
    engine.copy(Lane::panel, given, x);
    engine.join();
    JAXMG_CHECK(cudaEventRecord(events[i], stream));
    solver.solve({Uplo::lower, Op::none, Diag::non_unit});
    JAXMG_CHECK(cudaEventRecord(events[i + 1], stream));
    solver.solve({Uplo::lower, Op::conj_transpose, Diag::non_unit});
    JAXMG_CHECK(cudaEventRecord(events[i + 2], stream));
    JAXMG_CHECK(cudaStreamSynchronize(stream));
  }
  std::vector<double> forward, both;
  for (std::size_t i = 3; i < events.size(); i += 3) {  // the first run includes loading
    float first = 0, all = 0;
    JAXMG_CHECK(cudaEventElapsedTime(&first, events[i], events[i + 1]));
    JAXMG_CHECK(cudaEventElapsedTime(&all, events[i], events[i + 2]));
    forward.push_back(static_cast<double>(first));
    both.push_back(static_cast<double>(all));
  }
  for (const cudaEvent_t event : events) JAXMG_CHECK(cudaEventDestroy(event));
  const auto median = [](std::vector<double>& all) {
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
  };
  return {median(forward), median(both)};
}

template <class T>
void times(int ranks, std::int64_t n, const std::vector<std::int64_t>& counts, const char* type) {
  const std::int64_t shard = (n + ranks - 1) / ranks;
  const TileColumns layout(n, shard, std::min<std::int64_t>(512, shard), ranks);
  for (const std::int64_t nrhs : counts) {
    PeerRanks there(ranks);
    Arena needed;
    TrsmFewWorkspace<T>(needed, layout, nrhs);
    auto factor = there.template matrix<T>(n, shard);
    auto given = there.template matrix<T>(n, nrhs);
    auto at_once = there.template matrix<T>(n, nrhs);
    auto by_tile = there.template matrix<T>(n, nrhs);
    auto workspace = there.template matrix<std::byte>(needed.used(), 1);
    std::vector<Times> one(static_cast<std::size_t>(ranks)), tiles(static_cast<std::size_t>(ranks));
    there.run([&](cuda::CudaEngine& engine) {
      const int rank = engine.rank();
      const MatrixView<T> l = factor.view(rank), b = given.view(rank);
      // Elements are at most 1 / n, except for the diagonal.
      engine.zero(Lane::panel, l);
      for (const std::int64_t t : layout.tiles_of(rank)) {
        engine.identity(Lane::panel, TiledShard<T>{layout, l, rank}.diagonal(t));
      }
      engine.add_noise(Lane::panel, Real<T>(1) / static_cast<Real<T>>(n), rank * shard, 0, l);
      engine.zero(Lane::panel, b);
      engine.add_noise(Lane::panel, Real<T>(1), 0, 0, b);
      engine.join();
      Arena arena(workspace.view(rank).data, needed.used());
      TrsmFewWorkspace<T> w(arena, layout, nrhs);
      TrsmFew<T, cuda::CudaEngine> fast(engine, layout, l, at_once.view(rank), w);
      one[static_cast<std::size_t>(rank)] = measure(engine, fast, b, at_once.view(rank), 8);
      TileByTile plain(engine);
      TrsmFew<T, TileByTile> slow(plain, layout, l, by_tile.view(rank), w);
      tiles[static_cast<std::size_t>(rank)] = measure(plain, slow, b, by_tile.view(rank), 4);
    });
    const auto slowest = [](const std::vector<Times>& all) {
      Times most;
      for (const Times& each : all) {
        most = {std::max(most.forward, each.forward), std::max(most.both, each.both)};
      }
      return most;
    };
    const Times kernel = slowest(one), tiled = slowest(tiles);
    double differs = 0;
    for (int r = 0; r < ranks; ++r) {
      const Matrix<T> x = at_once.download(r), y = by_tile.download(r);
      for (std::int64_t i = 0; i < n * nrhs; ++i) {
        const double d = static_cast<double>(std::abs(x.data()[i] - y.data()[i]));
        differs = d <= differs ? differs : d;  // NaN counts
      }
    }
    std::printf("%-4s %5d %6lld %4lld %9.2f %9.2f %9.2f %9.2f %9.2f %8.3g\n", type, ranks, static_cast<long long>(n),
                static_cast<long long>(nrhs), kernel.both, kernel.forward, kernel.both - kernel.forward, tiled.both,
                tiled.forward, differs / static_cast<double>(std::numeric_limits<Real<T>>::epsilon()));
    std::fflush(stdout);
  }
}

std::vector<std::int64_t> numbers(const std::string& text) {
  std::vector<std::int64_t> all;
  std::istringstream in(text);
  for (std::string item; std::getline(in, item, ',');) all.push_back(std::stoll(item));
  return all;
}

}  // namespace

int main(int count, char** values) {
  const std::string types = count > 1 ? values[1] : "ds";
  const auto orders = numbers(count > 2 ? values[2] : "16384,32768,65536");
  const auto counts = numbers(count > 3 ? values[3] : "1,4");
  std::printf("type ranks      n nrhs  at once   forward  backward   by tile   forward  differs\n");
  for (const char type : types) {
    for (const std::int64_t n : orders) {
      for (const int ranks : {2, 4}) {
        if (!PeerRanks::available(ranks)) continue;
        if (type == 's') times<float>(ranks, n, counts, "f32");
        if (type == 'd') times<double>(ranks, n, counts, "f64");
        if (type == 'c') times<std::complex<float>>(ranks, n, counts, "c64");
        if (type == 'z') times<std::complex<double>>(ranks, n, counts, "c128");
      }
    }
  }
  return 0;
}
