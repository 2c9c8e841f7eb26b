// Backends of routines: this library's own algorithms, and vendors' solvers.
#pragma once

#include <cstddef>
#include <utility>

namespace jaxmg {

// List of types.
template <class... Types>
struct List {
  static constexpr std::size_t size = sizeof...(Types);
};

// Calls visit.template operator()<Type, index>() for each type.
template <class... Types, class Visit>
void for_each(List<Types...>, Visit&& visit) {
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (visit.template operator()<Types, I>(), ...);
  }(std::index_sequence_for<Types...>());
}

template <class... First, class... Second>
auto joined(List<First...>, List<Second...>) -> List<First..., Second...>;

struct Tiled {
  static constexpr auto name = "tiled";
};
struct CusolverMg {
  static constexpr auto name = "cusolvermg";
};
struct CusolverMp {
  static constexpr auto name = "cusolvermp";
};
// A plan names its backend by the index in this list.
using Backends = List<Tiled, CusolverMg, CusolverMp>;

// A routine R as served by a backend. The record defines this library's own implementation; a specialisation with the
// same members defines a vendor's:
//
//   Problem, Plan, Buffers, Workspace<T>     may be R's
//   static Planned<Plan> plan(const Problem&)
//   template <class T, class E> static void run(E&, const Problem&, const Plan&, Workspace<T>&, views...)
template <class Backend, class R>
struct Served {
  static constexpr bool missing = true;
};
template <class R>
struct Served<Tiled, R> : R {};

// The backends of an engine: the first ones of Backends.
template <class E>
struct BackendsOn {
  using type = List<Tiled>;
};

template <class Backend, class R>
inline constexpr bool serves = !requires { Served<Backend, R>::missing; };

}  // namespace jaxmg
