// Back-transformation Z = Q Z of eigenvectors from a band to the full matrix, for own columns of Z.
//
// Q = H_0 H_1 ... of the band reduction is applied by blocks of panels, from the last to the first. The reflectors of a
// block are I - V T V^H, too, with
//
//   [V1 V2]:  T = [ T1  -T1 (V1^H V2) T2 ]       (Schreiber and Van Loan, SIAM J. Sci. Stat. Comput. 10, 1989)
//                 [           T2         ]
//
// While one block is applied, the next block is broadcast and its T is merged.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithms/eigen/band_reduction.h"
#include "comm/block.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"
#include "layout/tiled_shard.h"

namespace jaxmg {

template <class T>
struct BandBackTransformationWorkspace {
  std::vector<MatrixView<T>> v, t;  // of two blocks, used alternately
  MatrixView<T> products;           // V^H V
  MatrixView<T> column;             // (V1^H V2) T2
  MatrixView<T> vz, tvz;            // V^H Z and T V^H Z

  BandBackTransformationWorkspace(Arena& arena, const TileColumns& layout, std::int64_t b, std::int64_t depth,
                                  std::int64_t vectors) {
    for (int slot = 0; slot < 2; ++slot) {
      v.push_back(arena.matrix<T>(layout.order(), depth));
      t.push_back(arena.matrix<T>(depth, depth));
    }
    products = arena.matrix<T>(depth, depth);
    column = arena.matrix<T>(depth, b);
    vz = arena.matrix<T>(depth, vectors);
    tvz = arena.matrix<T>(depth, vectors);
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class BandBackTransformation {
 public:
  // `a` and `factors` are the output of BandReduction; `z` has n rows and any number of columns. `depth` columns of V
  // are applied at once, a multiple of b.
  BandBackTransformation(E& engine, const TileColumns& layout, std::int64_t b, std::int64_t depth, MatrixView<T> a,
                         MatrixView<T> factors, MatrixView<T> z, BandBackTransformationWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        b_(b),
        panels_of_block_(depth / b),
        n_(layout.order()),
        a_{layout, a, engine.rank()},
        factors_(factors),
        z_(z),
        w_(workspace) {}

  void run();

 private:
  using Event = typename E::Event;

  std::int64_t row_of(std::int64_t panel) const { return (panel + 1) * b_; }
  // Columns of V in panels [first, last).
  std::int64_t columns(std::int64_t first, std::int64_t last) const {
    return std::min(last * b_, n_ - b_) - first * b_;
  }
  MatrixView<T> v(std::size_t i, std::int64_t first, std::int64_t last) const {
    return w_.v[i % 2].block(row_of(first), 0, n_ - row_of(first), columns(first, last));
  }
  MatrixView<T> t(std::size_t i, std::int64_t first, std::int64_t last) const {
    return w_.t[i % 2].block(0, 0, columns(first, last), columns(first, last));
  }

  // Broadcasts V and merges T of panels [first, last).
  void assemble(std::size_t i, std::int64_t first, std::int64_t last) {
    if (i >= 2) e_.wait(Lane::panel, applied_[i - 2]);
    const std::int64_t row = row_of(first), begin = first * b_, end = begin + columns(first, last);
    std::vector<Block> broadcast;
    layout_.pieces(begin, end, [&](std::int64_t tile, std::int64_t column, std::int64_t width) {
      broadcast.push_back(make_block(layout_.owner(tile), all_ranks,
                                     a_.span({layout_.local_column(tile, column), width}, row, n_),
                                     v(i, first, last).block(0, column - begin, n_ - row, width)));
    });
    e_.exchange(Lane::panel, broadcast);
    const auto all = v(i, first, last), merged = t(i, first, last);
    e_.unit_lower(Lane::panel, all);
    e_.zero(Lane::panel, merged);
    const auto products = w_.products.block(0, 0, all.columns, all.columns);
    if (last - first > 1) {
      e_.product(Lane::panel, Op::conj_transpose, Op::none, T(1), all, all, products);
    }
    for (std::int64_t p = first; p < last; ++p) {
      const std::int64_t before = (p - first) * b_, own = columns(p, p + 1);
      const auto t2 = merged.block(before, before, own, own);
      e_.copy(Lane::panel, factors_.block(0, p * b_, own, own), t2);
      if (p == first) continue;
      const auto column = w_.column.block(0, 0, before, own);
      e_.product(Lane::panel, Op::none, Op::none, T(1), products.block(0, before, before, own), t2, column);
      e_.product(Lane::panel, Op::none, Op::none, T(-1), merged.block(0, 0, before, before), column,
                 merged.block(0, before, before, own));
    }
  }

  // Z = Z - V T V^H Z.
  void apply(std::size_t i, std::int64_t first, std::int64_t last) {
    e_.wait(Lane::bulk, e_.record(Lane::panel));
    const auto all = v(i, first, last);
    const auto z = z_.block(row_of(first), 0, all.rows, z_.columns);
    const auto vz = w_.vz.block(0, 0, all.columns, z.columns), tvz = w_.tvz.block(0, 0, all.columns, z.columns);
    e_.product(Lane::bulk, Op::conj_transpose, Op::none, T(1), all, z, vz);
    e_.product(Lane::bulk, Op::none, Op::none, T(1), t(i, first, last), vz, tvz);
    e_.gemm(Lane::bulk, Op::none, Op::none, T(-1), all, tvz, z);
    applied_[i] = e_.record(Lane::bulk);
  }

  E& e_;
  const TileColumns& layout_;
  std::int64_t b_, panels_of_block_, n_;
  TiledShard<T> a_;
  MatrixView<T> factors_, z_;
  BandBackTransformationWorkspace<T>& w_;
  std::vector<Event> applied_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void BandBackTransformation<T, E>::run() {
  const std::int64_t panels = band_panels(n_, b_);
  const std::int64_t blocks = (panels + panels_of_block_ - 1) / panels_of_block_;
  applied_.assign(static_cast<std::size_t>(blocks), {});
  for (std::int64_t i = 0; i < blocks; ++i) {
    const std::int64_t first = (blocks - 1 - i) * panels_of_block_;
    const std::int64_t last = std::min(first + panels_of_block_, panels);
    assemble(static_cast<std::size_t>(i), first, last);
    apply(static_cast<std::size_t>(i), first, last);
  }
  e_.join();
}

}  // namespace jaxmg
