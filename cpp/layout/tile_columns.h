// The tile columns of a matrix, dealt round-robin to ranks that each hold an equal shard of its columns.
//
// Shard r holds columns [r * shard, (r + 1) * shard). It is cut into full tiles of `tile` columns and, where `tile`
// does not divide `shard`, one ragged tile at its end. Full tiles are dealt to the ranks round-robin in the order of
// the matrix. The ragged tile of shard r stays where it is: ragged tiles are dealt round-robin by a counter of their
// own, and each shard has one. Therefore every rank keeps exactly `shard` columns: full tiles first, in the order of
// the matrix, then its ragged tile.
//
// The matrix may end inside a shard (shard * ranks >= columns): tiles are cut at its last column, and tiles beyond it
// do not count. All rows of a tile column lie on its owner.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace jaxmg {

// Columns [begin, begin + width) of a shard.
struct Span {
  std::int64_t begin, width;

  bool operator==(const Span&) const = default;
};

class TileColumns {
 public:
  TileColumns(std::int64_t rows, std::int64_t columns, std::int64_t shard, std::int64_t tile, int ranks);
  // A square matrix of order n.
  TileColumns(std::int64_t n, std::int64_t shard, std::int64_t tile, int ranks)
      : TileColumns(n, n, shard, tile, ranks) {}

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  // The order of a square matrix; throws Error for any other matrix.
  std::int64_t order() const {
    if (rows_ != columns_) refuse_order();
    return columns_;
  }
  std::int64_t shard() const { return shard_; }
  std::int64_t tile() const { return tile_; }
  int ranks() const { return ranks_; }

  // Number of tiles that hold at least one column; tiles are numbered in the order of the matrix.
  std::int64_t count() const { return static_cast<std::int64_t>(tiles_.size()); }
  std::int64_t begin(std::int64_t t) const { return tiles_[index(t)].begin; }
  std::int64_t width(std::int64_t t) const { return tiles_[index(t)].width; }
  std::int64_t end(std::int64_t t) const { return begin(t) + width(t); }
  int owner(std::int64_t t) const { return tiles_[index(t)].owner; }
  // The first column of tile t in its owner's shard.
  std::int64_t local_offset(std::int64_t t) const { return tiles_[index(t)].local_offset; }
  // The position in its owner's shard of a column of the matrix that lies in tile t.
  std::int64_t local_column(std::int64_t t, std::int64_t column) const { return local_offset(t) + column - begin(t); }
  // The first column of tile t when its owner's tiles are packed in the order of the matrix.
  std::int64_t packed_offset(std::int64_t t) const { return tiles_[index(t)].packed_offset; }

  // Tiles of one rank in matrix order.
  const std::vector<std::int64_t>& tiles_of(int rank) const { return owned_[static_cast<std::size_t>(rank)]; }
  // Columns of `rank` in tiles before t (t may be count()).
  std::int64_t packed_before(int rank, std::int64_t t) const;
  std::int64_t packed_total(int rank) const { return packed_before(rank, count()); }

  // Columns [begin, end) of the matrix in the shard of `rank`; adjacent spans are joined.
  std::vector<Span> spans_of_columns(int rank, std::int64_t begin, std::int64_t end) const;
  // The same for tiles [first, last).
  std::vector<Span> spans(int rank, std::int64_t first, std::int64_t last) const;

  // Calls visit(t, column, width) for the pieces of columns [begin, end) of the matrix, each within one tile t.
  template <class Visit>
  void pieces(std::int64_t begin, std::int64_t end, Visit&& visit) const {
    for (std::int64_t t = 0; t < count(); ++t) {
      const std::int64_t from = std::max(begin, this->begin(t)), to = std::min(end, this->end(t));
      if (from < to) visit(t, from, to - from);
    }
  }

  // Full tiles in each shard, before tiles are cut at the last column: the slots that redistribution permutes.
  std::int64_t full_slots() const { return shard_ / tile_; }

 private:
  struct Tile {
    std::int64_t begin, width, local_offset, packed_offset;
    int owner;
  };
  static std::size_t index(std::int64_t t) { return static_cast<std::size_t>(t); }
  [[noreturn]] void refuse_order() const;

  std::int64_t rows_, columns_, shard_, tile_;
  int ranks_;
  std::vector<Tile> tiles_;
  std::vector<std::vector<std::int64_t>> owned_;
};

}  // namespace jaxmg
