// Race detector: finds unordered accesses to the same memory.
//
// Lanes are the threads of a vector-clock race detector (Flanagan and Freund, FastTrack, PLDI 2009): each counts its
// steps, and records the last step of every other lane that it is ordered after. Two accesses, one of them a write, are
// a race unless the later one's lane has seen the step of the earlier one. A race is found in any order of execution,
// and therefore one run finds all races.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/matrix_view.h"

namespace jaxmg::testing {

using Clock = std::vector<std::uint32_t>;

inline void advance_to(Clock& clock, const Clock& other) {
  for (std::size_t i = 0; i < clock.size(); ++i) clock[i] = std::max(clock[i], other[i]);
}

class Race : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The bytes of a matrix, or of a triangle of it, by columns.
struct Region {
  struct Span {
    const std::byte* begin;
    std::size_t bytes;
  };
  std::vector<Span> spans;

  template <class T>
  static Region of(MatrixView<T> a) {
    Region region;
    for (std::int64_t j = 0; j < a.columns; ++j) region.add(a, j, 0, a.rows);
    return region;
  }
  // Excludes the diagonal if it is an implicit unit diagonal.
  template <class T>
  static Region triangle(MatrixView<T> a, Uplo uplo, Diag diag) {
    const std::int64_t skipped = diag == Diag::unit ? 1 : 0;
    Region region;
    for (std::int64_t j = 0; j < a.columns; ++j) {
      if (uplo == Uplo::lower) {
        region.add(a, j, std::min(j + skipped, a.rows), a.rows);
      } else {
        region.add(a, j, 0, std::min(j + 1 - skipped, a.rows));
      }
    }
    return region;
  }
  template <class T>
  static Region lower(MatrixView<T> a) {
    return triangle(a, Uplo::lower, Diag::non_unit);
  }
  static Region of(const std::byte* begin, std::int64_t pitch, std::int64_t column_bytes, std::int64_t columns) {
    Region region;
    for (std::int64_t j = 0; j < columns; ++j) {
      region.spans.push_back({begin + j * pitch, static_cast<std::size_t>(column_bytes)});
    }
    return region;
  }

 private:
  // Rows [begin, end) of a column.
  template <class T>
  void add(MatrixView<T> a, std::int64_t column, std::int64_t begin, std::int64_t end) {
    spans.push_back(
        {reinterpret_cast<const std::byte*>(a.at(begin, column)), static_cast<std::size_t>(end - begin) * sizeof(T)});
  }
};

class HappensBefore {
 public:
  // One lane for each name.
  explicit HappensBefore(std::vector<std::string> names)
      : names_(std::move(names)), clocks_(names_.size(), Clock(names_.size(), 0)) {
    for (std::size_t lane = 0; lane < names_.size(); ++lane) clocks_[lane][lane] = 1;
  }

  const Clock& clock(std::size_t lane) const { return clocks_[lane]; }
  // Orders later accesses of `lane` after all steps that `clock` has seen.
  void order_after(std::size_t lane, const Clock& clock) { advance_to(clocks_[lane], clock); }
  // Begins a new step of `lane`.
  void finish_step(std::size_t lane) { ++clocks_[lane][lane]; }

  void read(std::size_t lane, const Region& region, const char* operation) {
    for_cells(region, [&](Cell& cell) {
      if (!seen(lane, cell.write)) report(lane, operation, "reads memory that", cell.write, "writes");
      for (Access& earlier : cell.reads) {
        if (earlier.lane == lane) {
          earlier = now(lane, operation);
          return;
        }
      }
      cell.reads.push_back(now(lane, operation));
    });
  }

  void write(std::size_t lane, const Region& region, const char* operation) {
    for_cells(region, [&](Cell& cell) {
      if (!seen(lane, cell.write)) report(lane, operation, "writes memory that", cell.write, "writes");
      for (const Access& earlier : cell.reads) {
        if (!seen(lane, earlier)) report(lane, operation, "writes memory that", earlier, "reads");
      }
      cell.reads.clear();
      cell.write = now(lane, operation);
    });
  }

 private:
  struct Access {
    std::size_t lane = 0;
    std::uint32_t step = 0;  // 0: none
    const char* operation = "";
  };
  struct Cell {
    Access write;
    std::vector<Access> reads;  // the last of each lane since the write
  };
  static constexpr std::size_t cell_bytes = sizeof(float);  // the smallest scalar
  static constexpr std::size_t page_cells = 256;

  Access now(std::size_t lane, const char* operation) const { return {lane, clocks_[lane][lane], operation}; }
  bool seen(std::size_t lane, const Access& earlier) const {
    return earlier.lane == lane || earlier.step <= clocks_[lane][earlier.lane];
  }

  template <class Visit>
  void for_cells(const Region& region, Visit&& visit) {
    for (const Region::Span& span : region.spans) {
      const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(span.begin) / cell_bytes;
      const std::uintptr_t end = begin + span.bytes / cell_bytes;
      for (std::uintptr_t at = begin; at < end;) {
        std::vector<Cell>& page = pages_[at / page_cells];
        if (page.empty()) page.resize(page_cells);
        do {
          visit(page[at % page_cells]);
        } while (++at < end && at % page_cells != 0);
      }
    }
  }

  [[noreturn]] void report(std::size_t lane, const std::string& operation, const std::string& does,
                           const Access& earlier, const std::string& did) const {
    throw Race(operation + " in " + names_[lane] + " " + does + " " + earlier.operation + " in " +
               names_[earlier.lane] + " " + did + ", and neither waits for the other");
  }

  std::vector<std::string> names_;
  std::vector<Clock> clocks_;
  std::unordered_map<std::uintptr_t, std::vector<Cell>> pages_;
};

}  // namespace jaxmg::testing
