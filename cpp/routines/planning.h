// Planner, encoding and capability table of a list of routines.
//
// The planner passes a plan to the handler as an opaque encoding of routine, backend, problem and plan. Fields that the
// caller needs are also in Summary.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/fields.h"
#include "planner/plan.h"
#include "routines/serve.h"

namespace jaxmg {

// Mirrored in python/jaxmg/_native/plans.py.
struct Summary {
  std::int64_t tile = 0, distributed_rhs = 0, workspace_bytes = 0, shard_bytes = 0, rhs_bytes = 0;
  double seconds = 0;
  double call_seconds = 0;         // of a call from Python, in addition
  std::int64_t ranks_at_work = 1;  // 1 if one rank gathers the matrix and works alone
  std::int64_t words = 0;          // of the encoded plan
};
struct Answer : Summary {
  Words plan;  // encoded
};

// At the front of an encoding: indices of the routine and of its backend in their lists, and their schema.
struct Header {
  std::int64_t routine = 0, backend = 0, schema = 0;

  void fields(auto&& visit) {
    visit("routine", routine);
    visit("backend", backend);
    visit("schema", schema);
  }
};

// Hash (FNV-1a) of the names of all encoded fields: a stored program may be older than the library.
template <class Backend, class R>
std::int64_t schema() {
  static const std::uint64_t hash = [] {
    using S = Served<Backend, R>;
    const std::string names = std::string(R::name) + ' ' + Backend::name + field_names<typename S::Problem>() + " |" +
                              field_names<typename S::Plan>();
    std::uint64_t h = 0xcbf29ce484222325;
    for (const char c : names) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return h;
  }();
  return static_cast<std::int64_t>(hash);
}

template <class R>
Answer answer(typename R::Problem problem, const Header& header) {
  const auto made = R::plan(problem);
  const bool kept = requires { requires R::Buffers::keeps_matrix; };
  const double call = cost_of(problem).call(kept, kept && !made.plan.solo());
  // The plan already accounts for these. Ranks where they differ must still run the same program.
  problem.workspace_limit = 0;
  problem.network = {};
  problem.one_rank_up_to = -1;
  Answer answer{{made.plan.tile, 0, made.workspace_bytes, made.shard_bytes, made.rhs_bytes, made.seconds, call}, {}};
  answer.ranks_at_work = made.plan.solo() ? 1 : problem.ranks;
  if constexpr (requires { made.plan.distributed_rhs; }) answer.distributed_rhs = made.plan.distributed_rhs;
  encode(header, answer.plan);
  encode(problem, answer.plan);
  encode(made.plan, answer.plan);
  answer.words = static_cast<std::int64_t>(answer.plan.size());
  return answer;
}

// Decodes problem and plan, after the header.
template <class R>
std::pair<typename R::Problem, typename R::Plan> decoded(std::span<const std::int64_t> words) {
  auto problem = decode<typename R::Problem>(words);
  auto plan = decode<typename R::Plan>(words);
  if (!words.empty()) throw Error(ErrorCode::internal, "an encoded plan has too many words");
  return {std::move(problem), std::move(plan)};
}

// Calls visit.template operator()<R, Backend>(header) for every routine of `Table` and each of its backends in
// `Serving`.
template <class Table, class Serving, class Visit>
void for_each_served(Visit&& visit) {
  for_each(Table{}, [&]<class R, std::size_t routine>() {
    for_each(Serving{}, [&]<class Backend, std::size_t backend>() {
      if constexpr (serves<Backend, R>) {
        visit.template operator()<R, Backend>(
            Header{static_cast<std::int64_t>(routine), static_cast<std::int64_t>(backend), schema<Backend, R>()});
      }
    });
  });
}

// Calls visit.template operator()<Served<Backend, R>, R>() for the routine and backend of `header`. Throws Error if the
// routine is not in `Table`, its backend is not in `Serving`, or the schema differs.
template <class Table, class Serving, class Visit>
void with_served(const Header& header, const char* platform, Visit&& visit) {
  bool found = false;
  for_each_served<Table, Serving>([&]<class R, class Backend>(const Header& served) {
    if (served.routine != header.routine || served.backend != header.backend) return;
    found = true;
    if (served.schema != header.schema) {
      throw Error(ErrorCode::invalid_argument, "the program was made by another version of jaxmg: trace it again");
    }
    visit.template operator()<Served<Backend, R>, R>();
  });
  if (!found) {
    throw Error(ErrorCode::invalid_argument,
                "there is no backend number " + std::to_string(header.backend) + " on " + platform);
  }
}

// Plans a call: `routine` and `backend` by name, the problem as text of its fields (see from_text). Throws Error if the
// request cannot be met.
template <class Table>
Answer plan(std::string_view routine, std::string_view backend, std::string_view problem) {
  Answer made;
  for_each_served<Table, Backends>([&]<class R, class Backend>(const Header& header) {
    using S = Served<Backend, R>;
    if (routine == R::name && backend == Backend::name)
      made = answer<S>(from_text<typename S::Problem>(problem), header);
  });
  if (made.plan.empty()) {
    throw Error(ErrorCode::invalid_argument, std::string(backend) + " does not serve " + std::string(routine));
  }
  return made;
}

// An encoded plan as text.
template <class Table>
std::string description(std::span<const std::int64_t> words) {
  const auto header = decode<Header>(words);
  std::string text;
  with_served<Table, Backends>(header, "any platform", [&]<class S, class R>() {
    const auto [problem, plan] = decoded<S>(words);
    text = R::name + to_text(problem) + to_text(plan);
  });
  return text;
}

// One line per routine: its name, the name of its count besides the order ("-": none), and its backends.
template <class Table>
std::string capabilities() {
  std::string text;
  for_each(Table{}, [&]<class R, std::size_t>() {
    text += R::name;
    if constexpr (requires { R::Problem::counted; }) {
      text += std::string(" ") + R::Problem::counted;
    } else {
      text += " -";
    }
    for_each(Backends{}, [&]<class Backend, std::size_t>() {
      if constexpr (serves<Backend, R>) text += std::string(" ") + Backend::name;
    });
    text += '\n';
  });
  return text;
}

}  // namespace jaxmg
