// The routines that Python calls, once for all platforms: which buffers each takes, and what it does with them.
//
// A routine has its operands that results are aliased to first (`in_place` of them), then those it only reads. A new
// one is a struct here and a line in routine_names.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "algorithms/redistribute.h"
#include "backends/backend.h"
#include "backends/grid_plan.h"
#include "core/error.h"
#include "core/scalar.h"
#include "ffi/call.h"
#include "ffi/routine_names.h"

namespace jaxmg::routines {

// What most routines are.
struct Defaults {
  static constexpr bool factors = false;       // whether diagonal blocks are factored by the vendor's potrf
  static constexpr bool data_decides = false;  // what is launched depends on the numbers, not on sizes alone
};

template <class T, class E>
std::unique_ptr<CholeskyBackend<T, E>> cholesky_backend(const CallFrame& call) {
  return Backends<E>::template cholesky<T>(call.backend());
}

// This rank's columns of the matrix. cuSOLVERMp also takes a block of rows and columns, and looks at its size itself.
template <class T>
MatrixView<T> shard_of_matrix(const CallFrame& call, xffi::AnyBuffer buffer) {
  const MatrixView<T> shard = columns_of<T>(buffer);
  const std::int64_t n = call.attribute("n");
  if (shard.rows != n && call.backend() != BackendName::cusolvermp) {
    throw Error(ErrorCode::internal, "the buffer of the matrix does not have rows of n = " + std::to_string(n));
  }
  return shard;
}

template <class T>
DealtMatrix<T> dealt_matrix(const CallFrame& call, const Membership& members, xffi::AnyBuffer buffer) {
  const MatrixView<T> shard = shard_of_matrix<T>(call, buffer);
  const std::int64_t n = call.attribute("n");
  return {TileColumns(n, shard.columns, call.attribute("tile"), members.roll.ranks()), call.attribute("pivot"),
          call.attribute("slots"), shard};
}

template <class T>
RightHandSides<T> right_hand_sides(const CallFrame& call, xffi::AnyBuffer buffer) {
  const MatrixView<T> x = columns_of<T>(buffer);
  const std::int64_t n = call.attribute("n");
  if (x.rows != n) {
    throw Error(ErrorCode::internal, "the buffer of b does not have rows of n = " + std::to_string(n));
  }
  return {x, call.attribute("distributed_rhs") != 0};
}

// a, b -> a factor that nobody has promised anything about, x, info
struct Posv : Defaults {
  static constexpr std::size_t in_place = 2;
  static constexpr bool factors = true;
  template <class T, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena workspace) {
    cholesky_backend<T, E>(call)->posv(engine, dealt_matrix<T>(call, members, call.result(0)),
                                       right_hand_sides<T>(call, call.result(1)), call.info(2), workspace);
  }
};

// a -> factor, info
struct Potrf : Defaults {
  static constexpr std::size_t in_place = 1;
  static constexpr bool factors = true;
  template <class T, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena workspace) {
    cholesky_backend<T, E>(call)->potrf(engine, dealt_matrix<T>(call, members, call.result(0)), call.info(1),
                                        workspace);
  }
};

// b, factor (read) -> x
struct Potrs : Defaults {
  static constexpr std::size_t in_place = 1;
  template <class T, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena workspace) {
    cholesky_backend<T, E>(call)->potrs(engine, dealt_matrix<T>(call, members, call.operand(1)),
                                        right_hand_sides<T>(call, call.result(0)),
                                        static_cast<Sweeps>(call.attribute("sweeps")), workspace);
  }
};

// factor -> inverse
struct Potri : Defaults {
  static constexpr std::size_t in_place = 1;
  template <class T, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena workspace) {
    cholesky_backend<T, E>(call)->potri(engine, dealt_matrix<T>(call, members, call.result(0)), workspace);
  }
};

// factor -> rows of L
struct Lower : Defaults {
  static constexpr std::size_t in_place = 1;
  template <class T, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena workspace) {
    cholesky_backend<T, E>(call)->lower(engine, dealt_matrix<T>(call, members, call.result(0)), workspace);
  }
};

// factor (read) -> diagonal of L
struct Diagonal : Defaults {
  static constexpr std::size_t in_place = 0;
  template <class T, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena) {
    cholesky_backend<T, E>(call)->diagonal(engine, dealt_matrix<T>(call, members, call.operand(0)),
                                           columns_of<T>(call.result(0)));
  }
};

// a (lost), bounds if the eigenvectors are chosen by value (read)
//   -> w, eigenvectors (or not: eigenvalues alone), what is within the bounds if there are such, info
struct Syevd : Defaults {
  static constexpr std::size_t in_place = 1;
  static constexpr bool data_decides = true;  // how much of a merge deflates, which eigenvectors are wanted
  template <class T, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena workspace) {
    const MatrixView<T> shard = shard_of_matrix<T>(call, call.result(0));
    const std::int64_t n = call.attribute("n");
    if (call.result(1).element_count() != static_cast<std::size_t>(n)) {
      throw Error(ErrorCode::internal, "the buffer of w does not go with n = " + std::to_string(n));
    }
    const bool by_value = call.attribute("by_value") != 0;
    EigenvectorChoice<Real<T>> wanted{{call.attribute("first"), call.attribute("vectors")}};
    const auto [first, count] = wanted.range;
    const std::size_t vectors = count > 0 ? 1 : 0, found = by_value ? 1 : 0, info = 2 + vectors + found;
    if (call.results() != info + 2 || found > vectors || first < 0 || count < 0 || first + count > n) {
      throw Error(ErrorCode::internal, "the call does not say which eigenvectors it wants");
    }
    if (by_value) {
      if (call.operand(1).element_count() != 2 || call.result(3).element_count() != 2) {
        throw Error(ErrorCode::internal, "the bounds, or what is within them, are not two numbers");
      }
      wanted.bounds = static_cast<const Real<T>*>(call.operand(1).untyped_data());
      wanted.found = call.info(3);
    }
    const SyevdBlocking blocking{call.attribute("half_bandwidth"), call.attribute("delay"),
                                 call.attribute("depth"),          call.attribute("columns"),
                                 call.attribute("diamonds"),       call.attribute("secular"),
                                 call.attribute("kept"),           call.attribute("solo") != 0};
    const TileColumns layout(n, shard.columns, call.attribute("tile"), members.roll.ranks());
    auto* const w = static_cast<Real<T>*>(call.result(1).untyped_data());
    // Rows of Z^H, read column-major, are the columns of V in JAX's rows.
    const auto form = call.attribute("as_columns") != 0 ? EigenvectorForm::adjoint_rows : EigenvectorForm::columns;
    MatrixView<T> z{};
    if (vectors > 0) {
      const MatrixView<T> buffer = columns_of<T>(call.result(2));
      const std::int64_t share = wanted.range.share(layout.ranks());
      z = {buffer.data, n, share, n};
      const bool turned = form == EigenvectorForm::adjoint_rows;
      if (buffer.rows != (turned ? share : n) || buffer.columns != (turned ? n : share)) {
        throw Error(ErrorCode::internal, "the buffer of the eigenvectors does not have their share");
      }
    }
    Backends<E>::template eigen<T>(call.backend())
        ->syevd(engine, {layout, blocking, shard, w, z, form, wanted, call.info(info)}, workspace);
  }
};

// a -> a, dealt or, if `inverse`, back in blocks. Whole tiles of a shard are dealt whatever its rows are.
struct Redistribute : Defaults {
  static constexpr std::size_t in_place = 1;
  template <class T, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena workspace) {
    const MatrixView<T> shard = columns_of<T>(call.result(0));
    const int ranks = members.roll.ranks();
    const TileColumns layout(shard.columns * ranks, shard.columns, call.attribute("tile"), ranks);
    redistribute(engine, layout, shard, workspace, call.attribute("inverse") != 0);
  }
};

// token -> token, the least number of Arena's units that hold what a vendor's solver needs for itself on this rank
struct SolverBytes : Defaults {
  static constexpr std::size_t in_place = 1;
  template <class, class E>
  static void run(E& engine, const CallFrame& call, const Membership& members, Arena workspace) {
    const std::int64_t rows = call.attribute("grid_rows");
    const int ranks = members.roll.ranks();
    const SolverQuery query{static_cast<Routine>(call.attribute("routine")), call.attribute("n"),
                            call.attribute("count"), call.attribute("tile"), grid_of(ranks, rows)};
    const std::int64_t bytes = dispatch(static_cast<ScalarType>(call.attribute("dtype")), [&]<class T>() {
      return Backends<E>::template solver_bytes<T>(call.backend(), engine, query, workspace);
    });
    const std::int64_t units = (bytes + Arena::alignment - 1) / Arena::alignment;
    engine.set_info(Lane::panel, call.info(1), checked_int(units, "units of workspace"));
    engine.join();
  }
};

}  // namespace jaxmg::routines
