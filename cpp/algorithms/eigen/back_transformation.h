// Back-transformation Z = Q2 Z of eigenvectors from tridiagonal to band form.
//
// If every rank keeps all reflectors of bulge chasing, the eigenvectors, which are dealt by columns, are transformed
// without communication. If that takes too much memory, each rank keeps a share of every block. The ranks then
// all-gather the reflectors of the next products while the current products run.
//
// Reflectors of length b applied one by one would make this a sequence of vector operations. Instead the reflectors of
// b sweeps are multiplied out to diamonds (engine/diamonds.h), orthogonal matrices of order 2b, and all diamonds of a
// wave are applied by one batch of products (compare Auckenthaler et al., Parallel solution of partial symmetric
// eigenvalue problems from electronic structure calculations, Parallel Computing 37, 2011, who apply them one by one).
// A diamond takes as many operations as its b vectors in their compact WY form, but in one product instead of two.
//
// An engine that keeps strips of Z on the chip does better: apply_waves (engine/band_ops.h) applies many waves in
// place, in fewer operations.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "core/arena.h"
#include "core/batch.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/band_ops.h"
#include "engine/diamonds.h"
#include "engine/engine.h"
#include "engine/reflectors.h"
#include "engine/scratch.h"

namespace jaxmg {

// Number of merge levels worth their cost, for eigenvectors transformed `columns` at a time. Applying diamonds of any
// width w takes 4 n^2 operations per column, and forming them takes about 5 n^2 w, half of it merging. However, an H200
// (f64) applies diamonds of width 128 at 52 Tflop/s, and of width 64 at 42.
inline int merge_levels(std::int64_t columns, std::int64_t b) {
  int levels = 0;
  while (b > 1 && (2 * b << levels) <= 128 && (16 * b << levels) <= columns) ++levels;
  return levels;
}

// Workspace for eigenvectors transformed `columns` at a time, or in place. Each round forms the diamonds again, as many
// at a time as fit into the space of `room` diamonds of order 2b, at least least_diamonds(n, b). If that space holds
// merged diamonds and their parts, they are merged up to `most_levels` times. Shared reflectors arrive in windows for
// the same number of diamonds. In place, the same space holds block reflectors, and the windows.
template <class T>
struct BackTransformationWorkspace {
  // Strips begin at row 1. GEMMs are fast if they begin at a multiple of this many elements.
  static constexpr std::int64_t aligned = std::max<std::int64_t>(1, 16 / static_cast<std::int64_t>(sizeof(T)));

  MatrixView<T> other;  // the eigenvectors before or after each wave, from row aligned - 1 on
  int levels = 0;
  std::int64_t at_once;  // merged diamonds
  T* diamonds;
  T* parts = nullptr;   // of merged diamonds
  T* halves = nullptr;  // intermediate products
  std::int64_t window_blocks = 0;
  std::array<T*, 2> windows{};  // of shared reflectors
  bool in_place = false;
  T* blocks = nullptr;               // scratch of apply_waves
  std::int32_t* progress = nullptr;  // the same

  BackTransformationWorkspace(Arena& arena, std::int64_t n, std::int64_t b, std::int64_t columns, std::int64_t room,
                              int most_levels, bool shared)
      : other(arena.matrix<T>((n + 2 * aligned - 2) / aligned * aligned, columns)),
        at_once(room),
        diamonds(arena.take<T>(room * 4 * b * b)) {
    for (int level = 1; level <= most_levels; ++level) {
      // The parts are as large as the diamonds, and the products half as large.
      const std::int64_t fitting = 2 * room / 5 >> (2 * level);
      if (fitting < least_diamonds(n, b << level)) break;
      levels = level;
      at_once = fitting;
    }
    if (shared) {
      // At either end, merged waves share 2^levels - 1 fine waves with their neighbours.
      const std::int64_t of_neighbours = 2 * ((1 << levels) - 1) * least_diamonds(n, b);
      window_blocks = std::min((at_once << (2 * levels)) + of_neighbours, DiamondGrid{n, b}.diamonds());
      for (T*& window : windows) window = arena.take<T>(window_blocks * b * b);
    }
    if (diamonds == nullptr || levels == 0) return;
    const std::int64_t order = 2 * b << levels;
    parts = diamonds + order * order * at_once;
    halves = parts + order * order * at_once;
  }
  BackTransformationWorkspace(Arena& arena, std::int64_t n, std::int64_t b, std::int64_t columns, std::int64_t room,
                              bool shared)
      : BackTransformationWorkspace(arena, n, b, columns, room, merge_levels(columns, b), shared) {}

  // For at most `columns` eigenvectors, in place.
  static BackTransformationWorkspace for_waves(Arena& arena, std::int64_t n, std::int64_t b, std::int64_t columns,
                                               std::int64_t room, bool shared) {
    return {arena, n, b, columns, room, shared, InPlace{}};
  }

  // The number of diamonds of a given width in the longest wave, which must fit.
  static std::int64_t least_diamonds(std::int64_t n, std::int64_t width) { return n / (2 * width) + 1; }

 private:
  struct InPlace {};
  BackTransformationWorkspace(Arena& arena, std::int64_t n, std::int64_t b, std::int64_t columns, std::int64_t room,
                              bool shared, InPlace)
      : diamonds(nullptr), in_place(true) {
    const DiamondGrid grid{n, b};
    const std::int64_t each = block_reflector_numbers(b) + (shared ? 2 * b * b : 0);
    const std::int64_t all = b < 2 ? 0 : grid.diamonds();
    at_once = std::min(std::max(least_diamonds(n, b), room * 4 * b * b / each), all);
    blocks = arena.take<T>(at_once * block_reflector_numbers(b));
    progress = arena.take<std::int32_t>(wave_progress(grid, columns));
    if (!shared) return;
    window_blocks = at_once;
    for (T*& window : windows) window = arena.take<T>(window_blocks * b * b);
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && BandOps<E, T>
class BackTransformation {
 public:
  BackTransformation(E& engine, Lane lane, const Reflectors<T>& q2, BackTransformationWorkspace<T>& workspace)
      : e_(engine), lane_(lane), q2_(q2), w_(workspace), grid_{q2.n, q2.b << workspace.levels} {
    if (q2_.blocks() > 0) make_chunks();
  }

  // Z = Q2 Z, where no rank has more than `share` columns. Every rank must make this call, even without columns: it may
  // hold reflectors that other ranks need.
  void run(MatrixView<T> z, std::int64_t share);

 private:
  using Event = typename E::Event;
  static constexpr Lane sending = Lane::panel;  // more urgent than the products, which wait for it

  // Chunk: waves [begin, end) whose diamonds are formed together, from blocks [from, to) in the order of the small
  // waves.
  struct Chunk {
    std::int64_t begin, end;
    std::vector<Wave> waves;
    std::int64_t diamonds;
    std::int64_t from, to;
  };

  // Divides the waves into chunks of as many waves as fit.
  void make_chunks() {
    const DiamondGrid small = q2_.grid();
    const std::int64_t merged = std::int64_t{1} << w_.levels;
    // The small wave in the middle of a wave of merged diamonds.
    const auto middle = [&](std::int64_t w) { return merged * (w - grid_.groups() + 1) + small.groups() - 1; };
    for (std::int64_t w = 0; w < grid_.waves();) {
      Chunk chunk{};
      const std::int64_t first = w;
      for (; w < grid_.waves() && chunk.diamonds + grid_.wave(w).count <= w_.at_once; ++w) {
        chunk.waves.push_back(grid_.wave(w));
        chunk.diamonds += chunk.waves.back().count;
      }
      if (w == first) throw Error(ErrorCode::internal, "the workspace is too small for the diamonds of one wave");
      chunk.begin = first;
      chunk.end = w;
      chunk.from = small.before(std::max<std::int64_t>(0, middle(first) - merged + 1));
      chunk.to = small.before(std::min(small.waves(), middle(w - 1) + merged));
      if (!q2_.whole() && chunk.to - chunk.from > w_.window_blocks) {
        throw Error(ErrorCode::internal, "a window is too small for the reflectors of the diamonds formed at once");
      }
      chunks_.push_back(std::move(chunk));
    }
  }

  // Broadcasts the reflectors of one more chunk, into the least recently used window.
  void send() {
    if (sent_ == to_send_) return;
    const Chunk& chunk = chunks_[sent_ % chunks_.size()];
    const std::size_t slot = sent_ % w_.windows.size();
    if (sent_ >= w_.windows.size()) e_.wait(sending, formed_[slot]);
    const MatrixView<T> shares = q2_.blocks(chunk.from, chunk.to);
    const MatrixView<T> window = window_of(chunk, slot).blocks(chunk.from, chunk.to);
    std::vector<Block> blocks;
    for (int r = 0; r < e_.size() && r * q2_.sweeps < q2_.b; ++r) {
      const std::int64_t first = r * q2_.sweeps, rows = q2_.b * std::min(q2_.sweeps, q2_.b - first);
      blocks.push_back(make_block(r, all_ranks, shares.block(0, 0, rows, shares.columns),
                                  window.block(q2_.b * first, 0, rows, window.columns)));
    }
    e_.exchange(sending, blocks);
    arrived_[slot] = e_.record(sending);
    ++sent_;
  }
  Reflectors<T> window_of(const Chunk& chunk, std::size_t slot) const {
    return q2_.window(w_.windows[slot], chunk.from);
  }

  // Each wave reads strips of `width` rows from Z and writes them to `other`, or the reverse, alternately. Consecutive
  // waves use the same strips except the first and last: a strip is part of every wave from its first to its last. In
  // every other wave the last strip would lie beyond the matrix. Row 0 is in no strip: it stays in `other`, and in Z
  // the rows below it move up by one, which aligns strips for GEMMs in both.
  void transform(MatrixView<T> z) {
    const std::int64_t n = q2_.n, width = grid_.width;
    const MatrixView<T> other = w_.other.block(w_.aligned - 1, 0, n, z.columns);
    const MatrixView<T> moved = z.block(0, 0, n - 1, z.columns), below = other.block(1, 0, n - 1, z.columns);
    e_.copy(lane_, z, other);
    e_.copy(lane_, below, moved);
    std::int64_t w = 0;
    for (const Chunk& chunk : chunks_) {
      Batch<T> diamonds = next_diamonds(chunk, !z.empty());
      for (const Wave& wave : chunk.waves) {
        diamonds.count = wave.count;
        apply(diamonds, grid_.row(wave.g, wave.t) - 1, w % 2 == 0 ? moved : below, w % 2 == 0 ? below : moved);
        diamonds.first = diamonds[wave.count];
        ++w;
      }
      send();
    }
    // The last wave of strip i, D(0, i) in it, is wave i + groups - 1.
    for (std::int64_t i = 0, row = 0; row < n - 1; ++i, row += width) {
      if ((i + grid_.groups()) % 2 == 1) continue;
      const std::int64_t rows = std::min(width, n - 1 - row);
      e_.copy(lane_, moved.block(row, 0, rows, z.columns), below.block(row, 0, rows, z.columns));
    }
    e_.copy(lane_, other, z);
  }

  // Z = Q2 Z without another copy of Z.
  void transform_in_place(MatrixView<T> z) {
    for (const Chunk& chunk : chunks_) {
      const std::size_t slot = received_ % w_.windows.size();
      if (!q2_.whole()) e_.wait(lane_, arrived_[slot]);
      if (!z.empty()) {
        const Reflectors<T> reflectors = q2_.whole() ? q2_ : window_of(chunk, slot);
        e_.apply_waves(lane_, reflectors, chunk.begin, chunk.end, w_.blocks, w_.progress, z);
      }
      if (q2_.whole()) continue;
      formed_[slot] = e_.record(lane_);
      ++received_;
      send();
    }
  }

  // Multiplies the strips from `row` on by one diamond each; the matrix may end inside the last strip.
  void apply(Batch<T> diamonds, std::int64_t row, MatrixView<T> from, MatrixView<T> to) {
    const std::int64_t order = 2 * grid_.width, columns = from.columns;
    const std::int64_t whole = std::min(diamonds.count, (from.rows - row) / order);
    const auto strips = [&](MatrixView<T> z, std::int64_t first, std::int64_t rows, std::int64_t count) {
      return Batch<T>{z.block(row + first * order, 0, rows, columns), order, count};
    };
    e_.multiply_each(lane_, {diamonds.first, diamonds.stride, whole}, strips(from, 0, order, whole),
                     strips(to, 0, order, whole));
    if (whole == diamonds.count) return;
    const std::int64_t rest = from.rows - row - whole * order;
    e_.multiply_each(lane_, {diamonds[whole].block(0, 0, rest, rest), 0, 1}, strips(from, whole, rest, 1),
                     strips(to, whole, rest, 1));
  }

  // Returns the diamonds of a chunk, formed if `needed`, from own reflectors or from a window that has arrived.
  Batch<T> next_diamonds(const Chunk& chunk, bool needed) {
    if (q2_.whole()) return form_diamonds(chunk, q2_);
    const std::size_t slot = received_++ % w_.windows.size();
    e_.wait(lane_, arrived_[slot]);
    const Batch<T> diamonds = needed ? form_diamonds(chunk, window_of(chunk, slot)) : of_level(chunk, w_.levels);
    formed_[slot] = e_.record(lane_);
    return diamonds;
  }

  Batch<T> form_diamonds(const Chunk& chunk, const Reflectors<T>& reflectors) {
    e_.form_diamonds(lane_, reflectors, chunk.waves, w_.levels, of_level(chunk, 0));
    for (int level = 0; level < w_.levels; ++level) merge(of_level(chunk, level), of_level(chunk, level + 1));
    return of_level(chunk, w_.levels);
  }

  // Buffer of a merge level: levels alternate between two buffers, and the last level ends in `diamonds`.
  Batch<T> of_level(const Chunk& chunk, int level) const {
    const std::int64_t order = 2 * q2_.b << level;
    T* const data = (w_.levels - level) % 2 == 0 ? w_.diamonds : w_.parts;
    return {{data, order, order, order}, order * order, chunk.diamonds << (2 * (w_.levels - level))};
  }

  // Merges four diamonds, of two groups A, C (steps 2t, 2t + 1) and B, D, into one. In strips of h = `width` rows, A
  // acts on rows 1 and 2, C and B on 2 and 3, D on 3 and 4. Then
  //
  //   Q = (I + C + I) (A + D) (I + B + I)       (+ the direct sum)
  //
  //       | A11  A12 B1   0  |                 | A21  A22 B1   0  |
  //     = |      C Y         |     with   Y =  |  0   D11 B2  D12 |    and B1, B2 the halves of B's rows.
  //       |  0   D21 B2  D22 |
  void merge(Batch<T> parts, Batch<T> q) {
    const std::int64_t h = parts.first.rows / 2;
    const Batch<T> y{{w_.halves, 2 * h, 4 * h, 2 * h}, 8 * h * h, q.count};
    const auto quarter = [&](std::int64_t i) { return Batch<T>{parts[i], 4 * parts.stride, q.count}; };
    const auto a = quarter(0), c = quarter(1), b = quarter(2), d = quarter(3);
    const auto b1 = b.block(0, 0, h, 2 * h), b2 = b.block(h, 0, h, 2 * h);
    e_.merge_corners(lane_, parts, q, y);
    e_.multiply_each(lane_, a.block(0, h, h, h), b1, q.block(0, h, h, 2 * h));
    e_.multiply_each(lane_, a.block(h, h, h, h), b1, y.block(0, h, h, 2 * h));
    e_.multiply_each(lane_, d.block(0, 0, h, h), b2, y.block(h, h, h, 2 * h));
    e_.multiply_each(lane_, d.block(h, 0, h, h), b2, q.block(3 * h, h, h, 2 * h));
    e_.multiply_each(lane_, c, y, q.block(h, 0, 2 * h, 4 * h));
  }

  E& e_;
  Lane lane_;
  const Reflectors<T>& q2_;
  BackTransformationWorkspace<T>& w_;
  DiamondGrid grid_;
  std::vector<Chunk> chunks_;
  // Counts over all rounds of chunks whose reflectors are to be broadcast, have been broadcast, and have arrived.
  std::size_t to_send_ = 0, sent_ = 0, received_ = 0;
  std::array<Event, 2> arrived_{}, formed_{};  // of each window
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E> && BandOps<E, T>
void BackTransformation<T, E>::run(MatrixView<T> z, std::int64_t share) {
  if constexpr (is_complex<T>) e_.scale_rows(lane_, q2_.all_phases(), z);
  if (chunks_.empty()) return;
  const std::int64_t most = w_.in_place ? std::max<std::int64_t>(1, share) : w_.other.columns,
                     rounds = ((q2_.whole() ? z.columns : share) + most - 1) / most;
  if (!q2_.whole()) {
    to_send_ = static_cast<std::size_t>(rounds) * chunks_.size();
    e_.wait(sending, e_.record(lane_));
    for (std::size_t slot = 0; slot < w_.windows.size(); ++slot) send();
  }
  for (std::int64_t round = 0; round < rounds; ++round) {
    const std::int64_t first = std::min(z.columns, round * most);
    const auto columns = z.block(0, first, z.rows, std::min(most, z.columns - first));
    if (w_.in_place) {
      transform_in_place(columns);
    } else {
      transform(columns);
    }
  }
}

}  // namespace jaxmg
