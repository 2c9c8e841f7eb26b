// The host engine's operations of symmetric tridiagonal eigenproblems, TridiagonalOps. A single thread forms all sums.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "core/ascending.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/secular.h"
#include "engine/tridiagonal.h"
#include "engine/tridiagonal_ops.h"

namespace jaxmg {

class HostTridiagonalOps {
 public:
  // A merge of small parts costs less than Jacobi's method for the whole.
  static constexpr std::int64_t leaf_rows = 16;

  template <class R>
  void solve_leaves(Lane, Halving leaves, R* d, const R* e, std::int64_t row, MatrixView<R> q, std::int32_t* info) {
    if (q.empty()) return;
    std::vector<R> memory;
    for (std::int64_t k = leaves.part_of(row); k <= leaves.part_of(row + q.rows - 1); ++k) {
      const std::int64_t begin = leaves.begin(k), n = leaves.end(k) - begin;
      memory.assign(static_cast<std::size_t>(2 * n * n), R(0));
      const MatrixView<R> a{memory.data(), n, n, n}, z{memory.data() + n * n, n, n, n};
      for (std::int64_t i = 0; i < n; ++i) {
        *a.at(i, i) = d[begin + i];
        if (i + 1 < n) *a.at(i + 1, i) = *a.at(i, i + 1) = e[begin + i];
        *z.at(i, i) = 1;
      }
      if (!jacobi(a, z)) *info = std::min(*info, static_cast<std::int32_t>(begin + 1));
      const std::int64_t first = std::max(row, begin), last = std::min(row + q.rows, leaves.end(k));
      std::vector<std::int64_t> order(static_cast<std::size_t>(n));
      std::vector<R> values(order.size());
      std::iota(order.begin(), order.end(), 0);
      for (std::int64_t j = 0; j < n; ++j) values[static_cast<std::size_t>(j)] = *a.at(j, j);
      std::sort(order.begin(), order.end(), Ascending<R>{values.data()});
      for (std::int64_t j = 0; j < n; ++j) {
        const std::int64_t from = order[static_cast<std::size_t>(j)];
        d[begin + j] = values[static_cast<std::size_t>(from)];
        std::copy_n(z.at(first - begin, from), last - first, q.at(first - row, begin + j));
      }
    }
  }

  template <class R>
  void take_cut_rows(Lane, Halving merges, std::int64_t row, MatrixView<R> q, std::int64_t first, std::int64_t count,
                     R* z) {
    for (std::int64_t i = first; i < first + count; ++i) z[i] = *q.at(merges.cut_row(i) - row, i);
  }

  template <class R>
  void rotate_columns(Lane, Halving merges, const ColumnChains<R>& chains, std::int64_t row, MatrixView<R> from,
                      MatrixView<R> to) {
    std::vector<R> running;
    for (int chain = 0; chain < chains.count; ++chain) {
      const int begin = chains.begin[chain], end = chains.begin[chain + 1];
      const std::int64_t part = merges.part_of(chains.source[begin]);
      const std::int64_t top = std::max<std::int64_t>(merges.begin(part) - row, 0);
      const std::int64_t rows = std::min(merges.end(part) - row, from.rows) - top;
      if (rows <= 0) continue;
      running.assign(from.at(top, chains.source[begin]), from.at(top, chains.source[begin]) + rows);
      for (int k = begin; k + 1 < end; ++k) {
        const R c = chains.cosine[k], s = chains.sine[k];
        const R* const next = from.at(top, chains.source[k + 1]);
        R* const finished = to.at(top, chains.target[k]);
        for (std::int64_t i = 0; i < rows; ++i) {
          R& x = running[static_cast<std::size_t>(i)];
          finished[i] = c * x + s * next[i];
          x = c * next[i] - s * x;
        }
      }
      std::copy_n(running.begin(), rows, to.at(top, chains.target[end - 1]));
    }
  }

  template <class R>
  void solve_secular(Lane, const MergeLevel<R>& level, std::int64_t first, std::int64_t count, std::int32_t* info) {
    for_each_number(level, first, count, [&](std::int64_t begin, std::int64_t part, int number) {
      const R* const d = level.d + begin;
      if (number >= level.kept[part]) {
        level.value[begin + number] = d[number];
        return;
      }
      const Root<R> root = secular_root(level.kept[part], d, level.z + begin, level.rho[part], number, OneLane{});
      level.origin[begin + number] = root.origin;
      level.tau[begin + number] = root.tau;
      level.value[begin + number] = d[root.origin] + root.tau;
      if (!root.converged) *info = std::min(*info, static_cast<std::int32_t>(begin + number + 1));
    });
  }

  template <class R>
  void adapt_weights(Lane, const MergeLevel<R>& level, std::int64_t first, std::int64_t count) {
    for_each_number(level, first, count, [&](std::int64_t begin, std::int64_t part, int number) {
      if (number >= level.kept[part]) return;
      level.zhat[begin + number] = secular_weight(level.kept[part], level.d + begin, level.z + begin, level.rho[part],
                                                  level.origin + begin, level.tau + begin, number, OneLane{});
    });
  }

  template <class R>
  void keep_deflated(Lane, const MergeLevel<R>& level, std::int64_t row, MatrixView<R> from, MatrixView<R> to) {
    if (from.empty()) return;
    const Halving& merges = level.merges;
    for (std::int64_t k = merges.part_of(row); k <= merges.part_of(row + from.rows - 1); ++k) {
      const std::int64_t top = std::max<std::int64_t>(merges.begin(k) - row, 0);
      const std::int64_t rows = std::min(merges.end(k) - row, from.rows) - top;
      for (std::int64_t j = merges.begin(k); j < merges.end(k); ++j) {
        if (j < merges.begin(k) + level.kept[k]) {
          std::fill_n(to.at(top, j), rows, R(0));
        } else {
          std::copy_n(from.at(top, j), rows, to.at(top, j));
        }
      }
    }
  }

  template <class R>
  void secular_vectors(Lane, const MergeLevel<R>& level, std::int64_t first, MatrixView<R> s) {
    for_each_number(level, first, s.columns, [&](std::int64_t begin, std::int64_t part, int number) {
      const int kept = level.kept[part];
      if (number >= kept) return;
      const R *const d = level.d + begin, *const zhat = level.zhat + begin;
      const int origin = level.origin[begin + number];
      const R tau = level.tau[begin + number];
      const R norm = secular_norm(kept, d, zhat, origin, tau, OneLane{});
      R* const column = s.at(0, begin + number - first);
      for (int p = 0; p < kept; ++p) {
        const int j = level.order[begin + p];
        column[p] = zhat[j] / pole_distance(d, j, origin, tau) / norm;
      }
    });
  }

  template <class R>
  void bisect(Lane, std::int64_t n, const R* d, const R* squares, R low, R high, std::int64_t first, MatrixView<R> w) {
    // Process several eigenvalues at a time, since the divisions of one count depend on each other. Counts have type R,
    // which lets the compiler vectorise them with the pivots.
    constexpr std::size_t width = 64;
    std::array<R, width> bottom, top, x, pivot, count, wanted;
    for (std::int64_t at = 0; at < w.columns; at += width) {
      bottom.fill(low);
      top.fill(high);
      for (std::size_t k = 0; k < width; ++k) wanted[k] = static_cast<R>(first + at) + static_cast<R>(k);
      for (int step = 0; step < bisection_steps<R>(); ++step) {
        for (std::size_t k = 0; k < width; ++k) x[k] = bottom[k] + (top[k] - bottom[k]) / 2;
        pivot.fill(1);
        count.fill(0);
        for (std::int64_t i = 0; i < n; ++i) {
          const R square = i > 0 ? squares[i - 1] : R(0), diagonal = d[i];
          for (std::size_t k = 0; k < width; ++k) {
            pivot[k] = next_pivot(pivot[k], diagonal, square, x[k]);
            count[k] += pivot[k] < 0 ? R(1) : R(0);
          }
        }
        for (std::size_t k = 0; k < width; ++k) (count[k] > wanted[k] ? top[k] : bottom[k]) = x[k];
      }
      const std::int64_t found = std::min<std::int64_t>(width, w.columns - at);
      for (std::int64_t k = 0; k < found; ++k) {
        const auto i = static_cast<std::size_t>(k);
        *w.at(0, at + k) = bottom[i] + (top[i] - bottom[i]) / 2;
      }
    }
  }

 private:
  // Calls visit(first number of the merge, merge, number in the merge) for `count` numbers of a level.
  template <class R, class Visit>
  static void for_each_number(const MergeLevel<R>& level, std::int64_t first, std::int64_t count, Visit&& visit) {
    for (std::int64_t i = first; i < first + count; ++i) {
      const std::int64_t part = level.merges.part_of(i), begin = level.merges.begin(part);
      visit(begin, part, static_cast<int>(i - begin));
    }
  }

  // Diagonalises A and multiplies Z by the eigenvectors. Returns whether it converged.
  template <class R>
  static bool jacobi(MatrixView<R> a, MatrixView<R> z) {
    const int n = static_cast<int>(a.rows), players = n + n % 2;
    R largest = 0;
    for (std::int64_t i = 0; i < a.rows * a.columns; ++i) largest = std::max(largest, std::fabs(a.data[i]));
    for (int sweep = 0; sweep < jacobi_sweeps; ++sweep) {
      bool turned = false;
      for (int t = 0; t + 1 < players; ++t) {
        for (int k = 0; k < players / 2; ++k) {
          const auto [p, q] = jacobi_pair(players, t, k);
          if (q >= n) continue;
          const Rotation<R> r = jacobi_rotation(*a.at(p, p), *a.at(p, q), *a.at(q, q), jacobi_negligible(largest));
          if (!r.turns) continue;
          turned = true;
          for (int i = 0; i < n; ++i) rotate(r, *a.at(i, p), *a.at(i, q));
          for (int i = 0; i < n; ++i) rotate(r, *a.at(p, i), *a.at(q, i));
          *a.at(p, q) = *a.at(q, p) = 0;  // since rounding errors here could prevent convergence
          for (int i = 0; i < n; ++i) rotate(r, *z.at(i, p), *z.at(i, q));
        }
      }
      if (!turned) return true;
    }
    return false;
  }
};

}  // namespace jaxmg
