// Problems: the arguments of a call, the input of the planner.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/ceil_div.h"
#include "core/error.h"
#include "core/fields.h"
#include "core/scalar.h"
#include "engine/scratch.h"
#include "layout/tile_columns.h"
#include "planner/cost_model.h"

namespace jaxmg {

template <>
inline constexpr std::array<std::string_view, 2> names_of<Platform>{"cpu", "gpu"};

inline void require(bool holds, const std::string& rule) {
  if (!holds) throw Error(ErrorCode::invalid_argument, rule);
}

// Arguments of every call.
struct Problem {
  ScalarType type = ScalarType::f64;
  std::int64_t ranks = 1;
  std::int64_t tile = 0;  // requested columns of a tile; 0: the planner chooses
  Platform platform = Platform::cpu;
  std::int64_t processes = 1;        // processes that share the ranks
  std::int64_t workspace_limit = 0;  // bytes per device; 0: the planner chooses
  std::int64_t concurrent = 1;       // calls like this one that run at the same time on other devices, plus 1
  std::int64_t one_rank_up_to = -1;  // largest order that one rank solves for all; -1: the planner's (one_rank.h)
  Network network = {};

  void fields(auto&& visit) {
    visit("dtype", type);
    visit("ranks", ranks);
    visit("tile", tile);
    visit("platform", platform);
    visit("processes", processes);
    visit("workspace_limit", workspace_limit);
    visit("concurrent", concurrent);
    visit("one_rank_up_to", one_rank_up_to);
    visit("hosts", network.hosts);
    visit("link_bytes", network.link_bytes);
    visit("network_bytes", network.network_bytes);
    visit("network_seconds", network.network_seconds);
  }

  void check() const {
    require(ranks >= 1, "the number of devices must be at least 1, got " + std::to_string(ranks));
    require(concurrent >= 1, "concurrent must be at least 1, got " + std::to_string(concurrent));
    require(tile >= 0, "the tile size must be at least 1, got " + std::to_string(tile));
  }
  // Throws Error unless a number of rows or columns is positive and within the sizes of BLAS.
  static void check_size(const std::string& name, std::int64_t size) {
    require(size >= 1, name + " must be at least 1, got " + std::to_string(size));
    require(size < (std::int64_t{1} << 29),
            name + " = " + std::to_string(size) + " exceeds what 32-bit sizes of BLAS allow");
  }
  // Columns of each rank if `count` columns are divided evenly.
  std::int64_t share(std::int64_t count) const { return ceil_div(count, ranks); }
};

// A matrix of order n.
struct SquareProblem : Problem {
  std::int64_t n = 0;

  void fields(auto&& visit) {
    Problem::fields(visit);
    visit("n", n);
  }

  void check() const {
    Problem::check();
    check_size("n", n);
  }
  std::int64_t rows() const { return n; }
  std::int64_t shard() const { return share(n); }
  std::int64_t shard_bytes() const { return shard() * n * size_of(type); }
  TileColumns layout(std::int64_t width) const { return {n, shard(), width, static_cast<int>(ranks)}; }
};

// A matrix of m rows and n columns, whose columns are divided among the ranks.
struct RectangularProblem : SquareProblem {
  std::int64_t m = 0;

  void fields(auto&& visit) {
    SquareProblem::fields(visit);
    visit("m", m);
  }

  void check() const {
    SquareProblem::check();
    check_size("m", m);
  }
  std::int64_t rows() const { return m; }
  std::int64_t shard_bytes() const { return shard() * m * size_of(type); }
  TileColumns layout(std::int64_t width) const { return {m, n, shard(), width, static_cast<int>(ranks)}; }
};

// A matrix with right-hand sides.
template <class Matrix>
struct WithRightHandSides : Matrix {
  std::int64_t nrhs = 1;
  static constexpr const char* counted = "nrhs";

  void fields(auto&& visit) {
    Matrix::fields(visit);
    visit(counted, nrhs);
  }

  void check() const {
    Matrix::check();
    require(nrhs >= 1, "nrhs must be at least 1, got " + std::to_string(nrhs));
  }
};
using SystemProblem = WithRightHandSides<SquareProblem>;
using RectangularSystemProblem = WithRightHandSides<RectangularProblem>;

// The cost model of a call.
template <class Cost = ColumnsCost>
Cost cost_of(const Problem& q) {
  return {q.platform, q.type, q.ranks, q.network};
}

}  // namespace jaxmg
