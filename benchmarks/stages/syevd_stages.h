// Times of the eigensolver's stages: ranks synchronise with their work, and collective stages with each other, at the
// end of each stage. Overlap of stages is lost; the total is therefore slightly larger than the time of a call.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "dealt.h"
#include "eigenproblems.h"
#include "matrices.h"
#include "routines.h"
#include "routines/syevd.h"
#include "solves.h"

namespace jaxmg::benchmarks {

// The routine, which calls ended(stage) at the end of each of its stages.
struct StagedRoutine : routines::Syevd {
  struct Problem : routines::SyevdProblem {
    StageEnded ended;
  };
  template <class T, class E>
  static void run(E& engine, const Problem& q, const Plan& plan, Workspace<T>& w, const auto&... views) {
    Syevd::run<T>(engine, q, plan, w, views..., q.ended);
  }
};

// The matrix and its decomposition on `Ranks` (see tests/cpp/ranks.h).
template <class T, class Ranks>
class StagedSyevd {
  using Call = testing::CallOf<StagedRoutine, T>;

 public:
  StagedSyevd(const Arguments& arguments, Platform platform)
      : n_(possible(arguments).n),
        wanted_{0, arguments.routine == "syevd" ? n_ : 0},
        call_(planned(n_, arguments.devices, platform, wanted_.count)),
        layout_(call_.problem.layout(call_.plan.tile)),
        ranks_(arguments.devices),
        given_(ranks_.template matrix<T>(n_, layout_.shard())),
        a_(ranks_.template matrix<T>(n_, layout_.shard())),
        w_(ranks_.template matrix<jaxmg::Real<T>>(n_, 1)),
        z_(ranks_.template matrix<T>(n_, wanted_.share(layout_.ranks()))),
        status_(ranks_.template matrix<std::int32_t>(1, 1)),
        workspace_(ranks_.template matrix<std::byte>(call_.bytes(), 1)) {
    const Diagonals diagonals = arguments.diagonals();
    std::vector<T> elements;
    for (std::int64_t d = 1 - n_; d < n_; ++d) elements.push_back(element<T>(diagonals, d));
    for (int r = 0; r < layout_.ranks(); ++r) {
      testing::Matrix<T> shard(n_, layout_.shard());
      for (std::int64_t j = 0; j < layout_.shard(); ++j) {
        const std::int64_t column = std::min(n_ - 1, r * layout_.shard() + j);
        std::copy_n(elements.begin() + (n_ - 1 - column), n_, &shard(0, j));
      }
      given_.upload(r, shard);
    }
  }

  // One run more than `repeats`: the first run includes loading and initialisation.
  Outcome measure(int repeats) {
    Outcome outcome;
    outcome.tile = call_.plan.tile;
    std::barrier<> all(layout_.ranks());
    double began = 0;  // of the stage, on rank 0
    ranks_.run([&](auto& engine) {
      const int rank = engine.rank();
      const auto wait_for_all = [&] {
        wait(engine);
        all.arrive_and_wait();
      };
      const auto ended = [&](const char* stage) {
        if (call_.plan.solo()) {
          wait(engine);
        } else {
          wait_for_all();
        }
        if (rank != 0) return;
        const double end = now();
        samples(outcome, stage).push_back(end - std::exchange(began, end));
      };
      Call call = call_;
      call.problem.ended = ended;
      for (int repeat = 0; repeat <= repeats; ++repeat) {
        engine.copy(Lane::panel, given_.view(rank), a_.view(rank));
        wait_for_all();
        if (rank == 0) began = now();
        call.run(engine, workspace_.view(rank), a_.view(rank), MatrixView<jaxmg::Real<T>>{}, w_.view(rank),
                 testing::rows_of_columns(z_.view(rank)), MatrixView<std::int32_t>{}, status_.view(rank));
        // One rank that works alone has collected the matrix as a part of its first stage.
        if (call_.plan.solo()) ended("handing out");
      }
    });
    for (int r = 0; r < layout_.ranks(); ++r) {
      const std::int32_t status = status_.download(r)(0, 0);
      if (status == 0) continue;
      std::fprintf(stderr, "the status of rank %d is %d\n", r, static_cast<int>(status));
      std::exit(1);
    }
    return outcome;
  }

  std::vector<T> column(std::int64_t k) const {
    const std::int64_t share = wanted_.share(layout_.ranks());
    const testing::Matrix<T> rows = z_.download(static_cast<int>(k / share));
    std::vector<T> vector;
    for (std::int64_t i = 0; i < n_; ++i) vector.push_back(conjugate(rows.data()[k % share + i * share]));
    return vector;
  }

  std::vector<double> eigenvalues() const {
    const auto w = w_.download(0);
    return {w.data(), w.data() + n_};
  }

 private:
  static Call planned(std::int64_t n, int devices, Platform platform, std::int64_t vectors) {
    Call call(n, devices, 0);
    call.problem.platform = platform;
    call.problem.vectors = vectors;
    call.problem.as_columns = true;
    call.plan = routines::Syevd::plan(call.problem).plan;
    return call;
  }

  static const Arguments& possible(const Arguments& arguments) {
    if (!arguments.eigenproblem() || !Ranks::available(arguments.devices)) {
      std::fprintf(stderr, "no %s on %d ranks here\n", arguments.routine.c_str(), arguments.devices);
      std::exit(2);
    }
    return arguments;
  }

  // For all that this rank has enqueued.
  void wait(typename Ranks::Engine& engine) const {
    engine.join();
    jaxmg::Real<T> fetched;
    engine.fetch(Lane::panel, w_.view(engine.rank()).data, 1, &fetched);
  }

  static std::vector<double>& samples(Outcome& outcome, const std::string& stage) {
    for (auto& [name, seconds] : outcome.steps) {
      if (name == stage) return seconds;
    }
    return outcome.steps.emplace_back(stage, std::vector<double>()).second;
  }

  template <class Number>
  using OnRanks = decltype(std::declval<Ranks&>().template matrix<Number>(1, 1));

  std::int64_t n_;
  EigenvectorRange wanted_;
  Call call_;
  TileColumns layout_;
  Ranks ranks_;
  OnRanks<T> given_, a_;
  OnRanks<jaxmg::Real<T>> w_;
  OnRanks<T> z_;
  OnRanks<std::int32_t> status_;
  OnRanks<std::byte> workspace_;
};

template <class T, class Solver>
int report(const Arguments& arguments, Solver& solver) {
  Outcome outcome = solver.measure(arguments.repeats);
  judge_eigenproblem<T>(arguments, solver, outcome);
  print(outcome);
  return 0;
}

}  // namespace jaxmg::benchmarks
