// Timing and residuals of a routine, the same for each library.
//
// A Solver<T> of a program beside this file has
//   tile()                                       its tile size
//   potrf(), potrs(), potri(), getrf(), getrs(), geqrf(), gels(), syevd(vectors)
//                                                steps; making one reserves its workspace. It may lack some
//   allocate()                                   to be called when all steps are made
//   fill_matrix(), fill_right_hand_sides(b)
//   synchronize()                                wait for all GPUs and return the time
//   column(k), solution(), eigenvalues()         of A (or the eigenvectors), the first one of B, all
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "test_system.h"

struct Arguments {
  std::string routine;
  std::int64_t n, nrhs;
  std::string dtype;
  int devices, repeats;

  bool eigenproblem() const { return routine == "syevd" || routine == "syevd_values"; }
  bool lu() const { return routine == "gesv" || routine == "lu_solve"; }
  bool kept() const { return routine == "cho_solve" || routine == "lu_solve"; }
  bool general() const { return lu() || routine == "gels"; }  // a system of the noise
  bool solve() const { return routine == "potrs" || routine == "cho_solve" || general(); }
  Diagonals diagonals() const {
    if (eigenproblem()) return hermitian_noise;
    return general() || routine == "geqrf" ? noise : positive_noise(n);
  }
  // A lower bound of the norm of a system's matrix.
  double norm() const { return general() ? std::sqrt(static_cast<double>(n) / 3) : diagonal_of_positive_noise(n); }
};

inline Arguments parse(int count, char** values) {
  if (count != 7) {
    std::fprintf(stderr, "usage: %s ROUTINE N DTYPE NRHS DEVICES REPEATS\n", values[0]);
    std::exit(2);
  }
  return {values[1], std::atoll(values[2]), std::atoll(values[4]),
          values[3], std::atoi(values[5]),  std::atoi(values[6])};
}

struct Step {
  const char* name;
  std::function<void()> run;
};

struct Outcome {
  std::string library;  // with its version
  std::string grid;     // of GPUs, if it has more than one row
  std::int64_t tile = 0;
  std::vector<std::pair<std::string, std::vector<double>>> steps;  // seconds of each call, in order
  double residual = std::numeric_limits<double>::quiet_NaN();
  double orthogonality = -1;  // of eigenvectors
};

inline std::string dotted(int major, int minor, int patch) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Solver>
std::vector<Step> steps_of(const Arguments& arguments, Solver& solver) {
  if (arguments.eigenproblem()) return {solver.syevd(arguments.routine == "syevd")};
  if (arguments.lu()) return {solver.getrf(), solver.getrs()};
  if constexpr (requires { solver.geqrf(); }) {
    if (arguments.routine == "geqrf") return {solver.geqrf()};
  }
  if constexpr (requires { solver.gels(); }) {
    if (arguments.routine == "gels") return {solver.gels()};
  }
  if (arguments.solve() && !arguments.general()) return {solver.potrf(), solver.potrs()};
  if constexpr (requires { solver.potri(); }) {
    if (arguments.routine == "potri") return {solver.potrf(), solver.potri()};
  }
  std::fprintf(stderr, "no routine %s\n", arguments.routine.c_str());
  std::exit(2);
}

inline void keep_largest(double& largest, double value) {
  if (value > largest || std::isnan(value)) largest = value;  // NaN stays
}

// The columns of a matrix that are checked.
inline std::vector<std::int64_t> some_columns(std::int64_t n) { return {0, n / 2, n - 1}; }

// Sets residual and orthogonality: the largest values over a few columns.
template <class T, class Solver>
void judge_eigenproblem(const Arguments& arguments, Solver& solver, Outcome& outcome) {
  const std::vector<double> values = solver.eigenvalues();
  if (arguments.routine == "syevd_values") {
    outcome.residual = eigenvalue_error(values);
    return;
  }
  outcome.residual = outcome.orthogonality = 0;
  const double norm = std::max(std::abs(values.front()), std::abs(values.back()));
  const std::vector<std::int64_t> columns = some_columns(arguments.n);
  std::vector<std::vector<T>> vectors;
  for (const std::int64_t k : columns) vectors.push_back(solver.column(k));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const double value = values[static_cast<std::size_t>(columns[i])];
    const double residual = distance_from_product(
        hermitian_noise, vectors[i], [&](std::size_t row) { return value * std::complex<double>(vectors[i][row]); });
    keep_largest(outcome.residual, residual / norm);
    for (std::size_t j = 0; j <= i; ++j) {
      const double one = columns[i] == columns[j] ? 1 : 0;
      keep_largest(outcome.orthogonality, std::abs(inner_product(vectors[i], vectors[j]) - one));
    }
  }
}

// Columns of R have the norms of columns of A: the largest difference over a few columns, relative to the norm of A.
template <class T, class Solver>
double difference_of_norms(const Arguments& arguments, Solver& solver) {
  double largest = 0;
  for (const std::int64_t k : some_columns(arguments.n)) {
    std::vector<T> r = solver.column(k), a;
    r.resize(static_cast<std::size_t>(k + 1));
    for (std::int64_t i = 0; i < arguments.n; ++i) a.push_back(element<T>(noise, i - k));
    const double difference = std::sqrt(inner_product(r, r).real()) - std::sqrt(inner_product(a, a).real());
    keep_largest(largest, std::abs(difference) / std::sqrt(static_cast<double>(arguments.n) / 3));
  }
  return largest;
}

template <class T, class Solver>
void judge(const Arguments& arguments, Solver& solver, const std::vector<T>& rhs, Outcome& outcome) {
  if (arguments.eigenproblem()) {
    judge_eigenproblem<T>(arguments, solver, outcome);
  } else if (arguments.routine == "geqrf") {
    outcome.residual = difference_of_norms<T>(arguments, solver);
  } else if (arguments.solve()) {
    outcome.residual = relative_residual(arguments.diagonals(), arguments.norm(), solver.solution(), rhs.data());
  } else {
    outcome.residual = 0;
    for (const std::int64_t k : some_columns(arguments.n)) {
      std::vector<T> unit(static_cast<std::size_t>(arguments.n));
      unit[static_cast<std::size_t>(k)] = 1;
      keep_largest(outcome.residual,
                   relative_residual(arguments.diagonals(), arguments.norm(), solver.column(k), unit.data()));
    }
  }
}

template <class T, class Solver>
Outcome measure(const Arguments& arguments, Solver& solver) {
  std::vector<Step> steps = steps_of(arguments, solver);
  solver.allocate();
  const auto rhs = right_hand_sides<T>(arguments.n, arguments.nrhs);
  const bool kept = arguments.kept();
  if (kept) {
    solver.fill_matrix();
    steps.front().run();
    solver.synchronize();
    steps.erase(steps.begin());
  }
  Outcome outcome;
  outcome.tile = solver.tile();
  for (const Step& step : steps) outcome.steps.emplace_back(step.name, std::vector<double>());
  for (int repeat = 0; repeat <= arguments.repeats; ++repeat) {
    if (!kept) solver.fill_matrix();
    if (arguments.solve()) solver.fill_right_hand_sides(rhs);
    double begin = solver.synchronize();
    for (std::size_t i = 0; i < steps.size(); ++i) {
      steps[i].run();
      const double end = solver.synchronize();
      outcome.steps[i].second.push_back(end - begin);
      begin = end;
    }
  }
  judge(arguments, solver, rhs, outcome);
  return outcome;
}

// One line of JSON.
inline void print(const Outcome& outcome) {
  std::printf("{\"library\": \"%s\", ", outcome.library.c_str());
  if (!outcome.grid.empty()) std::printf("\"grid\": \"%s\", ", outcome.grid.c_str());
  std::printf("\"tile\": %lld, \"steps\": {", static_cast<long long>(outcome.tile));
  for (std::size_t i = 0; i < outcome.steps.size(); ++i) {
    const auto& [name, seconds] = outcome.steps[i];
    std::printf("%s\"%s\": [", i > 0 ? ", " : "", name.c_str());
    for (std::size_t j = 0; j < seconds.size(); ++j) std::printf("%s%.6g", j > 0 ? ", " : "", seconds[j]);
    std::printf("]");
  }
  std::printf("}");
  const auto number = [](const char* name, double value) {
    if (std::isfinite(value)) {
      std::printf(", \"%s\": %.3g", name, value);
    } else {
      std::printf(", \"%s\": null", name);
    }
  };
  number("residual", outcome.residual);
  if (outcome.orthogonality != -1) number("orthogonality", outcome.orthogonality);
  std::printf("}\n");
}

// Calls run<T>(arguments) for the type named.
#define DISPATCH(run, arguments)                                            \
  (arguments.dtype == "float32"      ? run<float>(arguments)                \
   : arguments.dtype == "float64"    ? run<double>(arguments)               \
   : arguments.dtype == "complex64"  ? run<std::complex<float>>(arguments)  \
   : arguments.dtype == "complex128" ? run<std::complex<double>>(arguments) \
                                     : (std::fprintf(stderr, "unknown dtype\n"), 2))
