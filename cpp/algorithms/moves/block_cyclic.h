// Redistribution to and from the two-dimensional block-cyclic distribution, out of place, by one all-to-all (see
// layout/block_cyclic.h).
#pragma once

#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "layout/block_cyclic.h"

namespace jaxmg {

// A whole matrix, replicated on every rank.
template <class T>
BlockCyclicMatrix<T> in_one_piece(MatrixView<T> a) {
  return {BlockCyclic::in_pieces(a.rows, a.columns, {1, 1}), a.data};
}

// `to` receives the columns of `from` from number `first` on.
template <class T, class E>
  requires ExchangeOps<E>
void move(E& engine, const BlockCyclicMatrix<T>& from, const BlockCyclicMatrix<T>& to, std::int64_t first = 0) {
  std::vector<Block> blocks;
  for (const BlockMove& m : plan_moves(from.layout, to.layout, first)) {
    blocks.push_back(make_block(m.source, m.target,
                                from.part(m.source).block(m.from_row, m.from_column, m.rows, m.columns),
                                to.part(m.target).block(m.to_row, m.to_column, m.rows, m.columns)));
  }
  engine.exchange(Lane::panel, blocks);
}

// Each rank copies its part from its replica.
template <class T, class E>
  requires ExchangeOps<E>
void deal_copies(E& engine, MatrixView<T> from, const BlockCyclicMatrix<T>& to) {
  const BlockCyclicMatrix<T> whole = in_one_piece(from);
  std::vector<Block> blocks;
  for (const BlockMove& m : plan_moves(whole.layout, to.layout)) {
    blocks.push_back(make_block(m.target, m.target, whole.part(0).block(m.from_row, m.from_column, m.rows, m.columns),
                                to.part(m.target).block(m.to_row, m.to_column, m.rows, m.columns)));
  }
  engine.exchange(Lane::panel, blocks);
}

// Replicates a matrix on every rank.
template <class T, class E>
  requires ExchangeOps<E>
void gather_copies(E& engine, const BlockCyclicMatrix<T>& from, MatrixView<T> to) {
  const BlockCyclicMatrix<T> whole = in_one_piece(to);
  std::vector<Block> blocks;
  for (const BlockMove& m : plan_moves(from.layout, whole.layout)) {
    blocks.push_back(make_block(m.source, all_ranks,
                                from.part(m.source).block(m.from_row, m.from_column, m.rows, m.columns),
                                whole.part(0).block(m.to_row, m.to_column, m.rows, m.columns)));
  }
  engine.exchange(Lane::panel, blocks);
}

}  // namespace jaxmg
