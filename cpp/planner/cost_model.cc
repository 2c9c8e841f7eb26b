#include "planner/cost_model.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <thread>
#include <utility>

#include "core/error.h"
#include "engine/sweep_ops.h"
#include "layout/block_columns.h"

namespace jaxmg {
namespace {

bool single(ScalarType type) { return type == ScalarType::f32 || type == ScalarType::c64; }
bool complex(ScalarType type) { return type == ScalarType::c64 || type == ScalarType::c128; }

// Measured on H200 (see benchmarks/results), the chains on four of them. Kernels that factor panels of complex128 take
// half as many columns at once, and a column takes longer. complex64 is not measured: it has the prices of float64.
Machine h200(ScalarType type) {
  const double flops = 57e12 * (single(type) ? 0.9 : 1);
  Machine m{};
  m.flops = flops;
  m.half_depth = complex(type) ? 115 : 230;
  m.thin_flops = 0.8 * flops;
  m.half_flops = 700e12;
  m.waves_flops = type == ScalarType::f64 ? 61e12 : m.thin_flops;
  m.call_seconds = 80e-6;
  m.device_seconds = 40e-6;
  m.kept_seconds = 70e-6;
  m.potrf_seconds = type == ScalarType::c128 ? 0.95e-6 : type == ScalarType::f32 ? 0.45e-6 : 0.55e-6;
  m.getrf_seconds = type == ScalarType::c128 ? 2.7e-6 : 2.3e-6;
  m.potri_seconds = 0.65e-6;
  m.pivot_seconds = type == ScalarType::c128 ? 1.2e-6 : 0.7e-6;  // of complex128 an estimate, as by cuSOLVER
  m.search_seconds = type == ScalarType::c128 ? 4.3e-6 : 2.3e-6;
  m.block_seconds = 65e-6;
  m.reflect_seconds = type == ScalarType::c128 ? 6.4e-6 : type == ScalarType::f32 ? 3.5e-6 : 3.2e-6;
  m.polar_efficiency = 0.77;
  m.polar_seconds = 2e-6;
  m.tile_seconds = 0.13e-3;
  m.step_seconds = 65e-6;
  // Two and four H100: benchmarks/results, 2026-11-27, sweeps. Complex: four H200, and an estimate for complex64.
  m.unknown_seconds = type == ScalarType::f32   ? 17e-9
                      : type == ScalarType::f64 ? 23e-9
                      : type == ScalarType::c64 ? 50e-9
                                                : 105e-9;
  m.sweep_bytes = type == ScalarType::f32 ? 1.4e12 : 2.15e12;
  m.begin_seconds = 0.4e-3;
  m.trsm_seconds = type == ScalarType::c128 ? 120e-9 : 75e-9;
  m.round_seconds = 40e-6;
  m.several_seconds = 0.4e-6;
  m.panel_seconds = 0.3e-3;
  m.sweep_seconds = 1e-7;
  m.chase_seconds = 2.4e-12;
  m.count_seconds = 4.3e-7;  // one H100
  m.value_seconds = 3.9e-11;
  m.column_seconds = 95e-6;
  m.syevd_seconds = 10e-6;
  m.memory_bytes = 3e12;
  return m;
}

// Measured on two x86 cores; ranks share the cores of the machine.
Machine x86(ScalarType type, double ranks) {
  const double cores = std::max(1u, std::thread::hardware_concurrency());
  Machine m{};
  m.flops = 25e9 * (single(type) ? 2 : 1) * cores / ranks;
  m.thin_flops = m.waves_flops = 0.8 * m.flops;
  // A program that does nothing takes 0.19 ms on four devices, and a solve of n = 64 0.24 ms.
  m.call_seconds = 20e-6;
  m.device_seconds = 50e-6;
  m.polar_efficiency = 1;
  m.step_seconds = m.panel_seconds = 20e-6 * ranks;
  m.chase_seconds = 1e-9 * std::max(1.0, ranks / cores);
  m.memory_bytes = 5e9;
  return m;
}

double given(double value, double otherwise) { return value > 0 ? value : otherwise; }

// Between hosts, one after another: what a message costs the rank that sends it (assumed, as networks are).
constexpr double message_seconds = 1e-6;

// Columns of a block of a grid.
constexpr double grid_block = 1024;

// Steps of a polar decomposition, as for a condition of 1e8: a Gram matrix (n^3), a Cholesky factorisation and two
// solves (2 n^3) each; then two products of 2 n^3. Every stage broadcasts a matrix.
constexpr double polar_steps = 6, polar_cubes = 3 * polar_steps + 4, polar_broadcasts = 2 * polar_steps + 3;

// Of two lanes, the shorter one delays the longer one by a quarter of its time: they share the multiprocessors and the
// memory. LU of 16384, 32768 and 65536 columns takes 0.079, 0.25 and 1.24 s on four H200, QR 0.108, 0.417 and 2.37 s.
double beside(double one, double other) { return std::max(one, other) + std::min(one, other) / 4; }

// Tensor cores multiply this many times faster. One rank has all of the panels' rows, whose solves gain less: on one
// H200, a Cholesky factorisation of order 32768 takes 0.109 s with TF32 and 0.136 s with two FP16 numbers. On four, the
// orders 32768, 65536 and 131072 take 0.041, 0.17 and 1.2 s with TF32, and LU of order 65536 0.52 s with two numbers.
double speedup(Arithmetic arithmetic, double ranks) {
  if (arithmetic == Arithmetic::full) return 1;
  const bool tf32 = arithmetic == Arithmetic::tf32;
  return ranks > 1 ? (tf32 ? 3.4 : 2.5) : (tf32 ? 2.7 : 2.15);
}

}  // namespace

CostModel::CostModel(Platform platform, ScalarType type, std::int64_t ranks, const Network& network)
    : machine_(platform == Platform::cuda ? h200(type) : x86(type, static_cast<double>(ranks))),
      type_(type),
      ranks_(static_cast<double>(ranks)),
      per_host_(std::ceil(ranks_ / static_cast<double>(network.hosts))),
      size_(static_cast<double>(size_of(type))),
      fma_(flops_per_fma(type) / 2),
      link_bytes_(given(network.link_bytes, platform == Platform::cuda ? 300e9 : 5e9)),
      network_bytes_(given(network.network_bytes, platform == Platform::cuda ? 50e9 : 1e9)),
      network_seconds_(given(network.network_seconds, 15e-6)) {
  if (network.hosts < 1 || network.hosts > ranks) {
    throw Error(ErrorCode::invalid_argument, "the number of hosts must be from 1 to that of devices, " +
                                                 std::to_string(ranks) + ", got " + std::to_string(network.hosts));
  }
}

// On four H200, a program that does nothing takes 0.12 ms, and one that deals a small matrix 0.24 ms; on one, 0.07 and
// 0.12 ms. Solves with a kept factor take longer than that and their work: by 0.1 ms on two and 0.3 ms on four for n =
// 1024, where one rank works, and by 0.7 ms from n = 16384 on, where all ranks sweep (the sweeps alone are of
// benchmarks/results, 2026-11-27). Why is not known. A host is assumed to drive eight devices at most.
double CostModel::call(bool kept, bool sweeps) const {
  const double device = machine_.device_seconds + (kept ? machine_.kept_seconds : 0);
  return machine_.call_seconds + std::min(ranks_, 8.0) * device + (sweeps && ranks_ > 1 ? machine_.begin_seconds : 0);
}

double CostModel::transposition(double n) const {
  const double shard = elements(n * n / ranks_);
  return 4 * shard / machine_.memory_bytes + shard / (several_hosts() ? network_bytes_ : link_bytes_);
}

// What an exchange takes beyond its bytes, and beyond what the chains of one host have in them.
double ColumnsCost::exchange() const {
  return several_hosts() ? network_seconds_ + (ranks_ - per_host_) * message_seconds : 0;
}

// `sources` ranks have equal parts of `bytes`, and send them to each of the others.
double ColumnsCost::spread(double bytes, double sources) const {
  const double part = bytes / std::min(sources, ranks_);
  return part * ((per_host_ - 1) / link_bytes_ + (ranks_ - per_host_) / network_bytes_);
}

double ColumnsCost::deal(double bytes) const { return ranks_ > 1 ? spread(bytes, ranks_) + exchange() : 0; }

// Each pivot takes the longest of its updates, of what is sent for them, and of its part of the chain.
double ColumnsCost::potrf(std::int64_t order, std::int64_t tile, std::int64_t pivot, Arithmetic arithmetic) const {
  const double n = static_cast<double>(order), width = static_cast<double>(tile);
  if (ranks_ == 1 && arithmetic == Arithmetic::full)
    return fma_ * n * n * n / 3 / machine_.flops + n * machine_.potrf_seconds;
  const double depth = static_cast<double>(std::min(pivot, order)), owners = std::max(1.0, depth / width);
  const double square = elements(depth * depth);
  // The diagonal block and the near rows come together and go to all.
  const double chain = depth * machine_.pivot_seconds + spread(square, 1) + spread(square, owners) + 4 * exchange() +
                       2 * square / (several_hosts() ? network_bytes_ : link_bytes_);
  double seconds = 0;
  for (double done = 0; done < n; done += depth) {
    const double left = n - done, after = std::max(0.0, left - depth);
    // Some rank has half a tile column more than its share.
    const double products = fma_ * ((left * left * left - after * after * after) / 3 / ranks_ + left * width * depth);
    seconds += std::max({products / speedup(arithmetic, ranks_) / rate(depth),
                         spread(elements(after * depth), ranks_) + exchange(), chain});
  }
  return seconds;
}

// Two sweeps with a factor.
double ColumnsCost::potrs(std::int64_t order, std::int64_t nrhs, std::int64_t tile, std::int64_t pivot,
                          bool distributed) const {
  const double n = static_cast<double>(order), width = static_cast<double>(tile), columns = static_cast<double>(nrhs);
  const double products = 2 * fma_ * n * n * columns / rate(static_cast<double>(pivot));
  // By cuBLAS: for one sweep, one H200 takes 0.25 ms longer if n = 4096 than if n = 1024.
  if (ranks_ == 1 && nrhs == 1) return std::max({products, pass(elements(n * n)), 2 * n * machine_.trsm_seconds});
  if (distributed) return std::max(products / ranks_, 2 * spread(elements(n * n / 2), ranks_));
  const double solve = columns > 1 ? width * machine_.several_seconds : 0;
  const double send = ranks_ > 1 ? step() + spread(elements(width * columns), 1) : 0;
  return std::max(products, pass(elements(n * n / ranks_)) + 2 * n / width * (solve + send));
}

// The same with a kept factor: few right-hand sides by one kernel on each GPU. (Times of solves along with a
// factorisation were measured without it.) The kernels read elements as they are needed, below the rate of the memory.
double ColumnsCost::sweeps(std::int64_t order, std::int64_t nrhs, std::int64_t tile, std::int64_t pivot,
                           bool distributed) const {
  const double n = static_cast<double>(order);
  const auto [most, batch] =
      dispatch(type_, []<class T>() { return std::pair{most_sweep_columns<T>, sweep_batch<T>}; });
  if (machine_.unknown_seconds > 0 && ranks_ > 1 && !several_hosts() && nrhs <= most) {
    // The chain of several right-hand sides at once takes 4 times as long.
    const bool several = nrhs > 1 && batch > 1;
    const double chain = n * machine_.unknown_seconds * (several ? 4 : 1);
    const auto sweeps = static_cast<double>(several ? 2 : 2 * nrhs);
    return sweeps * (chain + elements(n * n / 2 / ranks_) / machine_.sweep_bytes);
  }
  return potrs(order, nrhs, tile, pivot, distributed);
}

// GPUs read the triangle once for one vector; the first rank has (2P - 1) / P^2 of it, in the longest columns.
double ColumnsCost::hemm(std::int64_t order, std::int64_t nrhs, std::int64_t tile) const {
  const double n = static_cast<double>(order), columns = static_cast<double>(nrhs), width = static_cast<double>(tile);
  const double sum = ranks_ > 1 ? step() + spread(elements(n * columns), ranks_) : 0;
  if (machine_.unknown_seconds > 0 && nrhs == 1) {
    return elements(n * n / 2 * (2 * ranks_ - 1) / (ranks_ * ranks_)) / machine_.memory_bytes + sum;
  }
  const double products = 2 * fma_ * n * n * columns / ranks_ / rate(width);
  return std::max(products, pass(elements(n * n / 2 / ranks_)) + n / ranks_ / width * machine_.step_seconds) + sum;
}

double ColumnsCost::equilibrate(std::int64_t order, bool triangle) const {
  const double n = static_cast<double>(order), share = n * n / ranks_;
  const double read = triangle ? share * (2 * ranks_ - 1) / (2 * ranks_) : share;
  return step() + pass((elements(read) + elements(share) * (single(type_) ? 1 : 0.5)) / 2);
}

// Two stages of products, of which each is sent half a matrix: rows of L that all have, columns of Y that some have. In
// the first, every block of rows waits for the solve with its diagonal block: for n = 1024, 2048, 4096 and 6144, one
// H200 (f64) takes 0.9, 1.7, 4.4 and 8.7 ms for the inverse from the factor, of which products and passes are 0.1, 0.3,
// 1.7 and 5.1 ms.
double ColumnsCost::potri(std::int64_t order, std::int64_t tile, std::int64_t pivot) const {
  const double n = static_cast<double>(order), depth = static_cast<double>(std::min(pivot, order));
  const double half = elements(n * n / 2), owners = std::max(1.0, depth / static_cast<double>(tile));
  const double latencies = n / depth * exchange();
  // Each stage works on whole squares at the diagonal.
  const double products = fma_ * (n * n * n / 3 + n * n * depth) / ranks_ / rate(depth);
  const double shard = elements(n * n / ranks_);
  return std::max(products, spread(half, ranks_) + latencies) + std::max(products, spread(half, owners) + latencies) +
         n * machine_.potri_seconds + pass(shard) + 2 * deal(shard);
}

// Each tile column takes the longer of its updates and its part of the chain: the panel, which is sent from one rank to
// all, and the update of the next tile column. Of panels of 512, 1024, 4096, 16384 and 65536 rows the kernel factors 32
// columns in 53, 55, 63, 73 and 102 us, and to 256 columns the products between these take 0.16, 0.19, 0.19, 0.23 and
// 0.42 ms (H100, f64): together 2.3 to 4.9 us a column, the search for a pivot and seven passes.
//
// One rank leaves the matrix to cuSOLVER, whose columns of 1024, 4096, 16384 and 65536 rows take 2.3, 3.3, 4.4 and 6.7
// us: about the fourth root.
double ColumnsCost::getrf(std::int64_t order, std::int64_t tile, std::int64_t depth, Arithmetic arithmetic) const {
  const double n = static_cast<double>(order), width = static_cast<double>(std::min(tile, order));
  // Single panels have no parts in FP16.
  const double faster = speedup(arithmetic, ranks_), faster_alone = arithmetic == Arithmetic::fp16x2 ? 1 : faster;
  if (ranks_ == 1 && arithmetic == Arithmetic::full) {
    constexpr double efficiency = 0.75;
    return fma_ * 2 * n * n * n / 3 / (efficiency * machine_.flops) +
           n * machine_.getrf_seconds * std::sqrt(std::sqrt(n / 1024));
  }
  const auto panel = [&](double rows) { return machine_.search_seconds + 7 * pass(elements(rows)); };
  double seconds = 0;
  for (double done = 0; done < n; done += width) {
    const double left = n - done, after = std::max(0.0, left - width);
    const double next = fma_ * 2 * left * width * width / faster_alone / rate(width);
    const double chain = width * panel(left) + spread(elements(left * width), 1) + exchange() + 2 * next;
    // Block columns become narrower towards the end, see block_columns(). Their panels update most columns together,
    // and half of each other's columns alone. Of the panel, too; some rank has half a tile column more than its share.
    double together = std::max(static_cast<double>(depth), width);
    while (together > std::max<double>(width, shallow) && together * 16 > left) together /= 2;
    const double alone = (1 + (together / width - 1) / 2 / ranks_) * left * width * width;
    const double products =
        fma_ * 2 * (after * after * width / ranks_ / faster / rate(together) + alone / faster_alone / rate(width));
    seconds += beside(products, chain);
  }
  return seconds + pass(elements(n * n / ranks_));
}

// Two triangular inverses and their product, of which each is sent half a matrix from one rank after another; and two
// all-to-alls.
double ColumnsCost::getri(std::int64_t order, std::int64_t tile) const {
  const double n = static_cast<double>(order), width = static_cast<double>(std::min(tile, order));
  const double products = fma_ * 4 / 3 * n * n * (n + width) / ranks_ / rate(width);
  const double sends = 3 * (spread(elements(n * n / 2), 1) + n / width * exchange());
  const double shard = elements(n * n / ranks_);
  return std::max(products, sends) + 3 * pass(shard) + 3 * deal(shard);
}

// Columns that a kernel factors at once, routines/geqrf.h; the depth of the products within a panel.
static constexpr double reflected = 64;

// As getrf: the longer of the updates of a tile column and its part of the chain, the panel and the update of the next
// one. A panel consists of leaves, which one kernel factors by Gram matrices or column by column, and of as many
// operations in the products between them as in the update of the next panel, at the rate of their depth. On four H200,
// 1024, 4096, 16384, 32768 and 65536 columns take 4.0, 15.0, 108, 417 and 2370 ms.
double ColumnsCost::geqrf(std::int64_t rows, std::int64_t columns, std::int64_t tile) const {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns), k = std::min(m, n);
  const double width = std::min(static_cast<double>(tile), k);
  const double leaf = type_ == ScalarType::c128 ? reflected / 2 : reflected;
  double seconds = 0;
  for (double done = 0; done < k; done += width) {
    const double left = m - done, after = std::max(0.0, n - done - width);
    const double next = fma_ * 4 * left * width * width / rate(width);
    const double panel = width * (machine_.reflect_seconds + 4 * pass(elements(left))) +
                         fma_ * 4 * left * width * width / rate(std::min(leaf, width));
    const double chain = panel + next + (ranks_ > 1 ? spread(elements(left * width), 1) + exchange() : 0);
    // Some rank has half a tile column more than its share.
    const double products = fma_ * 4 * left * width * (after / ranks_ + width / 2);
    // On CPUs, it has not been measured what lanes take of each other.
    const double all = products / rate(width);
    seconds += machine_.block_seconds > 0 ? beside(all, chain) : std::max(all, chain);
  }
  return seconds;
}

// Reflectors are broadcast, and applied to the columns after them, one block at a time.
double ColumnsCost::orgqr(std::int64_t rows, std::int64_t columns, std::int64_t tile) const {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns), k = std::min(m, n);
  const double width = std::min(static_cast<double>(tile), k), area = m * k - k * k / 2;
  const double products = fma_ * 2 * (m * k * k - k * k * k / 3) / ranks_ / rate(width);
  const double sends = ranks_ > 1 ? spread(elements(area), 1) + k / width * exchange() : 0;
  const double launches = ranks_ > 1 ? k / width * machine_.block_seconds : 0;
  return std::max(products, sends) + launches + pass(elements(m * n / ranks_));
}

// Two Gram matrices of own rows and the products with the inverses of their factors, each of which passes over the
// rows; an all-gather of each Gram matrix; and two Cholesky factorisations and a QR factorisation of order n on every
// rank.
double ColumnsCost::tsqr(std::int64_t rows, std::int64_t columns, bool vectors) const {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns), share = std::ceil(m / ranks_);
  const double products = fma_ * 2 * share * n * n * (vectors ? 3 : 2.5) / rate(n);
  const double replicated =
      fma_ * 8 * n * n * n / rate(n) + n * (2 * machine_.potrf_seconds + machine_.reflect_seconds);
  const double gathers = ranks_ > 1 ? 2 * (spread(elements(n * n), 1) + exchange()) : 0;
  const double rounds = 2 * (1 + ranks_) * machine_.round_seconds;
  return std::max(products, (vectors ? 3 : 2) * pass(elements(share * n))) + replicated + gathers + rounds;
}

static constexpr double seminormal_steps = 3;

// Columns of a Gram matrix in one product, algorithms/qr/tsqr.h: its rate is that of products of this depth.
static constexpr double gram_width = 256;

// The lower triangle of one Gram matrix, and a pass over the rows that tries its factor; on GPUs, float32 is rounded to
// FP16 before. The trial solves twice for three vectors and the right-hand sides.
double ColumnsCost::tall_gels(std::int64_t rows, std::int64_t columns) const {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns), share = std::ceil(m / ranks_);
  const bool rounded = machine_.half_flops > 0 && type_ == ScalarType::f32;
  const double products = rounded ? 1.25 * share * n * n / machine_.half_flops + 0.75 * pass(elements(share * n))
                                  : fma_ * 1.25 * share * n * n / rate(std::min(gram_width, n));
  const double replicated = fma_ * n * n * n / 3 / rate(n) + n * machine_.potrf_seconds;
  const double gather = ranks_ > 1 ? spread(elements(n * n), 1) + 3 * exchange() : 0;
  const double trial =
      2 * n * (machine_.trsm_seconds + machine_.several_seconds) + (1 + ranks_) * machine_.round_seconds;
  return std::max(products, pass(elements(share * n))) + pass(elements(share * n)) / 2 + replicated + gather + trial;
}

// The factor and the first step, in one pass over the rows, which costs as much as the trial of the factor alone for
// one right-hand side; where the Gram matrix is not rounded, another step.
double ColumnsCost::getsls(std::int64_t rows, std::int64_t columns, std::int64_t nrhs) const {
  const bool rounded = machine_.half_flops > 0 && type_ == ScalarType::f32 && nrhs == 1;
  const double step = seminormal(rows, columns, nrhs) / seminormal_steps;
  return tall_gels(rows, columns) + (rounded ? 0 : step);
}

// Some steps, each of which reads the rows once for four right-hand sides, and solves with R twice on every rank.
double ColumnsCost::seminormal(std::int64_t rows, std::int64_t columns, std::int64_t nrhs) const {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns), share = std::ceil(m / ranks_);
  const double count = static_cast<double>(nrhs);
  const double products = fma_ * 4 * share * n * count / machine_.thin_flops;
  const double reads = std::ceil(count / 4) * pass(elements(share * n)) / 2;
  const double solve = n * (machine_.trsm_seconds + (nrhs > 1 ? machine_.several_seconds : 0));
  return seminormal_steps * (std::max(products, reads) + 2 * solve + (1 + ranks_) * machine_.round_seconds +
                             (ranks_ > 1 ? 2 * exchange() : 0));
}

// Own columns of many, or all of few on one rank after another.
double ColumnsCost::ormqr(std::int64_t rows, std::int64_t columns, std::int64_t nrhs, std::int64_t tile,
                          bool distributed) const {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns), k = std::min(m, n);
  const double width = std::min(static_cast<double>(tile), k), area = m * k - k * k / 2;
  const double products = fma_ * 4 * area * static_cast<double>(nrhs) / rate(width);
  if (distributed) return std::max(products / ranks_, spread(elements(area), 1) + k / width * exchange());
  const double send = ranks_ > 1 ? step() + elements(m * static_cast<double>(nrhs)) / link_bytes_ : 0;
  return std::max(products, 2 * pass(elements(area))) + k / width * send;
}

// Each step also makes two adjoints. The chains of the solves and of the inverse iterations add a price of a column and
// of a tile, and products at diagonal blocks are short: fitted to four H200, f64, 0.024, 0.091 and 1.02 s for n = 1024,
// 4096 and 16384, and to singular value decompositions of 4096 columns in tiles of 64.
double ColumnsCost::polar(std::int64_t order, std::int64_t tile, std::int64_t depth) const {
  const double n = static_cast<double>(order), matrix = elements(n * n);
  const double products =
      fma_ * polar_cubes * n * n * n / ranks_ / (machine_.polar_efficiency * rate(static_cast<double>(depth)));
  const double moved =
      ranks_ > 1 ? spread(polar_broadcasts * matrix, ranks_) + 2 * polar_steps * deal(matrix / ranks_) : 0;
  const double passes = (2 * polar_steps + 2) * pass(matrix / ranks_);
  const double chains = n * machine_.polar_seconds + n / static_cast<double>(tile) * machine_.tile_seconds;
  return std::max(products, moved) + passes + polar_steps * (potrf(order, tile, depth) + chains);
}

// In one stage, as on a grid. On one H200 (f64), 1024 and 2048 columns take 11.3 and 27.5 ms, with eigenvectors or not.
double ColumnsCost::library_syevd(std::int64_t order, std::int64_t wanted, std::int64_t bandwidth) const {
  if (machine_.syevd_seconds == 0) return syevd(order, wanted, bandwidth, false);
  const double n = static_cast<double>(order), vectors = static_cast<double>(wanted);
  double products = fma_ * 2 / 3 * n * n * n;
  if (vectors > 0) products += (4.0 / 3 * n + fma_ * 2 * vectors) * n * n;
  return n * machine_.syevd_seconds + elements(n * n * n / 3) / machine_.memory_bytes + products / machine_.thin_flops;
}

double ColumnsCost::syevd(std::int64_t order, std::int64_t wanted, std::int64_t bandwidth, bool shared) const {
  const double n = static_cast<double>(order), b = static_cast<double>(bandwidth), rank_flops = machine_.thin_flops;
  const double vectors = static_cast<double>(wanted), half = elements(n * n / 2);
  const bool several = ranks_ > 1;
  // To a band: A V and the update, 2 n^3. One rank sends a panel, all send W; three exchanges for each.
  double seconds = fma_ * 2 * n * n * n / (ranks_ * rank_flops) + n / b * (machine_.panel_seconds + 3 * exchange());
  if (several) seconds += deal(elements(n * n / ranks_)) + spread(half, 1) + spread(half, ranks_);
  seconds += std::max(n * b * machine_.sweep_seconds, n * n * b * machine_.chase_seconds);
  // Bisection: counts take as long as their longest chain, or as all of them.
  if (vectors == 0) return seconds + std::max(n * machine_.count_seconds, n * n / ranks_ * machine_.value_seconds);
  // The last merge, n^2 real ones for each vector, and those before it, n^3 / 3.
  seconds += (n / 3 + vectors) * n * n / (ranks_ * rank_flops);
  // Q2, 4 n^2 for each vector, and Q1, 2 n^2, while their reflectors are sent.
  const double square = fma_ * vectors * n * n / ranks_;
  seconds += std::max(4 * square / machine_.waves_flops, shared ? spread(half, ranks_) : 0) +
             std::max(2 * square / rank_flops, spread(half, 1));
  // From rows to columns, and each rank's columns to rows of V^H.
  const double share = elements(vectors * n / ranks_);
  return seconds + deal(share) + 2 * pass(share);
}

// To bidiagonal form in one stage, 8/3 n^3: half of that are products with one vector, which read what is left of the
// matrix twice for each column. With vectors the merges, 8/3 n^3 real ones, and the way back of U and V, 2 n^3 each.
double ColumnsCost::gesdd(std::int64_t order, std::int64_t vectors) const {
  const double n = static_cast<double>(order), cube = n * n * n;
  double products = fma_ * 4 / 3 * cube;
  if (vectors > 0) products += (8.0 / 3 + 4 * fma_) * cube;
  return elements(2 * cube / 3) / machine_.memory_bytes + products / machine_.flops;
}

// Fitted to what four H200 take, f64: seconds for n = 16384, 32768, 65536 and 131072 of potrf 0.048, 0.17, 0.83 and
// 4.8, of potrs (one right-hand side) 0.023, 0.059, 0.21 and 0.81; for the first two of potri 0.58 and 3.2; for 8192
// and 16384 of syevd 1.9 and 5.6. Each column has a price, besides the products.
double CusolverMgCost::potrf(std::int64_t order) const {
  const double n = static_cast<double>(order);
  return n * 3e-6 + fma_ * n * n * n / 3 / ranks_ / (0.72 * machine_.flops);
}

double CusolverMgCost::potrs(std::int64_t order, std::int64_t nrhs) const {
  const double n = static_cast<double>(order), products = 2 * fma_ * n * n * static_cast<double>(nrhs);
  return n * 0.7e-6 + std::max(elements(n * n) / 190e9, products / machine_.flops);
}

double CusolverMgCost::potri(std::int64_t order) const {
  const double n = static_cast<double>(order);
  return n * 15e-6 + fma_ * 2 * n * n * n / 3 / ranks_ / (0.038 * machine_.flops);
}

// Not measured: potrf's rate for twice its products, and the price of a column that potri has, because every column has
// a pivot to be found. A has to be transposed.
double CusolverMgCost::gesv(std::int64_t order, std::int64_t nrhs) const {
  const double n = static_cast<double>(order);
  return transposition(n) + n * 15e-6 + 2 * (potrf(order) - n * 3e-6) + potrs(order, nrhs);
}

double CusolverMgCost::syevd(std::int64_t order) const {
  const double n = static_cast<double>(order);
  return n * 190e-6 + fma_ * 4 * n * n * n / 3 / ranks_ / (0.0105 * machine_.flops);
}

// As square as possible.
GridCost::GridCost(Platform platform, ScalarType type, std::int64_t ranks, const Network& network)
    : CostModel(platform, type, ranks, network) {
  auto rows = static_cast<std::int64_t>(std::sqrt(ranks_));
  while (ranks % rows != 0) --rows;
  rows_ = static_cast<double>(rows);
  columns_ = ranks_ / rows_;
}

// Among `ranks` of the grid, pipelined.
double GridCost::broadcast(double bytes, double ranks, bool hosts) const {
  if (ranks == 1) return 0;
  return hosts ? bytes / network_bytes_ + std::ceil(std::log2(ranks)) * network_seconds_ : bytes / link_bytes_;
}

// Columns of the grid stand on as few hosts as can be, rows on as many.
double GridCost::along_column(double bytes) const { return broadcast(bytes, rows_, rows_ > per_host_); }
double GridCost::along_row(double bytes) const { return broadcast(bytes, columns_, several_hosts()); }

// The panels, one after another: cuSOLVERMp does not hide them behind the updates of those before.
double GridCost::potrf(std::int64_t order) const {
  const double n = static_cast<double>(order), depth = std::min(grid_block, n);
  double seconds = 0;
  for (double done = 0; done < n; done += depth) {
    const double left = n - done, after = std::max(0.0, left - depth);
    const double chain = depth * machine_.pivot_seconds + along_column(elements(depth * depth));
    const double panel = fma_ * after / rows_ * depth * depth / rate(depth) +
                         along_row(elements(after * depth / rows_)) + along_column(elements(after * depth / columns_));
    const double products = (left * left * left - after * after * after) / 3 / ranks_ +
                            left * depth * depth / 2 * (1 / rows_ + 1 / columns_);
    seconds += chain + panel + fma_ * products / rate(depth);
  }
  return seconds;
}

double GridCost::potrs(std::int64_t order, std::int64_t nrhs) const {
  const double n = static_cast<double>(order), depth = std::min(grid_block, n), columns = static_cast<double>(nrhs);
  const double piece = elements(depth * columns);
  const double step = machine_.step_seconds + depth * machine_.several_seconds + along_column(piece) + along_row(piece);
  const double work =
      std::max(2 * elements(n * n / ranks_) / machine_.memory_bytes, 2 * fma_ * n * n * columns / ranks_ / rate(depth));
  return work + 2 * n / depth * step;
}

// Every column of a panel has its pivot searched for down a column of the grid; right-hand sides are solved for one
// after another. A has to be transposed. The search is fitted to what four H200 take, f64: 0.254 and 0.702 s for n =
// 16384 and 32768.
double GridCost::gesv(std::int64_t order, std::int64_t nrhs) const {
  const double n = static_cast<double>(order), search = n * (10e-6 + along_column(elements(1)));
  return transposition(n) + search + 2 * potrf(order) + static_cast<double>(nrhs) * potrs(order, 1);
}

// Not measured on several GPUs. Every column of a panel has its norm summed down a column of the grid, and its products
// with the others again: two steps of a chain. A is sent to the grid and back.
double GridCost::geqrf(std::int64_t rows, std::int64_t columns) const {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns), k = std::min(m, n);
  const double depth = std::min(grid_block, k), area = m * k - k * k / 2;
  const double chain = 2 * k * (machine_.step_seconds + along_column(elements(1)));
  const double panels = fma_ * 4 * area * depth / rows_ / rate(depth) + along_row(elements(area / rows_));
  const double products = fma_ * (4 * m * n * k - 2 * (m + n) * k * k + 4 * k * k * k / 3) / ranks_ / rate(depth);
  return 2 * transposition(std::sqrt(m * n)) + chain + panels + products;
}

// Not measured: as ColumnsCost has it, by products on the grid.
double GridCost::polar(std::int64_t order) const {
  const double n = static_cast<double>(order), depth = std::min(grid_block, n);
  const double products = fma_ * polar_cubes * n * n * n / ranks_ / rate(depth);
  const double moved =
      polar_broadcasts * (along_row(elements(n * n / rows_)) + along_column(elements(n * n / columns_)));
  const double chains = n * machine_.polar_seconds + n / depth * machine_.tile_seconds;
  return products + moved + polar_steps * (potrf(order) + chains);
}

// In one stage: half of its work are products of the matrix with one vector, which read what is left of it.
double GridCost::syevd(std::int64_t order, std::int64_t wanted) const {
  const double n = static_cast<double>(order), vectors = static_cast<double>(wanted);
  const double column =
      machine_.column_seconds + (several_hosts() ? 2 * std::ceil(std::log2(ranks_)) * network_seconds_ : 0);
  const double reads = elements(n * n * n / 3) / ranks_ / machine_.memory_bytes;
  const double volume = elements(n * n) * (1 / rows_ + 1 / columns_) / (several_hosts() ? network_bytes_ : link_bytes_);
  // The update 2/3 n^3; with vectors the merges 4/3 n^3 and the way back, 2 n^2 for each vector.
  double products = fma_ * 2 / 3 * n * n * n;
  if (vectors > 0) products += (4.0 / 3 * n + fma_ * 2 * vectors) * n * n;
  return n * column + reads + (ranks_ > 1 ? volume : 0) + products / ranks_ / machine_.thin_flops;
}

}  // namespace jaxmg
