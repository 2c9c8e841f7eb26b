// Eigenvalues of a real symmetric tridiagonal matrix by bisection, as in LAPACK's stebz: each to within eps ||T||.
//
// Eigenvalues are independent: ranks divide them and exchange only results.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/tridiagonal_ops.h"

namespace jaxmg {

template <class R>
struct BisectionWorkspace {
  R *diagonal, *squares;
  MatrixView<R> found;

  BisectionWorkspace(Arena& arena, std::int64_t n) {
    diagonal = arena.take<R>(n);
    squares = arena.take<R>(n);
    found = arena.matrix<R>(1, n);
  }
};

// Eigenvalues number first ... last - 1 of T of order n, in ascending order, in w on every rank. `d` (n) and `e` (n -
// 1) are the same on every rank and unchanged on return. If T is not finite, w becomes NaN and info becomes 1.
template <class R, class E>
  requires ExchangeOps<E> && StatusOps<E, R> && TridiagonalOps<E, R>
void tridiagonal_eigenvalues(E& engine, std::int64_t n, const R* d, const R* e, std::int64_t first, std::int64_t last,
                             R* w, std::int32_t* info, BisectionWorkspace<R>& workspace) {
  if (first >= last) return;
  constexpr Lane lane = Lane::panel;
  std::vector<R> diagonal(static_cast<std::size_t>(n)), off(static_cast<std::size_t>(n));
  engine.fetch(lane, d, n, diagonal.data());
  if (n > 1) engine.fetch(lane, e, n - 1, off.data());
  R norm = 0;
  bool finite = true;
  for (const auto* elements : {&diagonal, &off}) {
    for (const R x : *elements) {
      norm = std::max(norm, std::fabs(x));
      finite = finite && std::isfinite(x);
    }
  }
  std::vector<R> found(static_cast<std::size_t>(last - first), std::numeric_limits<R>::quiet_NaN());
  if (!finite || norm == 0) {
    if (finite) {
      std::fill(found.begin(), found.end(), R(0));
    } else {
      engine.set_info(lane, info, 1);
    }
    engine.store(lane, found.data(), last - first, w);
    engine.join();
    return;
  }
  // Every eigenvalue lies within |e_i-1| + |e_i| of a d_i (Gershgorin): between -3 and 3 once T is scaled.
  for (R& x : diagonal) x /= norm;
  for (R& x : off) x = (x / norm) * (x / norm);
  engine.store(lane, diagonal.data(), n, workspace.diagonal);
  engine.store(lane, off.data(), n, workspace.squares);
  const std::int64_t share = (last - first + engine.size() - 1) / engine.size();
  const auto begin = [&](int r) { return std::min(last - first, r * share); };
  const auto part = [&](int r) { return workspace.found.block(0, begin(r), 1, begin(r + 1) - begin(r)); };
  const MatrixView<R> own = part(engine.rank());
  if (!own.empty()) {
    engine.bisect(lane, n, workspace.diagonal, workspace.squares, R(-4), R(4), first + begin(engine.rank()), own);
  }
  if (engine.size() > 1) {
    std::vector<Block> blocks;
    for (int r = 0; r < engine.size(); ++r) {
      if (!part(r).empty()) blocks.push_back(make_block(r, all_ranks, part(r), part(r)));
    }
    engine.exchange(lane, blocks);
  }
  engine.fetch(lane, workspace.found.data, last - first, found.data());
  // Rounding may exchange neighbours whose distance is within the error.
  if (!std::is_sorted(found.begin(), found.end())) std::sort(found.begin(), found.end());
  for (R& x : found) x *= norm;
  engine.store(lane, found.data(), last - first, w);
  engine.join();
}

}  // namespace jaxmg
