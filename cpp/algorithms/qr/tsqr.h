// QR factorisation of a tall matrix whose rows are divided among the ranks, with one small all-gather (Demmel, Grigori,
// Hoemmen and Langou, "Communication-optimal parallel and sequential QR and LU factorizations", SIAM J. Sci. Comput.
// 34, 2012).
//
// Columns of M are rows of A: M = A^T, n x shard on each rank. With X = M^H, that is conj(A),
//
//   X = [X0; X1; X2; ...]     X0: the first n rows of all ranks; X1, X2, ...: pieces of the other rows
//   X_i = Q_i R_i             every rank, for its own pieces
//   [X0; R1; R2; ...] = Z R   every rank, after an all-gather
//   Q = [Z0; Q1 Z1; ...]
//
// The first n rows stay as they are, and R therefore has the signs that LAPACK gives it: the sign of a diagonal element
// depends on one of these rows, and otherwise on norms only.
//
// Products are faster than reflectors. The Gram matrix of the rows is therefore tried first, twice (CholeskyQR2,
// Yamamoto, Nakatsukasa, Yanagisawa and Fukaya, "Roundoff error analysis of the CholeskyQR2 algorithm", ETNA 44, 2015):
//
//   M M^H = L L^H,  M = L^-1 M;  M M^H = M0 M0^H + L' L'^H,  [M0^H; L'^H] = Z R',  M = R'^-H M,  R = R' L^H
//
// The second Gram matrix shows whether the first step has succeeded: Q is orthonormal to rounding errors if it is close
// to the identity. If it is not, or a matrix is not positive definite, the pieces are factored by reflectors, from
// where the first step has left M: L M is still X^H up to rounding.
//
// Least squares of few right-hand sides need no Q where R of the first Gram matrix is close enough to that of A, see
// seminormal.h: A then stays as it is. An R is tried on pseudo-random vectors z, for which
//
//   E = R^-H A^H A R^-1 - I,  E z
//
// has the norm ||E||_F on average, and is below t ||E||_2 for a fraction t of all z at most. R is accepted if ||E z||
// is below 1/64 for all of three z, or below 1/32 for them and three others. That ||E||_2, by which a step of the
// iteration multiplies errors, is above 1/2 then has a probability of 3e-5 at most, and it is usually far below 1/64.
// The Gram matrix may therefore be computed in any way: first in tensor cores, which round elements to 11 bits. Over
// many rows these errors cancel. The pass over A that finds E z also makes the first step for the right-hand sides.
//
// A power of two scales A before and R after, where squares of elements would over- or underflow.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "algorithms/cholesky/potrf.h"
#include "algorithms/eigen/scale_matrix.h"
#include "algorithms/qr/geqrf.h"
#include "algorithms/qr/orgqr.h"
#include "algorithms/qr/steps.h"
#include "algorithms/qr/tall_sums.h"
#include "comm/block.h"
#include "core/arena.h"
#include "core/ceil_div.h"
#include "core/larger.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/cholesky_ops.h"
#include "engine/engine.h"
#include "engine/low_precision_ops.h"
#include "engine/panel_qr_ops.h"
#include "engine/scaling_ops.h"
#include "engine/svd_ops.h"
#include "engine/tall_ops.h"
#include "layout/tile_columns.h"

namespace jaxmg {

// Rows [q shard, (q + 1) shard) of an m x n matrix are on rank q.
struct TallRows {
  std::int64_t m, n, shard;
  int ranks;
  std::int64_t piece;  // the largest number of rows that are factored at once

  std::int64_t first(int rank) const { return std::min(m, rank * shard); }
  std::int64_t rows(int rank) const { return first(rank + 1) - first(rank); }
  // Of these, the number in the first n rows of the matrix.
  std::int64_t raw(int rank) const { return std::clamp<std::int64_t>(n - first(rank), 0, rows(rank)); }
  std::int64_t pieces(int rank) const { return ceil_div(rows(rank) - raw(rank), piece); }
  std::int64_t most_pieces() const { return ceil_div(shard, piece); }
  // Rows of the shard in piece i.
  Range piece_rows(int rank, std::int64_t i) const {
    const std::int64_t begin = raw(rank) + i * piece;
    return {begin, std::min(rows(rank), begin + piece)};
  }
  std::int64_t reduced(int rank, std::int64_t i) const {
    const Range range = piece_rows(rank, i);
    return std::min(n, range.end - range.begin);
  }
  // Rows of [X0; R1; R2; ...]; at least 2 n, for the second step of CholeskyQR2.
  std::int64_t stacked() const {
    std::int64_t count = n;
    for (int rank = 0; rank < ranks; ++rank) {
      for (std::int64_t i = 0; i < pieces(rank); ++i) count += reduced(rank, i);
    }
    return std::max(count, 2 * n);
  }
};

template <class T>
struct TsqrWorkspace {
  static constexpr std::int64_t slots = 2;

  std::int64_t tile, leaf;
  MatrixView<T> gram, gathered;  // of own rows; of all ranks, side by side
  MatrixView<T> first, second;   // R of the steps
  MatrixView<T> identity;
  Real<T>* distance;      // of the second Gram matrix from the identity
  Real<T>*norms, *scale;  // of A: of each rank, and what it is multiplied by
  std::int32_t *failed, *info;
  MatrixView<T> stack, stack_factors;
  MatrixView<T> x, factors, tops;  // own rows; T and R of the pieces, side by side
  Arena steps;                     // of factorisations and products, one after another

  TsqrWorkspace(Arena& arena, const TallRows& rows, std::int64_t tile_columns, std::int64_t leaf_columns)
      : tile(std::min(tile_columns, rows.n)), leaf(leaf_columns) {
    const std::int64_t n = rows.n, pieces = rows.most_pieces();
    gram = arena.matrix<T>(n, n);
    gathered = arena.matrix<T>(n, n * rows.ranks);
    first = arena.matrix<T>(n, n);
    second = arena.matrix<T>(n, n);
    identity = arena.matrix<T>(n, n);
    distance = arena.take<Real<T>>(1);
    norms = arena.take<Real<T>>(rows.ranks);
    scale = arena.take<Real<T>>(1);
    failed = arena.take<std::int32_t>(1);
    info = arena.take<std::int32_t>(1);
    stack = arena.matrix<T>(rows.stacked(), n);
    stack_factors = arena.matrix<T>(tile, n);
    x = arena.matrix<T>(rows.shard, n);
    factors = arena.matrix<T>(tile, n * pieces);
    tops = arena.matrix<T>(n, n * pieces);
    steps = arena;
    std::int64_t most = arena.used();
    for (const std::int64_t count : {rows.stacked(), std::min(rows.piece, rows.shard)}) {
      Arena factoring = steps, forming = steps;
      const TileColumns layout = alone(std::max(count, std::int64_t{1}), n);
      [[maybe_unused]] const GeqrfWorkspace<T> to_factor(factoring, layout, leaf, slots);
      [[maybe_unused]] const OrmqrWorkspace<T> to_form(forming, layout, n, slots);
      most = std::max({most, factoring.used(), forming.used()});
    }
    arena.take<std::byte>(most - arena.used());
  }

  // A matrix of one rank.
  TileColumns alone(std::int64_t rows, std::int64_t n) const { return {rows, n, n, tile, 1}; }
};

// Workspace for least squares with `sides` right-hand sides, in addition. The first `sides` columns are of these, the
// others of the vectors that R is tried on.
template <class T>
struct GramTrialWorkspace {
  static constexpr std::int64_t tries = residual_vectors - 1;

  std::int64_t sides;
  MatrixView<T> vectors, solutions;  // z; x and R^-1 z
  MatrixView<T> products;            // R dx and E z, and R x before; below, squared norms of residuals
  MatrixView<T> terms, start_terms;  // of all ranks, side by side
  MatrixView<T> rest;                // w - A x of own rows
  T* scratch;
  Real<T>*scales, *partials;  // of a Gram matrix of rounded numbers

  GramTrialWorkspace(Arena& arena, const TallRows& rows, std::int64_t right_hand_sides) : sides(right_hand_sides) {
    const std::int64_t n = rows.n, count = sides + tries;
    vectors = arena.matrix<T>(n, tries);
    solutions = arena.matrix<T>(n, count);
    products = arena.matrix<T>(n + 1, count + sides);
    terms = arena.matrix<T>(n + 1, count * rows.ranks);
    start_terms = arena.matrix<T>(n, sides * rows.ranks);
    rest = arena.matrix<T>(rows.shard, count);
    scratch = arena.take<T>(residual_scratch(rows.shard, n, count));
    scales = arena.take<Real<T>>(n);
    partials = arena.take<Real<T>>(std::same_as<T, float> ? RoundedGramSizes{n, rows.shard}.partials() : 0);
  }
};

template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && CholeskyOps<E, T> && PanelQrOps<E, T> &&
           ScalingOps<E, T> && SvdOps<E, T> && ResidualOps<E, T>
class Tsqr {
 public:
  // `a` (n x shard) is overwritten by Q^T if `wants_q`, else by other values; `r` (n x n) receives R^T on every rank.
  Tsqr(E& engine, const TallRows& rows, bool wants_q, MatrixView<T> a, MatrixView<T> r, TsqrWorkspace<T>& workspace)
      : e_(engine),
        alone_(engine.alone()),
        rows_(rows),
        n_(rows.n),
        wants_q_(wants_q),
        a_(a.block(0, 0, rows.n, rows.rows(engine.rank()))),
        r_(r),
        w_(workspace) {}

  void run();

  // The same for a matrix that is kept, `a` being another buffer, unless R of a Gram matrix suffices for the seminormal
  // equations: then nothing is written but the workspace. Returns whether that is so. For own rows of the right-hand
  // sides w, x and the first step R dx are then in the workspace, and its norm is the last of `steps`.
  bool run_for_least_squares(MatrixView<T> kept, MatrixView<T> w, GramTrialWorkspace<T>& trial, Steps& steps);

  // The R^T that suffices, in the workspace; the elements above the diagonal are undefined.
  MatrixView<T> sufficient() const { return w_.gram; }
  // Copies it.
  void copy_sufficient();

 private:
  static constexpr Lane lane = Lane::panel;

  // A power of two times A, where squares would over- or underflow.
  void scale_up() {
    scale_ = find_scale<T>(e_, lane, {a_}, w_.norms, w_.scale);
    if (scale_ != 1) e_.multiply(lane, w_.scale, a_);
  }

  // W = L L^H for the Gram matrix of A.
  bool factor_first() {
    sum_gram_matrices(a_, false);
    return factor_gram();
  }

  // R = L^H of the Gram matrix.
  void keep_factor(MatrixView<T> r) {
    e_.conj_transpose(lane, w_.gram, r);
    e_.zero_below(lane, r);
  }

  // CholeskyQR2. Returns false if reflectors are needed; M and R of the first step are valid in any case. `definite`:
  // whether the first Gram matrix has a factor, if it has been computed.
  bool by_gram_matrices(std::optional<bool> definite) {
    e_.identity(lane, w_.first);
    if (!(definite ? *definite : factor_first())) return false;
    e_.trsm(lane, Side::left, Uplo::lower, Op::none, Diag::non_unit, w_.gram, a_);
    keep_factor(w_.first);

    const std::int64_t raw = rows_.raw(e_.rank());
    const auto top = w_.stack.block(0, 0, n_, n_), rest = w_.stack.block(n_, 0, n_, n_);
    gather_top(w_.second);
    e_.conj_transpose(lane, w_.second, top);
    sum_gram_matrices(a_.block(0, raw, n_, a_.columns - raw), false);
    if (!is_near_identity(top) || !factor_gram()) return false;
    keep_factor(rest);
    factor_stack(2 * n_);
    if (wants_q_) e_.trsm(lane, Side::left, Uplo::upper, Op::conj_transpose, Diag::non_unit, w_.second, a_);
    return true;
  }

  // C = C - A B^H
  void add_product(bool rounded, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    if constexpr (RoundedProductOps<E, T>) {
      if (rounded) {
        e_.rounded_product(lane, Op::none, Op::conj_transpose, T(-1), a, b, c);
        return;
      }
    }
    e_.gemm(lane, Op::none, Op::conj_transpose, T(-1), a, b, c);
  }

  // The lower triangle of the sum of M M^H over all ranks. `rounded`: products of tensor cores, whose operands have 11
  // bits.
  void sum_gram_matrices(MatrixView<T> m, bool rounded) {
    const auto mine = own_gram();
    e_.zero(lane, mine);
    for (std::int64_t row = 0; row < m.columns; row += gram_rows) {
      const auto rows = m.block(0, row, n_, std::min(gram_rows, m.columns - row));
      for (std::int64_t begin = 0; begin < n_; begin += gram_columns) {
        const std::int64_t width = std::min(gram_columns, n_ - begin);
        add_product(rounded, rows.block(begin, 0, n_ - begin, rows.columns), rows.block(begin, 0, width, rows.columns),
                    mine.block(begin, begin, n_ - begin, width));
      }
    }
    e_.zero(lane, w_.gram);
    subtract_sum(e_, lane, gram_terms(), w_.gram);
  }

  MatrixView<T> own_gram() const { return e_.size() == 1 ? w_.gathered : w_.identity; }
  Terms<T> gram_terms() const { return {w_.gathered, own_gram()}; }  // negative

  // Cholesky factorisation of the Gram matrix.
  bool factor_gram() {
    enqueue_factor();
    return is_factored();
  }
  void enqueue_factor() {
    e_.set_info(lane, w_.failed, 0);
    e_.set_info(lane, w_.info, no_failure);
    e_.potrf(lane, w_.gram, w_.failed);
    e_.check_factor(lane, w_.gram, w_.failed, 0, w_.info);
  }
  // Every rank takes the decision of rank 0.
  bool is_factored() {
    std::int32_t info = 0;
    e_.fetch(lane, of_first_rank(w_.info), 1, &info);
    return info == no_failure;
  }

  // Whether the Gram matrix of all rows is close to the identity: in the largest element, hence in the Frobenius norm
  // to 0.1. `top` has the first n rows.
  bool is_near_identity(MatrixView<T> top) {
    e_.copy(lane, w_.gram, w_.second);
    e_.gemm(lane, Op::conj_transpose, Op::none, T(1), top, top, w_.second);
    e_.identity(lane, w_.identity);
    e_.subtract(lane, {w_.identity}, w_.second);
    e_.mirror(lane, w_.second);
    e_.zero(lane, MatrixView<Real<T>>{w_.distance, 1, 1, 1});
    e_.largest(lane, w_.second, w_.distance);
    Real<T> distance = 0;
    e_.fetch(lane, of_first_rank(w_.distance), 1, &distance);
    return distance * static_cast<Real<T>>(n_) <= Real<T>(0.1);
  }

  // How a Gram matrix was formed: not at all, alone, or with the products A^H w, which are then in the solutions.
  enum class Formed { no, alone, with_products };

  // By numbers of FP16 where the engine can; otherwise by TF32, or not at all.
  Formed sum_rounded(MatrixView<T> m, MatrixView<T> w, GramTrialWorkspace<T>& trial) {
    if constexpr (RoundedGramOps<E, T>) {
      const RoundedGramSizes sizes{n_, rows_.shard};
      const MatrixView<Half> halves{reinterpret_cast<Half*>(w_.x.data), n_, sizes.rows(), sizes.pitch()};
      if (2 * halves.ld * halves.columns > 4 * n_ * rows_.shard) return Formed::no;
      const bool starts = w.columns == 1;
      const auto mine = own_gram();
      const Terms<T> starting{trial.start_terms};
      const auto start = trial.solutions.block(0, 0, n_, starts ? 1 : 0),
                 own_start = starting.of_rank(e_.rank(), start);
      if (m.columns > 0) {
        e_.rounded_gram(lane, sizes, m, w.block(0, 0, m.columns, start.columns), trial.scales, halves, trial.partials,
                        mine, trial.scratch, own_start);
      } else {
        e_.zero(lane, mine);
        e_.zero(lane, own_start);
      }
      std::vector<Block> blocks;
      gram_terms().gather(e_.size(), w_.gram, blocks);
      if (starts) starting.gather(e_.size(), start, blocks);
      if (e_.size() > 1) e_.exchange(lane, blocks);
      e_.zero(lane, w_.gram);
      subtract_gathered(e_, lane, gram_terms(), w_.gram);
      if (!starts) return Formed::alone;
      e_.zero(lane, start);
      subtract_gathered(e_, lane, starting, start);
      return Formed::with_products;
    } else if constexpr (RoundedProductOps<E, T>) {
      sum_gram_matrices(m, true);
      return Formed::alone;
    } else {
      return Formed::no;
    }
  }

  // Solves with R, and passes over A once, or twice in doubt: for x = R^-1 R^-H A^H w where these products are known,
  // or else for x = 0. Returns whether R is accepted, the same on every rank.
  bool suffices(MatrixView<T> m, MatrixView<T> w, bool started, GramTrialWorkspace<T>& trial, Steps& steps) {
    const std::int64_t sides = trial.sides, tries = trial.tries, count = sides + tries;
    const auto start = trial.solutions.block(0, 0, n_, sides), of_start = trial.products.block(0, count, n_, sides);
    if (started) {
      e_.trsm(lane, Side::left, Uplo::lower, Op::none, Diag::non_unit, w_.gram, start);
      e_.copy(lane, start, of_start);
    } else {
      e_.zero(lane, start);
      e_.zero(lane, of_start);
    }
    e_.zero(lane, trial.products.block(n_, count, 1, sides));
    ColumnNorms found;
    const auto part = [&](std::int64_t first, std::int64_t length) {
      return std::vector<double>(found.norms.begin() + first, found.norms.begin() + first + length);
    };
    // Tries R on vectors from number `first` on; the largest ||E z||.
    const auto departure = [&](std::int64_t first, MatrixView<T> solved) {
      found = step_and_trial(m, w, first, solved, trial);
      double largest = 0;
      for (const double norm : part(sides, tries)) largest = larger_or_nan(largest, norm);
      return largest;
    };
    const auto tried = trial.solutions.block(0, sides, n_, tries);
    steps.departure = departure(0, started ? trial.solutions : tried);
    const bool in_doubt = steps.departure > certain_departure && steps.departure <= largest_departure;
    if (in_doubt) steps.departure = departure(tries, tried);
    if (!(steps.departure <= (in_doubt ? largest_departure : certain_departure))) return false;
    if (started) steps.add(part(count, sides), {});
    steps.add(part(0, sides), {found.below.begin(), found.below.begin() + sides});
    return true;
  }

  // R dx and E z, z = pseudo-random vectors from number `first` on, from one pass over A for x and R^-1 z. `solved`:
  // the solutions that are to be multiplied by R^-1 before, z among them.
  ColumnNorms step_and_trial(MatrixView<T> m, MatrixView<T> w, std::int64_t first, MatrixView<T> solved,
                             GramTrialWorkspace<T>& trial) {
    const std::int64_t sides = trial.sides, tries = trial.tries, count = sides + tries;
    const auto x = trial.solutions, z = trial.vectors;
    const auto y = trial.products.block(0, 0, n_ + 1, count), of_y = y.block(0, 0, n_, count);
    e_.zero(lane, z);
    e_.add_noise(lane, Real<T>(1), 0, first, z);
    e_.copy(lane, z, x.block(0, sides, n_, tries));
    e_.trsm(lane, Side::left, Uplo::lower, Op::conj_transpose, Diag::non_unit, w_.gram, solved);
    const Terms<T> terms{trial.terms};
    e_.residual_products(lane, m, x, w.block(0, 0, m.columns, sides), trial.rest.block(0, 0, m.columns, count),
                         trial.scratch, terms.of_rank(e_.rank(), y));
    e_.zero(lane, y);
    subtract_sum(e_, lane, terms, y);
    e_.trsm(lane, Side::left, Uplo::lower, Op::none, Diag::non_unit, w_.gram, of_y);
    e_.subtract(lane, {z}, of_y.block(0, sides, n_, tries));
    if (e_.size() > 1) e_.exchange(lane, {make_block(0, all_ranks, trial.products, trial.products)});
    return column_norms(e_, lane, trial.products);
  }

  template <class Number>
  Number* of_first_rank(Number* number) {
    const MatrixView<Number> entry{number, 1, 1, 1};
    if (e_.size() > 1) e_.exchange(lane, {make_block(0, all_ranks, entry, entry)});
    return number;
  }

  // The first n columns of M on every rank.
  void gather_top(MatrixView<T> top) {
    std::vector<Block> gather;
    for (int rank = 0; rank < e_.size(); ++rank) {
      const std::int64_t raw = rows_.raw(rank);
      if (raw == 0) continue;
      gather.push_back(make_block(rank, all_ranks, MatrixView<T>{a_.data, n_, raw, a_.ld},
                                  top.block(0, rows_.first(rank), n_, raw)));
    }
    e_.exchange(lane, gather);
  }

  // QR factorisation of the first rows of the stack, on every rank; copies R.
  void factor_stack(std::int64_t count) {
    factor(w_.stack.block(0, 0, count, n_), w_.stack_factors);
    e_.copy(lane, w_.stack.block(0, 0, n_, n_), w_.second);
    e_.zero_below(lane, w_.second);
  }

  void factor(MatrixView<T> a, MatrixView<T> factors) {
    const TileColumns layout = w_.alone(a.rows, n_);
    Arena arena = w_.steps;
    GeqrfWorkspace<T> workspace(arena, layout, w_.leaf, w_.slots);
    e_.join();
    Geqrf<T, E>(alone_, layout, a, factors, workspace).run();
  }
  void form(MatrixView<T> a, MatrixView<T> factors) {
    const TileColumns layout = w_.alone(a.rows, n_);
    Arena arena = w_.steps;
    OrmqrWorkspace<T> workspace(arena, layout, n_, w_.slots);
    e_.join();
    Orgqr<T, E>(alone_, layout, a, factors, workspace).run();
  }

  // Reduces all pieces by reflectors, and gathers what is left.
  void by_reflectors() {
    const int rank = e_.rank();
    e_.conj_transpose(lane, a_, w_.x.block(0, 0, a_.columns, n_));
    for (std::int64_t i = 0; i < rows_.pieces(rank); ++i) {
      const std::int64_t reduced = rows_.reduced(rank, i);
      factor(piece(i), factors(i));
      const auto top = tops(i).block(0, 0, reduced, n_);
      e_.copy(lane, piece(i).block(0, 0, reduced, n_), top);
      e_.zero_below(lane, top.block(0, 0, reduced, reduced));
    }
    std::vector<Block> gather;
    each_part([&](int owner, std::int64_t i, std::int64_t row, std::int64_t count) {
      const auto from = i < 0 ? w_.x.block(0, 0, count, n_) : tops(i).block(0, 0, count, n_);
      gather.push_back(make_block(owner, all_ranks, from, w_.stack.block(row, 0, count, n_)));
    });
    e_.exchange(lane, gather);
    factor_stack(stacked_);
    if (wants_q_) form_q();
  }

  // M = Q^T: of own rows in the stack their adjoint, of the pieces (Q_i Z_i)^H.
  void form_q() {
    form(w_.stack.block(0, 0, stacked_, n_), w_.stack_factors);
    each_part([&](int owner, std::int64_t i, std::int64_t row, std::int64_t count) {
      if (owner != e_.rank()) return;
      const auto z = w_.stack.block(row, 0, count, n_);
      if (i < 0) {
        e_.conj_transpose(lane, z, a_.block(0, 0, n_, count));
        return;
      }
      const Range range = rows_.piece_rows(owner, i);
      const auto q = a_.block(0, range.begin, n_, range.end - range.begin);
      form(piece(i), factors(i));
      e_.zero(lane, q);
      e_.gemm(lane, Op::conj_transpose, Op::conj_transpose, T(1), z,
              piece(i).block(0, 0, range.end - range.begin, count), q);
    });
  }

  // Calls visit(rank, piece, row, count) for the parts of the stack; piece -1 stands for rows of X0.
  template <class Visit>
  void each_part(Visit&& visit) {
    for (int rank = 0; rank < rows_.ranks; ++rank) {
      if (rows_.raw(rank) > 0) visit(rank, std::int64_t{-1}, rows_.first(rank), rows_.raw(rank));
    }
    stacked_ = n_;
    for (int rank = 0; rank < rows_.ranks; ++rank) {
      for (std::int64_t i = 0; i < rows_.pieces(rank); ++i) {
        visit(rank, i, stacked_, rows_.reduced(rank, i));
        stacked_ += rows_.reduced(rank, i);
      }
    }
  }

  MatrixView<T> piece(std::int64_t i) const {
    const Range range = rows_.piece_rows(e_.rank(), i);
    return w_.x.block(range.begin, 0, range.end - range.begin, n_);
  }
  MatrixView<T> factors(std::int64_t i) const { return w_.factors.block(0, i * n_, w_.tile, n_); }
  MatrixView<T> tops(std::int64_t i) const { return w_.tops.block(0, i * n_, n_, n_); }

  void conclude();

  // Columns of a product for the lower triangle of a Gram matrix, and rows of A that it sums.
  static constexpr std::int64_t gram_columns = 256, gram_rows = 16384;
  // See above.
  static constexpr double largest_departure = 1.0 / 32, certain_departure = 1.0 / 64;

  E& e_;
  E alone_;
  TallRows rows_;
  std::int64_t n_;
  bool wants_q_;
  MatrixView<T> a_, r_;
  TsqrWorkspace<T>& w_;
  std::int64_t stacked_ = 0;
  Real<T> scale_ = 1;
};

template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && CholeskyOps<E, T> && PanelQrOps<E, T> &&
           ScalingOps<E, T> && SvdOps<E, T> && ResidualOps<E, T>
void Tsqr<T, E>::run() {
  e_.join();
  scale_up();
  if (!by_gram_matrices(std::nullopt)) by_reflectors();
  conclude();
}

template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && CholeskyOps<E, T> && PanelQrOps<E, T> &&
           ScalingOps<E, T> && SvdOps<E, T> && ResidualOps<E, T>
bool Tsqr<T, E>::run_for_least_squares(MatrixView<T> kept, MatrixView<T> w, GramTrialWorkspace<T>& trial,
                                       Steps& steps) {
  const auto m = kept.block(0, 0, n_, a_.columns);
  bool definite = false;
  e_.join();
  for (const bool rounded : {true, false}) {
    Formed formed = Formed::alone;
    if (rounded) {
      formed = sum_rounded(m, w, trial);
    } else {
      sum_gram_matrices(m, false);
    }
    if (formed == Formed::no) continue;
    enqueue_factor();
    // A matrix without a factor is not accepted either.
    if (suffices(m, w, formed == Formed::with_products, trial, steps)) return true;
    definite = is_factored();
  }
  e_.copy(lane, m, a_);
  scale_up();
  if (!by_gram_matrices(scale_ == 1 ? std::optional(definite) : std::nullopt)) by_reflectors();
  conclude();
  return false;
}

template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && CholeskyOps<E, T> && PanelQrOps<E, T> &&
           ScalingOps<E, T> && SvdOps<E, T> && ResidualOps<E, T>
void Tsqr<T, E>::copy_sufficient() {
  keep_factor(w_.second);
  e_.conj_transpose(lane, w_.second, r_);
  e_.join();
}

template <class T, class E>
  requires BlasOps<E, T> && BlasOps<E, Real<T>> && ExchangeOps<E> && CholeskyOps<E, T> && PanelQrOps<E, T> &&
           ScalingOps<E, T> && SvdOps<E, T> && ResidualOps<E, T>
void Tsqr<T, E>::conclude() {
  // R^T = (R' R_1)^H, as X is conjugated.
  e_.join();
  e_.zero(lane, r_);
  e_.gemm(lane, Op::conj_transpose, Op::conj_transpose, T(1), w_.first, w_.second, r_);
  e_.divide(lane, w_.scale, r_);
  e_.join();
}

}  // namespace jaxmg
