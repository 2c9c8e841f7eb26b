// Multiplication of B by Q or Q^H of a QR factorisation in tile columns, without forming Q.
//
//   Q = H_0 H_1 ...,  H_t = I - V_t T_t V_t^H      Q^H B: from the first reflector to the last; Q B: from the last
//
// Many columns: every rank has its own columns of B, and the reflectors are broadcast. Few columns: every rank has all
// of B, and the reflectors are not moved; B is sent from the owner of each tile to the owner of the next one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "algorithms/qr/reflectors.h"
#include "algorithms/slot_ring.h"
#include "core/arena.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/tile_columns.h"

namespace jaxmg {

template <class T>
struct OrmqrWorkspace {
  std::vector<BlockReflector<T>> reflectors;
  ReflectedProducts<T> products;

  // For `columns` columns of B on each rank.
  OrmqrWorkspace(Arena& arena, const TileColumns& layout, std::int64_t columns, std::int64_t slots) {
    const std::int64_t tile = std::max<std::int64_t>(1, std::min({layout.tile(), layout.shard(), layout.rows()}));
    for (std::int64_t i = 0; i < slots; ++i) reflectors.emplace_back(arena, layout.rows(), tile);
    products = ReflectedProducts<T>(arena, tile, columns);
  }
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
class Ormqr {
 public:
  Ormqr(E& engine, const TileColumns& layout, MatrixView<T> a, MatrixView<T> factors, OrmqrWorkspace<T>& workspace)
      : e_(engine),
        layout_(layout),
        tiles_(engine, layout, a, factors),
        w_(workspace),
        ring_(engine, workspace.reflectors.size()),
        count_(reflector_tiles(layout)) {}

  // B = Q B (Op::none) or Q^H B (Op::conj_transpose), for own columns of B, of any number.
  void apply_to_own(Op op, MatrixView<T> b);
  // The same for a B that every rank has.
  void apply_to_shared(Op op, MatrixView<T> b);

 private:
  std::int64_t tile(Op op, std::int64_t i) const { return op == Op::none ? count_ - 1 - i : i; }
  MatrixView<T> rows(MatrixView<T> b, std::int64_t begin) const {
    return b.block(begin, 0, layout_.rows() - begin, b.columns);
  }
  ReflectedProducts<T> products(std::int64_t t, MatrixView<T> b) const {
    return w_.products.block(0, tiles_.width(t), b.columns);
  }

  E& e_;
  const TileColumns& layout_;
  ReflectorTiles<T, E> tiles_;
  OrmqrWorkspace<T>& w_;
  SlotRing<E> ring_;
  std::int64_t count_;
};

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void Ormqr<T, E>::apply_to_own(Op op, MatrixView<T> b) {
  ring_.restart();
  for (std::int64_t i = 0; i < count_; ++i) {
    const std::int64_t t = tile(op, i);
    const auto s = static_cast<std::size_t>(i);
    const BlockReflector<T>& h = w_.reflectors[ring_.slot(s)];
    ring_.await(Lane::rows, s);
    tiles_.broadcast(Lane::rows, t, h);
    e_.wait(Lane::panel, e_.record(Lane::rows));
    tiles_.apply(Lane::panel, op, t, h, products(t, b), rows(b, tiles_.begin(t)));
    ring_.used(Lane::panel, s);
  }
  e_.join();
}

template <class T, class E>
  requires BlasOps<E, T> && ExchangeOps<E>
void Ormqr<T, E>::apply_to_shared(Op op, MatrixView<T> b) {
  constexpr Lane lane = Lane::panel;
  int holder = -1;  // the rank whose B is up to date
  for (std::int64_t i = 0; i < count_; ++i) {
    const std::int64_t t = tile(op, i);
    // All rows that the steps so far have changed.
    const auto changed = op == Op::none && i > 0 ? rows(b, tiles_.begin(tile(op, i - 1))) : b;
    if (holder >= 0 && holder != layout_.owner(t)) {
      e_.exchange(lane, {make_block(holder, layout_.owner(t), changed, changed)});
    }
    holder = layout_.owner(t);
    if (holder != e_.rank()) continue;
    const BlockReflector<T>& h = w_.reflectors.front();
    tiles_.take(lane, t, h);
    tiles_.apply(lane, op, t, h, products(t, b), rows(b, tiles_.begin(t)));
  }
  if (holder >= 0 && e_.size() > 1) e_.exchange(lane, {make_block(holder, all_ranks, b, b)});
  e_.join();
}

}  // namespace jaxmg
