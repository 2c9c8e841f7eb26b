// Typed signatures: the buffers of a routine in order, with element types and shapes.
//
//   using Buffers = Signature<InOut<Shard>, In<Bounds>, Out<Info>>;
//
// A call has the InOut buffers first, as operands and as the results that are aliased to them, then the In buffers as
// operands and the Out buffers as results, each in the order of the signature. A buffer is described by a type with
//
//   static constexpr auto name = "b";
//   template <class T> using Element = T;                  for a call of scalar type T: OfScalars, OfReals, OfIntegers
//   static Shape shape(const Problem&, const Plan&);       as JAX has it; {} if the call lacks this buffer
//   static bool divided(const Plan&);                      optional: whether each rank has a part, the others follow
//
// The rows of a two-dimensional buffer are read as columns: a MatrixView is column-major.
#pragma once

#include <array>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "comm/block.h"
#include "core/arena.h"
#include "core/error.h"
#include "core/matrix_view.h"
#include "core/scalar.h"
#include "planner/one_rank.h"

namespace jaxmg {

using Shape = std::vector<std::int64_t>;

enum class ElementType { f32, f64, c64, c128, i32, u8, other };

template <class T>
constexpr ElementType element_type() {
  if constexpr (std::same_as<T, std::int32_t>) {
    return ElementType::i32;
  } else {
    return static_cast<ElementType>(ScalarTraits<T>::type);
  }
}

// A buffer of a call.
struct Buffer {
  std::byte* data = nullptr;
  std::int64_t bytes = 0;
  ElementType type = ElementType::other;
  Shape shape;

  MemoryRegion region() const { return {data, bytes}; }
};

enum class Use { in_out, in, out };
template <class B, Use U>
struct Parameter : B {
  static constexpr Use use = U;
};
template <class B>
using InOut = Parameter<B, Use::in_out>;
template <class B>
using In = Parameter<B, Use::in>;
template <class B>
using Out = Parameter<B, Use::out>;

inline std::string text_of(const Shape& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

template <class T>
MatrixView<T> view_of(T* data, const Shape& shape) {
  const std::int64_t rows = shape.back(), columns = shape.size() == 1 ? 1 : shape.front();
  return {data, rows, columns, rows};
}

// Whether each rank has a part of a buffer; otherwise every rank has all of it.
template <class P>
bool divided(const auto& plan) {
  if constexpr (requires { P::divided(plan); }) return P::divided(plan);
  return false;
}

struct Shard;

template <class... Parameters>
struct Signature {
  // Whether a routine reads a matrix that the caller keeps, such as a factor; and whether it returns one.
  static constexpr bool keeps_matrix = ((Parameters::use == Use::in && std::derived_from<Parameters, Shard>) || ...);
  static constexpr bool returns_matrix = ((Parameters::use != Use::in && std::derived_from<Parameters, Shard>) || ...);

  // One view per parameter; empty if the call lacks the buffer.
  template <class T>
  using On = std::tuple<MatrixView<typename Parameters::template Element<T>>...>;

  static constexpr std::size_t in_place = (std::size_t{Parameters::use == Use::in_out} + ... + 0);

  // Views of the operands and results of a call, without the roll and the workspace. Throws Error if they do not match
  // the signature.
  template <class T, class Problem, class Plan>
  static On<T> bind(const std::vector<Buffer>& operands, const std::vector<Buffer>& results, const Problem& problem,
                    const Plan& plan) {
    std::size_t read = in_place, written = in_place, aliased = 0;
    const auto next = [&]<class P>(P) -> MatrixView<typename P::template Element<T>> {
      const Shape shape = P::shape(problem, plan);
      if (shape.empty()) return {};
      const auto& buffers = P::use == Use::in ? operands : results;
      const std::size_t i = P::use == Use::in ? read++ : P::use == Use::out ? written++ : aliased++;
      if (i >= buffers.size()) throw Error(ErrorCode::internal, std::string("the call lacks buffer ") + P::name);
      const Buffer& buffer = buffers[i];
      if (buffer.shape != shape || buffer.type != element_type<typename P::template Element<T>>()) {
        throw Error(ErrorCode::internal, std::string("buffer ") + P::name + " is " + text_of(buffer.shape) +
                                             ", or of another type, where the plan has " + text_of(shape));
      }
      return view_of(reinterpret_cast<typename P::template Element<T>*>(buffer.data), shape);
    };
    On<T> views{next(Parameters{})...};  // braces: in this order
    if (read != operands.size() || written != results.size()) {
      throw Error(ErrorCode::internal, "the call has more buffers than the plan");
    }
    return views;
  }

  // The divided buffers as a whole, for one rank that works alone.
  template <class T, class Problem, class Plan>
  static On<T> collected(Arena& arena, const Problem& problem, const Plan& plan) {
    const auto take = [&]<class P>(P) -> MatrixView<typename P::template Element<T>> {
      const Shape shape = P::shape(alone(problem), alone(plan));
      if (!divided<P>(plan) || shape.empty()) return {};
      using Element = typename P::template Element<T>;
      return view_of(arena.take<Element>(shape.front() * shape.back()), shape);
    };
    return {take(Parameters{})...};  // braces: in this order
  }
};

// Element types of buffers, as base classes.
struct OfScalars {
  template <class T>
  using Element = T;
};
struct OfReals {
  template <class T>
  using Element = Real<T>;
};
struct OfIntegers {
  template <class>
  using Element = std::int32_t;
};

// Buffers shared by several routines.

// This rank's rows of A or of its factor, which are columns of A^T.
struct Shard : OfScalars {
  static constexpr auto name = "a";
  static Shape shape(const auto& q, const auto&) { return {q.shard(), q.n}; }
  static bool divided(const auto&) { return true; }
};
struct Factor : Shard {
  static constexpr auto name = "factor";
};

// Right-hand sides as rows, conjugated: this rank's share or all.
struct RightHandSides : OfScalars {
  static constexpr auto name = "b";
  static Shape shape(const auto& q, const auto& plan) { return {plan.columns_of_rank(q), q.n}; }
  static bool divided(const auto& plan) { return plan.distributed_rhs; }
};

// LAPACK's info.
struct Info : OfIntegers {
  static constexpr auto name = "info";
  static Shape shape(const auto&, const auto&) { return {1}; }
};

}  // namespace jaxmg
