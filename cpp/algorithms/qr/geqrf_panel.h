// QR factorisation of a panel on one rank, by recursion: left half, update of the right half, right half, and the T of
// both halves (Elmroth and Gustavson, "Applying recursion to serial and parallel QR factorization leads to better
// performance", IBM J. Res. Dev. 44, 2000). The engine's geqrt, which works column by column, is given narrow panels,
// and the rest are products.
//
//   [V1 V2]:  T = [ T1  -T1 (V1^H V2) T2 ]
//                 [           T2         ]
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/ceil_div.h"
#include "core/matrix_view.h"
#include "engine/engine.h"
#include "engine/panel_qr_ops.h"
#include "engine/scratch.h"

namespace jaxmg {

template <class T>
struct GeqrfPanelWorkspace {
  std::int64_t leaf;         // columns that the engine's geqrt factors at once, at most
  T* scratch;                // geqrt's
  MatrixView<T> top;         // the square top of V of all columns, with its unit diagonal and zeros above it
  MatrixView<T> products;    // V^H A, or V1^H V2
  MatrixView<T> multiplied;  // the same times T^H or T2

  GeqrfPanelWorkspace(Arena& arena, std::int64_t columns, std::int64_t leaf_columns)
      : leaf(std::min(leaf_columns, columns)), scratch(arena.take<T>(geqrt_scratch(leaf))) {
    if (columns <= std::min(leaf, least_geqrt_columns)) return;
    top = arena.matrix<T>(columns, columns);
    products = arena.matrix<T>(columns, columns);
    multiplied = arena.matrix<T>(columns, columns);
  }
};

template <class T, class E>
  requires BlasOps<E, T> && PanelQrOps<E, T>
class GeqrfPanel {
 public:
  // `a` has at least as many rows as columns, and `t` is square. Returns R and V in A, and T, as geqrt does.
  GeqrfPanel(E& engine, Lane lane, MatrixView<T> a, MatrixView<T> t, GeqrfPanelWorkspace<T>& workspace)
      : e_(engine), lane_(lane), a_(a), t_(t), w_(workspace) {}

  void run() {
    if (a_.columns > leaf_at(0)) {
      e_.zero(lane_, t_);
      e_.zero(lane_, w_.top.block(0, 0, a_.columns, a_.columns));
    }
    factor(0, a_.columns);
  }

 private:
  // Columns to factor at once from row `begin` on: more where fewer rows are left.
  std::int64_t leaf_at(std::int64_t begin) const {
    return std::min(w_.leaf, e_.template geqrt_columns<T>(a_.rows - begin));
  }

  void factor(std::int64_t begin, std::int64_t end) {
    const std::int64_t width = end - begin, leaf = leaf_at(begin);
    if (width <= leaf) {
      e_.geqrt(lane_, a_.block(begin, begin, a_.rows - begin, width), t_.block(begin, begin, width, width), w_.scratch);
      if (width == a_.columns) return;
      const auto top = w_.top.block(begin, begin, a_.columns - begin, width);
      e_.copy(lane_, a_.block(begin, begin, top.rows, width), top);
      e_.unit_lower(lane_, top);
      return;
    }
    // Whole leaves to the left.
    const std::int64_t left = ceil_div(width, 2 * leaf) * leaf, middle = begin + left;
    factor(begin, middle);
    update(begin, middle, end);
    factor(middle, end);
    merge(begin, middle, end);
  }

  // A2 = A2 - V1 T1^H V1^H A2
  void update(std::int64_t begin, std::int64_t middle, std::int64_t end) {
    const std::int64_t left = middle - begin, right = end - middle, below = a_.rows - middle;
    const auto top = unit_top(begin, middle), rest = a_.block(middle, begin, below, left);
    const auto a_top = a_.block(begin, middle, left, right), a_rest = a_.block(middle, middle, below, right);
    const auto products = w_.products.block(0, 0, left, right), multiplied = w_.multiplied.block(0, 0, left, right);
    e_.product(lane_, Op::conj_transpose, Op::none, T(1), top, a_top, products);
    e_.gemm(lane_, Op::conj_transpose, Op::none, T(1), rest, a_rest, products);
    e_.product(lane_, Op::conj_transpose, Op::none, T(1), t_.block(begin, begin, left, left), products, multiplied);
    e_.gemm(lane_, Op::none, Op::none, T(-1), top, multiplied, a_top);
    e_.gemm(lane_, Op::none, Op::none, T(-1), rest, multiplied, a_rest);
  }

  // T12 = -T1 (V1^H V2) T2. Zeros of V2 meet the rows of V1 above its diagonal.
  void merge(std::int64_t begin, std::int64_t middle, std::int64_t end) {
    const std::int64_t left = middle - begin, right = end - middle, below = a_.rows - end;
    const auto top = unit_top(middle, end);
    const auto products = w_.products.block(0, 0, left, right), multiplied = w_.multiplied.block(0, 0, left, right);
    e_.product(lane_, Op::conj_transpose, Op::none, T(1), a_.block(middle, begin, right, left), top, products);
    e_.gemm(lane_, Op::conj_transpose, Op::none, T(1), a_.block(end, begin, below, left),
            a_.block(end, middle, below, right), products);
    e_.product(lane_, Op::none, Op::none, T(1), products, t_.block(middle, middle, right, right), multiplied);
    e_.product(lane_, Op::none, Op::none, T(-1), t_.block(begin, begin, left, left), multiplied,
               t_.block(begin, middle, left, right));
  }

  // The square top of V of columns [begin, end), which A shares with R.
  MatrixView<T> unit_top(std::int64_t begin, std::int64_t end) const {
    return w_.top.block(begin, begin, end - begin, end - begin);
  }

  E& e_;
  Lane lane_;
  MatrixView<T> a_, t_;
  GeqrfPanelWorkspace<T>& w_;
};

}  // namespace jaxmg
