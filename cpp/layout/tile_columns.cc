#include "layout/tile_columns.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace jaxmg {

TileColumns::TileColumns(std::int64_t rows, std::int64_t columns, std::int64_t shard, std::int64_t tile, int ranks)
    : rows_(rows),
      columns_(columns),
      shard_(shard),
      tile_(tile),
      ranks_(ranks),
      owned_(static_cast<std::size_t>(std::max(ranks, 0))) {
  if (rows < 0 || columns < 0 || shard < 0 || tile < 1 || ranks < 1 || shard * ranks < columns) {
    throw Error(ErrorCode::invalid_argument,
                "cannot deal a matrix of " + std::to_string(rows) + " x " + std::to_string(columns) + ", shard = " +
                    std::to_string(shard) + ", tile = " + std::to_string(tile) + ", ranks = " + std::to_string(ranks) +
                    ": shard * ranks must be at least the number of columns, and tile at least 1");
  }
  std::vector<std::int64_t> packed(owned_.size(), 0);
  const auto add = [&](std::int64_t begin, std::int64_t width, int owner, std::int64_t local_offset) {
    width = std::min(width, columns_ - begin);
    if (width <= 0) return;
    std::int64_t& offset = packed[static_cast<std::size_t>(owner)];
    owned_[static_cast<std::size_t>(owner)].push_back(count());
    tiles_.push_back({begin, width, local_offset, offset, owner});
    offset += width;
  };
  const std::int64_t full = full_slots();
  const std::int64_t ragged = shard - full * tile;
  for (int r = 0; r < ranks; ++r) {
    for (std::int64_t slot = 0; slot < full; ++slot) {
      const std::int64_t dealt = r * full + slot;
      add(r * shard + slot * tile, tile, static_cast<int>(dealt % ranks), dealt / ranks * tile);
    }
    add(r * shard + full * tile, ragged, r, full * tile);
  }
}

void TileColumns::refuse_order() const {
  throw Error(ErrorCode::internal, "a matrix of " + std::to_string(rows_) + " x " + std::to_string(columns_) +
                                       " has no order: this algorithm requires a square matrix");
}

std::int64_t TileColumns::packed_before(int rank, std::int64_t t) const {
  const auto& own = tiles_of(rank);
  const auto next = std::lower_bound(own.begin(), own.end(), t);
  if (next != own.end()) return packed_offset(*next);
  return own.empty() ? 0 : packed_offset(own.back()) + width(own.back());
}

std::vector<Span> TileColumns::spans_of_columns(int rank, std::int64_t begin, std::int64_t end) const {
  std::vector<Span> found;
  for (const std::int64_t t : tiles_of(rank)) {
    const std::int64_t from = std::max(begin, this->begin(t)), to = std::min(end, this->end(t));
    if (from < to) found.push_back({local_offset(t) + from - this->begin(t), to - from});
  }
  // The ragged tile lies behind the full ones whatever its number, therefore spans are sorted by position.
  std::sort(found.begin(), found.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
  std::vector<Span> joined;
  for (const Span& span : found) {
    if (!joined.empty() && joined.back().begin + joined.back().width == span.begin) {
      joined.back().width += span.width;
    } else {
      joined.push_back(span);
    }
  }
  return joined;
}

std::vector<Span> TileColumns::spans(int rank, std::int64_t first, std::int64_t last) const {
  return first < last ? spans_of_columns(rank, begin(first), end(last - 1)) : std::vector<Span>{};
}

}  // namespace jaxmg
