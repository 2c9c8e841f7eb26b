// What the eigensolvers ask of an engine beyond engine.h, stage by stage.
#pragma once

#include <concepts>
#include <cstdint>
#include <vector>

#include "comm/block.h"
#include "core/batch.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "engine/engine.h"
#include "engine/reflectors.h"
#include "engine/scratch.h"
#include "engine/secular.h"

namespace jaxmg {

// The status of a call whose matrix has a NaN or an infinity: the fourth argument of LAPACK's syevd is illegal.
inline constexpr std::int32_t not_finite = -4;

// Dense to band and back (band_reduction.h), and the scaling of the matrix (syevd.h).
template <class E, class T>
concept BandReductionEngine = Engine<E, T> && requires(E& e, Lane lane, MatrixView<T> a, MatrixView<T> t, T* scratch,
                                                       const Real<T>* norms, Real<T>* norm, std::int32_t* info,
                                                       const std::vector<Block>& blocks, MatrixView<Real<T>> w) {
  // A = Q R as LAPACK's geqrt: R in the upper triangle of A, below it the vectors V, whose ones are not stored;
  // Q = I - V T V^H with T upper triangular (zeros below its diagonal). A may be wide, and of any rank. `scratch`
  // holds geqrt_scratch(columns of A) elements.
  e.geqrt(lane, a, t, scratch);
  // The unit lower trapezoid: ones on the diagonal, zeros above it.
  e.unit_lower(lane, a);
  // Copies of blocks within this rank's memory; their sources and targets do not count.
  e.copy_all(lane, blocks);
  // *norm = max(*norm, moduli of the real and imaginary parts of A), infinite if one of them is not finite.
  e.largest(lane, a, norm);
  // From the size() norms of the ranks: the power of two that the matrix is to be multiplied by, 1 where its
  // squares neither over- nor underflow; 0, and *info = not_finite, where a norm is infinite.
  e.choose_scale(lane, norms, norm, info);
  // A = A *norm, which is zero, whatever A is, where *norm is;  W = W / *norm.
  e.multiply(lane, norm, a);
  e.divide(lane, norm, w);
};

// Band to tridiagonal and back (bulge_chasing.h); what diamonds and waves are is told in diamonds.h.
template <class E, class T>
concept BulgeChasingEngine =
    Engine<E, T> && requires(E& e, Lane lane, MatrixView<T> a, MatrixView<T> b, const Reflectors<T>& reflectors,
                             const std::vector<Wave>& waves, Batch<T> batch, std::int32_t* info, Real<T>* real) {
      // Takes a band of n columns, with zeros up to n + 3 b columns, to tridiagonal form; the same bits on every rank.
      // Fills the reflectors that are kept, which were zero, the diagonal, the off-diagonal. `progress` are n words to
      // work with.
      // Sets info to at most n + 1 if that could not be finished.
      e.chase(lane, a, reflectors, info /*progress*/, real /*d*/, real /*e*/, info);
      // The parts, of order 2b, of the diamonds of several waves that are to be merged `levels` times; those that lie
      // beyond the matrix are identities. All columns of their blocks are there.
      e.form_diamonds(lane, reflectors, waves, int{} /*levels*/, batch);
      // C_i = A_i B_i.
      e.multiply_each(lane, batch, batch, batch);
      // What of merged diamonds needs no product, and what these begin with, see BackTransformation::merge.
      e.merge_corners(lane, batch /*parts*/, batch /*q*/, batch /*y*/);
      // A = diag(phases) A for a vector of phases.
      e.scale_rows(lane, b /*phases*/, a);
    };

// Eigenvalues and eigenvectors of a real symmetric tridiagonal matrix (divide_and_conquer.h, bisection.h); what a level
// and chains are is told in secular.h. Q is this rank's rows, from `row` on, of a matrix of order n.
template <class E, class R>
concept TridiagonalEngine =
    Engine<E, R> &&
    requires(E& e, Lane lane, const R* cx, R* x, std::int64_t count, std::int64_t row, Halving halving,
             const MergeLevel<R>& level, const ColumnChains<R>& chains, MatrixView<R> q, std::int32_t* info) {
      // To the host, which waits for the lane; and from there, with no exchange in the lane since it was last waited
      // for. The host's memory is free again on return.
      e.fetch(lane, cx, count, x /*host*/);
      e.store(lane, cx /*host*/, count, x);
      // How small parts should be, and how large they may be is largest_leaf.
      { E::leaf_rows } -> std::convertible_to<std::int64_t>;
      // The eigenvalues of every part that has rows here, in place of its diagonal in the first array, and the rows of
      // its eigenvectors. Here and below, info becomes at most the number of an eigenvalue that was not found.
      e.solve_leaves(lane, halving, x /*d*/, cx /*e*/, row, q, info);
      // z_i = Q_ri, where r is the cut row of i, for `count` numbers from the first on.
      e.take_cut_rows(lane, halving, row, q, std::int64_t{} /*first*/, count, x /*z*/);
      // The second matrix gets the columns of the first, rotated, in the rows of their part.
      e.rotate_columns(lane, halving, chains, row, q, q);
      // Roots, then zhat, of `count` numbers from the first on; the eigenvalues with the roots.
      e.solve_secular(lane, level, std::int64_t{} /*first*/, count, info);
      e.adapt_weights(lane, level, std::int64_t{} /*first*/, count);
      // In the rows of their part, the second matrix gets the deflated columns of the first, and zeros for the others.
      e.keep_deflated(lane, level, row, q, q);
      // The eigenvectors of diag(d) + rho z z^T for columns of S that stand for numbers from the first on; rows are in
      // the level's order. What is not in such a vector is left as it is.
      e.secular_vectors(lane, level, std::int64_t{} /*first*/, q);
      // w = eigenvalues from number `row` on (in q, one row), which all lie in [low, high], from the diagonal and the
      // squares of the off-diagonal.
      e.bisect(lane, std::int64_t{} /*n*/, cx /*d*/, cx /*squares*/, R{} /*low*/, R{} /*high*/, row, q);
    };

// An engine of the same rank, in the same lanes, for which there is no other rank: it is rank 0 of 1.
template <class E>
concept SoloEngine = requires(const E& c) {
  { c.alone() } -> std::same_as<E>;
};

// A real matrix as one of scalar type T.
template <class E, class T>
concept WideningEngine =
    Engine<E, T> && requires(E& e, Lane lane, MatrixView<Real<T>> a, MatrixView<T> b) { e.widen(lane, a, b); };

}  // namespace jaxmg
