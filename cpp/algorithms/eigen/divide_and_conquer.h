// Eigenvalues and eigenvectors of a real symmetric tridiagonal matrix, T = Q diag(w) Q^T, by divide and conquer
// (Cuppen, Numer. Math. 36, 1981; Gu and Eisenstat, SIAM J. Matrix Anal. Appl. 16, 1995; LAPACK's stedc).
//
// T is halved until the parts are small enough for Jacobi's method, and the parts are merged level by level:
//
//   [T1 0; 0 T2] + rho v v^T = [Q1 0; 0 Q2] (D + rho z z^T) [Q1 0; 0 Q2]^T,     z = (last row of Q1, first row of Q2)
//   D + rho z z^T = S diag(lambda) S^T,                                         Q = [Q1 0; 0 Q2] S
//
// Every rank keeps its own block of rows of Q. A merge is therefore Q_rows <- Q_rows S. S is defined by a few vectors
// (see engine/secular.h) and generated on each rank, some columns at a time. Ranks exchange only these vectors. The
// elements of z lie on the ranks that own the cut rows. Each rank computes the roots, eigenvalues and weights of the
// secular equation for the numbers of its own rows.
//
// S has the columns of Q1 that are zero in lower rows first, then dense columns, then the columns of Q2 that are zero
// in upper rows. Upper rows of Q then need the first two kinds, lower rows the last two, which halves the arithmetic as
// in LAPACK's laed3.
//
// The last merge costs three quarters of the total. However, the eigenvalues are known once its secular equation is
// solved. Therefore it forms only the columns of S for the requested eigenvectors.
//
// Deflation runs on the host, which waits for the engine once per level. All work is in lane `panel`.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "algorithms/eigen/deflation.h"
#include "comm/block.h"
#include "core/arena.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/secular.h"
#include "engine/tridiagonal.h"
#include "engine/tridiagonal_ops.h"

namespace jaxmg {

// Default number of columns of S generated at a time by the last merge; earlier merges, whose S is smaller, generate
// more.
inline std::int64_t default_secular_columns(std::int64_t n) { return std::min<std::int64_t>(n, 2048); }

// Range of eigenvectors in ascending order of eigenvalues: `count` eigenvectors from number `first` on.
struct EigenvectorRange {
  std::int64_t first, count;

  // Eigenvectors per rank when the range is dealt to the ranks in contiguous blocks.
  std::int64_t share(int ranks) const { return (count + ranks - 1) / ranks; }
};

template <class R>
struct DivideAndConquerWorkspace {
  MatrixView<R> rows;   // the result: this rank's rows of Q
  MatrixView<R> other;  // input of the current step, then scratch. The caller sets it if `other_is_lent`.
  R* s;                 // columns of S
  std::int64_t s_elements;
  R *value, *z;  // contiguous
  R* off_diagonal;
  R *tau, *zhat;
  int* origin;
  std::byte* tables;
  std::int64_t table_bytes;

  DivideAndConquerWorkspace(Arena& arena, std::int64_t n, std::int64_t shard, std::int64_t columns,
                            bool other_is_lent = false) {
    rows = arena.matrix<R>(shard, n);
    if (!other_is_lent) other = arena.matrix<R>(shard, n);
    s_elements = n * columns;
    s = arena.take<R>(s_elements);
    value = arena.take<R>(2 * n);
    z = value + n;
    off_diagonal = arena.take<R>(n);
    tau = arena.take<R>(n);
    zhat = arena.take<R>(n);
    origin = arena.take<int>(n);
    Arena measure;
    DeflationTables<R>(measure, n);
    table_bytes = measure.used();
    tables = arena.take<std::byte>(table_bytes);
  }
};

template <class R, class E>
  requires BlasOps<E, R> && ExchangeOps<E> && StatusOps<E, R> && TridiagonalOps<E, R>
class DivideAndConquer {
 public:
  // Rank r has rows [r shard, (r + 1) shard) of the matrix of order n, cut at n. `d` (n) and `e` (n - 1) are the same
  // on every rank and unchanged on return; `w` (n) becomes the ascending eigenvalues on every rank. `info`, this rank's
  // entry, is lowered to the number of an eigenvalue that was not found. If T is not finite, it becomes 1, and w and Q
  // become NaN. Parts of at most `leaf` rows are not halved.
  //
  // Call values() first, then vectors(): the caller may choose eigenvectors by their eigenvalues.
  DivideAndConquer(E& engine, std::int64_t n, std::int64_t shard, const R* d, const R* e, R* w, std::int32_t* info,
                   DivideAndConquerWorkspace<R>& workspace, std::int64_t leaf = E::leaf_rows)
      : e_(engine),
        n_(n),
        shard_(shard),
        begin_(own_begin(engine.rank())),
        end_(own_begin(engine.rank() + 1)),
        d_(d),
        off_(e),
        w_(w),
        info_(info),
        work_(workspace),
        leaf_(std::clamp<std::int64_t>(leaf, 2, largest_leaf)),
        deflation_(n),
        table_memory_(static_cast<std::size_t>(workspace.table_bytes)),
        host_(carve(table_memory_.data())),
        device_(carve(workspace.tables)),
        rows_(workspace.rows.block(0, 0, end_ - begin_, n)),
        other_(workspace.other.block(0, 0, end_ - begin_, n)) {}

  // Computes the ascending eigenvalues, stores them in w, and returns them.
  const std::vector<R>& values();

  // Columns [first, first + count) of Q, in the rows of the workspace.
  void vectors(EigenvectorRange wanted);

 private:
  static constexpr Lane lane = Lane::panel;

  std::int64_t own_begin(int rank) const { return std::min(n_, rank * shard_); }
  int& kept(std::int64_t k) { return kept_[static_cast<std::size_t>(k)]; }

  DeflationTables<R> carve(std::byte* base) const {
    Arena arena(base, work_.table_bytes);
    return DeflationTables<R>(arena, n_);
  }

  // Scales T to norm 1, as stedc does, and subtracts rho v v^T at each cut. Returns false if T is not finite.
  bool divide() {
    diagonal_.resize(static_cast<std::size_t>(n_));
    off_diagonal_.resize(static_cast<std::size_t>(n_ - 1));
    e_.fetch(lane, d_, n_, diagonal_.data());
    if (n_ > 1) e_.fetch(lane, off_, n_ - 1, off_diagonal_.data());
    norm_ = 0;
    finite_ = true;
    for (const auto* elements : {&diagonal_, &off_diagonal_}) {
      for (const R x : *elements) {
        norm_ = std::max(norm_, std::fabs(x));
        finite_ = finite_ && std::isfinite(x);
      }
    }
    if (!finite_) {
      give_up();
      return false;
    }
    if (norm_ == 0) norm_ = 1;
    for (R& x : diagonal_) x /= norm_;
    for (R& x : off_diagonal_) x /= norm_;
    leaves_ = {n_, 1};
    while ((n_ + leaves_.parts - 1) / leaves_.parts > leaf_) leaves_.parts *= 2;
    std::vector<R> cut = diagonal_;
    for (std::int64_t k = 1; k < leaves_.parts; ++k) {
      const auto row = static_cast<std::size_t>(leaves_.begin(k));
      cut[row - 1] -= std::fabs(off_diagonal_[row - 1]);
      cut[row] -= std::fabs(off_diagonal_[row - 1]);
    }
    e_.store(lane, cut.data(), n_, work_.value);
    e_.store(lane, off_diagonal_.data(), std::ssize(off_diagonal_), work_.off_diagonal);
    return true;
  }

  void give_up() {
    ascending_.assign(static_cast<std::size_t>(n_), std::numeric_limits<R>::quiet_NaN());
    e_.store(lane, ascending_.data(), n_, w_);
    for (std::int64_t j = 0; j < n_; ++j) e_.store(lane, ascending_.data(), rows_.rows, rows_.at(0, j));
    e_.set_info(lane, info_, 1);
  }

  // Elements of a vector that a rank broadcasts.
  struct Range {
    std::int64_t begin, end;
  };
  template <class Number>
  void add_ranges(Number* vector, std::vector<Block>& blocks, const std::vector<Range>& ranges) const {
    for (int r = 0; r < e_.size(); ++r) {
      const auto [begin, end] = ranges[static_cast<std::size_t>(r)];
      const MatrixView<Number> range{vector + begin, end - begin, 1, std::max<std::int64_t>(1, end - begin)};
      if (begin < end) blocks.push_back(make_block(r, all_ranks, range, range));
    }
  }
  std::vector<Range> own_ranges() const {
    std::vector<Range> ranges;
    for (int r = 0; r < e_.size(); ++r) ranges.push_back({own_begin(r), own_begin(r + 1)});
    return ranges;
  }
  // For each rank, the eigenvalue numbers whose cut rows it owns. These are ranges, since cut rows never decrease.
  std::vector<Range> cut_ranges(Halving merges) const {
    std::vector<Range> ranges(static_cast<std::size_t>(e_.size()), {n_, n_});
    const Halving halves{n_, 2 * merges.parts};
    std::int64_t h = 0;
    for (int r = 0; r < e_.size(); ++r) {
      const std::int64_t begin = h;
      while (h < halves.parts && merges.cut_row(halves.begin(h)) < own_begin(r + 1)) ++h;
      ranges[static_cast<std::size_t>(r)] = {halves.begin(begin), halves.begin(h)};
    }
    return ranges;
  }

  // Solves the secular equations of a level.
  void find_roots(Halving merges) {
    kinds_ = deflate(merges);
    e_.rotate_columns(lane, merges, device_.chains, begin_, other_, rows_);
    level_ = {merges,        device_.kept, device_.rho, device_.d,   device_.z,
              device_.order, work_.origin, work_.tau,   work_.value, work_.zhat};
    e_.solve_secular(lane, level_, begin_, end_ - begin_, info_);
    if (e_.size() > 1) {
      std::vector<Block> blocks;
      add_ranges(work_.origin, blocks, own_ranges());
      add_ranges(work_.tau, blocks, own_ranges());
      add_ranges(work_.value, blocks, own_ranges());
      e_.exchange(lane, blocks);
    }
  }

  // Computes the level's eigenvectors, of kept columns with numbers [first, last) only.
  void find_columns(std::int64_t first, std::int64_t last) {
    e_.adapt_weights(lane, level_, begin_, end_ - begin_);
    if (e_.size() > 1) {
      std::vector<Block> blocks;
      add_ranges(work_.zhat, blocks, own_ranges());
      e_.exchange(lane, blocks);
    }
    e_.keep_deflated(lane, level_, begin_, rows_, other_);
    update(first, last);
  }

  // Computes z and the tables of a level.
  std::vector<ColumnKinds> deflate(Halving merges) {
    const std::vector<Range> cuts = cut_ranges(merges);
    const Range own = cuts[static_cast<std::size_t>(e_.rank())];
    e_.take_cut_rows(lane, merges, begin_, other_, own.begin, own.end - own.begin, work_.z);
    if (e_.size() > 1) {
      std::vector<Block> blocks;
      add_ranges(work_.z, blocks, cuts);
      add_values(merges, blocks);
      e_.exchange(lane, blocks);
    }
    e_.fetch(lane, work_.value, 2 * n_, deflation_.values());
    deflation_.sort({n_, merges.parts * 2}, kept_.data());
    host_.chains.count = 0;
    std::vector<ColumnKinds> kinds;
    for (std::int64_t k = 0; k < merges.parts; ++k) {
      const auto cut = static_cast<std::size_t>(merges.middle(k) - 1);
      kinds.push_back(deflation_.merge(merges, k, off_diagonal_[cut], host_));
      kept(k) = host_.kept[k];
    }
    upload();
    return kinds;
  }

  // Adds the broadcast of the leaves' eigenvalues from the owners of their rows to `blocks`.
  void add_values(Halving merges, std::vector<Block>& blocks) const {
    if (merges.parts * 2 == leaves_.parts) add_ranges(work_.value, blocks, own_ranges());
  }

  void upload() {
    e_.store(lane, table_memory_.data(), work_.table_bytes, work_.tables);
    device_.chains.count = host_.chains.count;
  }

  // Q = Q S in columns [begin, end): `other_` holds zeros in the columns of the eigenvectors, `rows_` the columns of
  // the level below in the order of S.
  void update(std::int64_t begin, std::int64_t end) {
    if (begin_ == end_) return;
    const Halving& merges = level_.merges;
    const std::int64_t first = merges.part_of(begin_), last = merges.part_of(end_ - 1);
    begin = std::max(begin, merges.begin(first));
    end = std::min(end, merges.end(last));
    std::int64_t depth = 1;
    for (std::int64_t k = first; k <= last; ++k) depth = std::max<std::int64_t>(depth, kept(k));
    const std::int64_t width = work_.s_elements / depth;
    for (std::int64_t at = begin, next; at < end; at = next) {
      next = std::min(at + width, end);
      const MatrixView<R> s{work_.s, depth, next - at, depth};
      e_.secular_vectors(lane, level_, at, s);
      for (std::int64_t k = merges.part_of(at); k <= merges.part_of(next - 1); ++k) {
        const std::int64_t from = std::max(at, merges.begin(k)), to = std::min(next, merges.begin(k) + kept(k));
        if (from < to)
          multiply(merges, k, kinds_[static_cast<std::size_t>(k)], s.block(0, from - at, kept(k), to - from), from);
      }
    }
  }

  // Computes columns of Q from `at` on: the own rows of merge k times columns of its S.
  void multiply(Halving merges, std::int64_t k, const ColumnKinds& kind, MatrixView<R> s, std::int64_t at) {
    const std::int64_t begin = std::max(begin_, merges.begin(k)), end = std::min(end_, merges.end(k));
    const std::int64_t middle = std::clamp(merges.middle(k), begin, end), column = merges.begin(k);
    const std::int64_t above = kind.upper + kind.dense, below = kind.dense + kind.lower;
    const auto product = [&](std::int64_t top, std::int64_t bottom, std::int64_t first, std::int64_t depth) {
      e_.gemm(lane, Op::none, Op::none, R(1), rows_.block(top - begin_, column + first, bottom - top, depth),
              s.block(first, 0, depth, s.columns), other_.block(top - begin_, at, bottom - top, s.columns));
    };
    product(begin, middle, 0, above);
    product(middle, end, kind.upper, below);
  }

  // Sorts the eigenvalues.
  void sort_values() {
    if (e_.size() > 1 && leaves_.parts == 1) {
      std::vector<Block> blocks;
      add_ranges(work_.value, blocks, own_ranges());
      e_.exchange(lane, blocks);
    }
    e_.fetch(lane, work_.value, n_, deflation_.values());
    deflation_.sort({n_, 1}, kept_.data());
    for (std::int64_t i = 0; i < n_; ++i) ascending_.push_back(deflation_.values()[order()[i]] * norm_);
    e_.store(lane, ascending_.data(), n_, w_);
  }
  // Numbers of the last level by ascending eigenvalue.
  const int* order() const { return deflation_.ascending(); }

  // Chains that sort eigenvectors by their eigenvalues. The last merge still needs the rest of the tables.
  void place(EigenvectorRange wanted) {
    host_.chains.count = static_cast<int>(wanted.count);
    for (int i = 0; i < host_.chains.count; ++i) {
      const auto number = wanted.first + i;
      host_.chains.begin[i] = i;
      host_.chains.source[i] = order()[number];
      host_.chains.target[i] = static_cast<int>(number);
    }
    host_.chains.begin[host_.chains.count] = host_.chains.count;
    upload();
  }

  E& e_;
  std::int64_t n_, shard_;
  std::int64_t begin_, end_;  // own rows
  const R *d_, *off_;
  R* w_;
  std::int32_t* info_;
  DivideAndConquerWorkspace<R>& work_;
  std::int64_t leaf_;
  Halving leaves_{};
  R norm_ = 1;
  bool finite_ = false;
  std::vector<R> diagonal_, off_diagonal_;  // of T, scaled
  Deflation<R> deflation_;
  std::vector<std::byte> table_memory_;
  DeflationTables<R> host_, device_;
  std::vector<int> kept_;     // by part of the finished level
  std::vector<R> ascending_;  // eigenvalues
  MergeLevel<R> level_{};     // the current level
  std::vector<ColumnKinds> kinds_;
  MatrixView<R> rows_, other_;
};

template <class R, class E>
  requires BlasOps<E, R> && ExchangeOps<E> && StatusOps<E, R> && TridiagonalOps<E, R>
const std::vector<R>& DivideAndConquer<R, E>::values() {
  if (n_ == 0) return ascending_;
  checked_int(n_, "n");
  if (!divide()) return ascending_;
  e_.zero(lane, other_);
  e_.solve_leaves(lane, leaves_, work_.value, work_.off_diagonal, begin_, other_, info_);
  kept_.resize(static_cast<std::size_t>(leaves_.parts));
  for (std::int64_t k = 0; k < leaves_.parts; ++k) kept(k) = static_cast<int>(leaves_.end(k) - leaves_.begin(k));
  for (Halving merges{n_, leaves_.parts / 2}; merges.parts > 0; merges.parts /= 2) {
    find_roots(merges);
    if (merges.parts > 1) find_columns(0, n_);
  }
  sort_values();
  return ascending_;
}

template <class R, class E>
  requires BlasOps<E, R> && ExchangeOps<E> && StatusOps<E, R> && TridiagonalOps<E, R>
void DivideAndConquer<R, E>::vectors(EigenvectorRange wanted) {
  if (finite_) {
    place(wanted);
    if (leaves_.parts > 1) {
      // The kept roots ascend in the order of the eigenvalues, too.
      const auto kept_before = [&](std::int64_t end) {
        return std::count_if(order(), order() + end, [&](int i) { return i < kept(0); });
      };
      find_columns(kept_before(wanted.first), kept_before(wanted.first + wanted.count));
    }
    e_.rotate_columns(lane, Halving{n_, 1}, device_.chains, begin_, other_, rows_);
  }
  e_.join();
}

}  // namespace jaxmg
