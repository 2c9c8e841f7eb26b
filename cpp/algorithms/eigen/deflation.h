// Deflation: the eigenvalues that a merge of divide and conquer leaves unchanged, as in LAPACK's laed2.
//
// Where rho |z_j| is negligible, d_j is an eigenvalue of the merged problem. Where two d are so close that rotating
// their columns to annihilate one z leaves a negligible off-diagonal element, that column deflates too. Elements below
// 8 eps times the largest modulus in d and z are negligible.
//
// A whole level is processed on the host: a sequential scan of n numbers, with little work for each, takes less time
// there than one launch for each merge.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "core/ascending.h"
#include "engine/portable.h"
#include "engine/secular.h"

namespace jaxmg {

// Per-level tables written by deflation and read by engine kernels. Host and engine carve them in the same order, so
// that one copy moves all of them.
template <class R>
struct DeflationTables {
  R *rho, *d, *z;
  int *kept, *order;
  ColumnChains<R> chains{};

  DeflationTables(Arena& arena, std::int64_t n) {
    d = arena.take<R>(n);
    z = arena.take<R>(n);
    rho = arena.take<R>(n);
    chains.cosine = arena.take<R>(n);
    chains.sine = arena.take<R>(n);
    kept = arena.take<int>(n);
    order = arena.take<int>(n);
    chains.source = arena.take<int>(n);
    chains.target = arena.take<int>(n);
    chains.begin = arena.take<int>(n + 1);
  }
};

// Counts of the kept columns of a merge that are nonzero in its upper rows only, everywhere, and in its lower rows
// only, in this order.
struct ColumnKinds {
  std::int64_t upper = 0, dense = 0, lower = 0;
};

template <class R>
class Deflation {
 public:
  explicit Deflation(std::int64_t n)
      : numbers_(size(2 * n)),
        value_(numbers_.data()),
        z_(value_ + n),
        ascending_(size(n)),
        runs_(size(n)),
        kind_(size(n)),
        cosine_(size(n)),
        sine_(size(n)),
        next_(size(n)),
        is_next_(size(n)),
        target_(size(n)) {}

  Deflation(const Deflation&) = delete;
  Deflation& operator=(const Deflation&) = delete;

  // Input, written by the caller: the eigenvalues of the level below, in each part an ascending run of kept ones and
  // one of deflated ones, followed by z.
  R* values() { return value_; }

  // Merges the two runs of each part into ascending order; the first run of part k has kept[k] eigenvalues.
  void sort(Halving parts, const int* kept) {
    for (std::int64_t k = 0; k < parts.parts; ++k) {
      const auto at = [&](std::int64_t i) { return ascending_.begin() + i; };
      const std::int64_t begin = parts.begin(k), end = parts.end(k), middle = begin + kept[k];
      for (std::int64_t i = begin; i < end; ++i) runs_[size(i)] = static_cast<int>(i);
      std::merge(runs_.begin() + begin, runs_.begin() + middle, runs_.begin() + middle, runs_.begin() + end, at(begin),
                 Ascending<R>{value_});
    }
  }
  const int* ascending() const { return ascending_.data(); }

  // Deflates merge k of T1 and T2, whose parts have been sorted; `coupling` is the off-diagonal element between them.
  // Appends chains to the tables.
  ColumnKinds merge(Halving merges, std::int64_t k, R coupling, DeflationTables<R>& tables) {
    const std::int64_t begin = merges.begin(k), middle = merges.middle(k), end = merges.end(k);
    // v = (last row of Q1, +- first row of Q2) has norm sqrt(2): rho z z^T with z of norm 1.
    const R rho = 2 * std::fabs(coupling), half = R(1) / std::sqrt(R(2));
    R largest = 0, largest_z = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      z_[i] *= i >= middle && coupling < 0 ? -half : half;
      largest_z = std::max(largest_z, std::fabs(z_[i]));
      largest = std::max(largest, std::fabs(value_[i]));
      kind_[size(i)] = i < middle ? Kind::upper : Kind::lower;
      next_[size(i)] = none;
    }
    tolerance_ = 8 * unit_roundoff<R>() * std::max(largest, largest_z);

    std::merge(ascending_.begin() + begin, ascending_.begin() + middle, ascending_.begin() + middle,
               ascending_.begin() + end, runs_.begin() + begin, Ascending<R>{value_});
    scan(rho, begin, end);
    return lay_out(begin, rho, k, tables);
  }

 private:
  enum class Kind : char { upper, dense, lower };
  static constexpr int none = -1;

  static std::size_t size(std::int64_t i) { return static_cast<std::size_t>(i); }
  static std::size_t size(int i) { return static_cast<std::size_t>(i); }

  // Divides the numbers in runs_[begin, end), by ascending value, into kept_ and deflated_. NaN deflates.
  void scan(R rho, std::int64_t begin, std::int64_t end) {
    kept_.clear();
    deflated_.clear();
    int waiting = none;  // kept, unless a rotation with the next number deflates it
    for (std::int64_t i = begin; i < end; ++i) {
      const int here = runs_[size(i)];
      if (!(rho * std::fabs(z_[here]) > tolerance_)) {
        deflated_.push_back(here);
        continue;
      }
      if (waiting != none) {
        // The rotation [c s; -s c] = [z1 -z0; z0 z1] / |(z0, z1)| leaves the element c s (d1 - d0).
        const R z0 = z_[waiting], z1 = z_[here], d0 = value_[waiting], d1 = value_[here];
        if (!(std::fabs((d1 - d0) * z0 * z1) > tolerance_ * (z0 * z0 + z1 * z1))) {
          const R length = std::hypot(z0, z1), c = z1 / length, s = -z0 / length;
          z_[here] = length;
          z_[waiting] = 0;
          value_[waiting] = d0 * (c * c) + d1 * (s * s);
          value_[here] = d0 * (s * s) + d1 * (c * c);
          if (kind_[size(here)] != kind_[size(waiting)]) kind_[size(here)] = Kind::dense;
          next_[size(waiting)] = here;
          cosine_[size(waiting)] = c;
          sine_[size(waiting)] = s;
          deflated_.push_back(waiting);
        } else {
          kept_.push_back(waiting);
        }
      }
      waiting = here;
    }
    if (waiting != none) kept_.push_back(waiting);
    std::sort(deflated_.begin(), deflated_.end(), Ascending<R>{value_});
  }

  // Places every column: kept columns by kind, then deflated ones; lists poles, eigenvalues and chains.
  ColumnKinds lay_out(std::int64_t begin, R rho, std::int64_t k, DeflationTables<R>& tables) {
    tables.rho[k] = rho;
    tables.kept[k] = static_cast<int>(kept_.size());
    std::array<std::int64_t, 3> count{};
    for (const int i : kept_) ++count[static_cast<std::size_t>(kind_[size(i)])];
    std::array<std::int64_t, 3> place{0, count[0], count[0] + count[1]};
    std::int64_t number = begin;
    for (const int i : kept_) {
      tables.d[number] = value_[i];
      tables.z[number] = z_[i];
      const std::int64_t p = place[static_cast<std::size_t>(kind_[size(i)])]++;
      tables.order[begin + p] = static_cast<int>(number - begin);
      target_[size(i)] = static_cast<int>(begin + p);
      ++number;
    }
    for (const int i : deflated_) {
      tables.d[number] = value_[i];
      tables.z[number] = 0;
      tables.order[number] = static_cast<int>(number - begin);
      target_[size(i)] = static_cast<int>(number);
      ++number;
    }
    // A chain begins with a column that was not rotated with a column before it.
    for (std::int64_t i = begin; i < number; ++i) is_next_[size(i)] = false;
    for (std::int64_t i = begin; i < number; ++i) {
      if (next_[size(i)] != none) is_next_[size(next_[size(i)])] = true;
    }
    ColumnChains<R>& chains = tables.chains;
    int end = chains.count == 0 ? 0 : chains.begin[chains.count];
    for (std::int64_t i = begin; i < number; ++i) {
      if (is_next_[size(i)]) continue;
      chains.begin[chains.count++] = end;
      for (int j = static_cast<int>(i); j != none; j = next_[size(j)]) {
        chains.source[end] = j;
        chains.target[end] = target_[size(j)];
        chains.cosine[end] = cosine_[size(j)];
        chains.sine[end] = sine_[size(j)];
        ++end;
      }
    }
    chains.begin[chains.count] = end;
    return {count[0], count[1], count[2]};
  }

  std::vector<R> numbers_;
  R *value_, *z_;
  std::vector<int> ascending_, runs_;
  std::vector<Kind> kind_;
  std::vector<R> cosine_, sine_;  // of the rotation with the next column of a chain
  std::vector<int> next_;
  std::vector<bool> is_next_;
  std::vector<int> target_;
  std::vector<int> kept_, deflated_;
  R tolerance_ = 0;
};

}  // namespace jaxmg
