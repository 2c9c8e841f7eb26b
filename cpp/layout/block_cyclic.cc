#include "layout/block_cyclic.h"

#include <map>
#include <string>
#include <utility>

#include "core/error.h"

namespace jaxmg {
namespace {

// A run of indices that is contiguous in both distributions.
struct Run {
  int source, target;
  std::int64_t from, to, length;
};

// Cuts one dimension at the block borders of both distributions, and joins pieces that are adjacent in both.
std::vector<Run> runs_between(const CyclicBlocks& from, const CyclicBlocks& to, std::int64_t first) {
  std::vector<Run> runs;
  std::map<std::pair<int, int>, std::size_t> last;  // run of each source and target
  for (std::int64_t i = 0; i < to.n;) {
    const std::int64_t j = first + i;
    const std::int64_t length = std::min({to.n - i, from.block - j % from.block, to.block - i % to.block});
    const Run run{from.owner(j), to.owner(i), from.local(j), to.local(i), length};
    const auto [found, fresh] = last.try_emplace({run.source, run.target}, runs.size());
    Run* const before = fresh ? nullptr : &runs[found->second];
    if (before != nullptr && before->from + before->length == run.from && before->to + before->length == run.to) {
      before->length += length;
    } else {
      found->second = runs.size();
      runs.push_back(run);
    }
    i += length;
  }
  return runs;
}

}  // namespace

ProcessGrid squarest_grid(int ranks) {
  int rows = 1;
  for (int candidate = 1; candidate * candidate <= ranks; ++candidate) {
    if (ranks % candidate == 0) rows = candidate;
  }
  return {rows, ranks / rows};
}

std::int64_t CyclicBlocks::count(int process) const {
  // ScaLAPACK's numroc: whole rounds, then a full block, the ragged one, or none.
  const std::int64_t full = n / block, own = full / processes * block, left = full % processes;
  return own + (process < left ? block : process == left ? n % block : 0);
}

BlockCyclic::BlockCyclic(std::int64_t m, std::int64_t n, std::int64_t mb, std::int64_t nb, ProcessGrid grid)
    : rows{m, mb, grid.rows}, columns{n, nb, grid.columns} {
  if (m < 0 || n < 0 || mb < 1 || nb < 1 || grid.rows < 1 || grid.columns < 1) {
    throw Error(ErrorCode::invalid_argument, "cannot lay out a block-cyclic matrix of " + std::to_string(m) + " x " +
                                                 std::to_string(n) + " in blocks of " + std::to_string(mb) + " x " +
                                                 std::to_string(nb) + " on " + std::to_string(grid.rows) + " x " +
                                                 std::to_string(grid.columns) + " processes");
  }
}

BlockCyclic BlockCyclic::in_pieces(std::int64_t m, std::int64_t n, ProcessGrid grid) {
  const auto piece = [](std::int64_t size, int processes) {
    return std::max<std::int64_t>(1, (size + processes - 1) / processes);
  };
  return {m, n, piece(m, grid.rows), piece(n, grid.columns), grid};
}

std::vector<BlockMove> plan_moves(const BlockCyclic& from, const BlockCyclic& to, std::int64_t first) {
  if (from.rows.n != to.rows.n || first < 0 || first + to.columns.n > from.columns.n) {
    throw Error(ErrorCode::internal,
                "the target of a block-cyclic move must have as many rows as the source and no more columns");
  }
  const ProcessGrid sources = from.grid(), targets = to.grid();
  const std::vector<Run> rows = runs_between(from.rows, to.rows, 0);
  std::vector<BlockMove> moves;
  for (const Run& column : runs_between(from.columns, to.columns, first)) {
    for (const Run& row : rows) {
      moves.push_back({sources.rank(row.source, column.source), targets.rank(row.target, column.target), row.length,
                       column.length, row.from, column.from, row.to, column.to});
    }
  }
  return moves;
}

}  // namespace jaxmg
