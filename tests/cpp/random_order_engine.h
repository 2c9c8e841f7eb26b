// An engine that runs work in any order that lanes, events and exchanges leave open.
//
// The host engine runs an algorithm's calls as they come, so it cannot show a missing wait. This one keeps them
// in one queue a lane, as a device does, and then lets chance choose which lane goes on: a lane's work runs in
// order, a wait holds its lane until the event has been recorded, and a block moves once all who share an
// exchange with its source, and all who share one with its target, have come to that exchange. Whatever chance
// chooses, results must not change, and no two accesses may be a race (happens_before.h). All ranks run in the
// thread of the test, so a run is repeated by its seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "engine/engine.h"
#include "engine/host/host_engine.h"
#include "happens_before.h"
#include "host_memory.h"
#include "ranks.h"

namespace jaxmg::testing {

class Stuck : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The queues of all ranks, and what runs them.
class RandomOrder {
 public:
  struct Signal {
    bool recorded = false;
    Clock clock;
  };
  using SharedSignal = std::shared_ptr<Signal>;

  explicit RandomOrder(const HostMemory& memory, int ranks, std::uint64_t seed)
      : memory_(memory),
        ranks_(ranks),
        random_(seed),
        queues_(static_cast<std::size_t>(ranks * lane_count)),
        enqueued_(queues_.size(), 0),
        history_(names(ranks)) {
    // Some lanes run far ahead of others, which few evenly drawn orders would show.
    for (std::size_t i = 0; i < queues_.size(); ++i) weights_.push_back(1 << 3 * (random_() % 4));
  }

  void work(int rank, Lane lane, const char* name, std::vector<Region> reads, std::vector<Region> writes,
            std::function<void()> run) {
    const std::size_t q = queue(rank, lane);
    queues_[q].push_back(
        {.run = [this, q, name, reads = std::move(reads), writes = std::move(writes), run = std::move(run)] {
          for (const Region& region : reads) history_.read(q, region, name);
          for (const Region& region : writes) history_.write(q, region, name);
          run();
        }});
  }

  SharedSignal record(int rank, Lane lane) {
    const std::size_t q = queue(rank, lane);
    auto signal = std::make_shared<Signal>();
    queues_[q].push_back({.run = [this, q, signal] { *signal = {true, history_.clock(q)}; }});
    return signal;
  }

  void wait(int rank, Lane lane, const SharedSignal& signal) {
    if (!signal) throw std::logic_error("an event is waited for that was never recorded");
    const std::size_t q = queue(rank, lane);
    queues_[q].push_back({.run = [this, q, signal] { history_.order_after(q, signal->clock); }, .after = signal});
  }

  void exchange(int rank, Lane lane, const std::vector<Block>& blocks) {
    const std::size_t q = queue(rank, lane);
    auto& meeting = meetings_[{lane, enqueued_[q]++}];
    if (!meeting) meeting = std::make_shared<Meeting>(ranks_, blocks);
    check_agreement(*meeting, rank, blocks);
    check_independence(rank, blocks);
    meeting->blocks[static_cast<std::size_t>(rank)] = blocks;
    queues_[q].push_back({.meeting = meeting});
  }

  // Runs all that has been put into the queues.
  void run() {
    for (;;) {
      std::vector<std::size_t> ready;
      std::vector<double> weights;
      bool finished = true;
      for (std::size_t q = 0; q < queues_.size(); ++q) {
        if (queues_[q].empty()) continue;
        finished = false;
        if (!can_go_on(q)) continue;
        ready.push_back(q);
        weights.push_back(weights_[q]);
      }
      if (finished) return;
      if (ready.empty()) throw Stuck("no lane can go on: " + waiting());
      go_on(ready[std::discrete_distribution<std::size_t>(weights.begin(), weights.end())(random_)]);
    }
  }

 private:
  struct Delivery {
    std::size_t block;
    int source, target;
  };
  // One exchange of all ranks.
  struct Meeting {
    std::vector<std::vector<Block>> blocks;  // as each rank writes them
    std::vector<std::set<int>> peers;        // who shares a block with each rank
    std::vector<Delivery> pending;

    Meeting(int ranks, const std::vector<Block>& list)
        : blocks(static_cast<std::size_t>(ranks)), peers(static_cast<std::size_t>(ranks)) {
      for (std::size_t b = 0; b < list.size(); ++b) {
        for (int target = 0; target < ranks; ++target) {
          if (!list[b].reaches(target) || list[b].bytes() == 0) continue;
          pending.push_back({b, list[b].source, target});
          peers[static_cast<std::size_t>(list[b].source)].insert(target);
          peers[static_cast<std::size_t>(target)].insert(list[b].source);
        }
      }
    }
    bool concerns(int rank) const {
      return std::any_of(pending.begin(), pending.end(),
                         [&](const Delivery& d) { return d.source == rank || d.target == rank; });
    }
  };
  struct Task {
    std::function<void()> run = {};
    SharedSignal after = {};
    std::shared_ptr<Meeting> meeting = {};
  };

  static std::size_t queue(int rank, Lane lane) {
    return static_cast<std::size_t>(rank * lane_count + static_cast<int>(lane));
  }
  static int rank_of(std::size_t q) { return static_cast<int>(q) / lane_count; }
  static Lane lane_of(std::size_t q) { return static_cast<Lane>(static_cast<int>(q) % lane_count); }

  static std::vector<std::string> names(int ranks) {
    std::vector<std::string> all;
    for (int r = 0; r < ranks; ++r) {
      for (int lane = 0; lane < lane_count; ++lane) {
        all.push_back("lane " + std::to_string(lane) + " of rank " + std::to_string(r));
      }
    }
    return all;
  }

  // Every rank must write the same blocks, at the same places of its own buffers.
  void check_agreement(const Meeting& meeting, int rank, const std::vector<Block>& mine) const {
    const auto first =
        std::find_if(meeting.blocks.begin(), meeting.blocks.end(), [](const auto& b) { return !b.empty(); });
    if (first == meeting.blocks.end()) return;
    const auto& here = memory_.regions(rank);
    const auto& there = memory_.regions(static_cast<int>(first - meeting.blocks.begin()));
    const auto agree = [&](const Block& a, const Block& b) {
      return a.source == b.source && a.target == b.target && a.bytes() == b.bytes() && a.columns == b.columns &&
             (a.bytes() == 0 ||
              (a.from_pitch == b.from_pitch && a.to_pitch == b.to_pitch &&
               symmetric_address(here, there, a.from) == b.from && symmetric_address(here, there, a.to) == b.to));
    };
    if (!std::equal(mine.begin(), mine.end(), first->begin(), first->end(), agree)) {
      throw std::logic_error("rank " + std::to_string(rank) + " makes another exchange than the ranks before it");
    }
  }

  // The blocks of one exchange move in any order: none may overwrite what another moves.
  static void check_independence(int rank, const std::vector<Block>& blocks) {
    std::vector<std::pair<Region::Span, bool>> columns;  // of this rank, and whether it is written
    const auto add = [&](const std::byte* begin, std::int64_t pitch, const Block& b, bool written) {
      for (const auto& span : Region::of(begin, pitch, b.column_bytes, b.columns).spans)
        columns.emplace_back(span, written);
    };
    for (const Block& b : blocks) {
      if (b.bytes() == 0) continue;
      const bool in_place = b.source == rank && b.from == b.to;
      if (b.source == rank) add(b.from, b.from_pitch, b, false);
      if (b.reaches(rank) && !in_place) add(b.to, b.to_pitch, b, true);
    }
    std::sort(columns.begin(), columns.end(),
              [](const auto& a, const auto& b) { return a.first.begin < b.first.begin; });
    const std::byte *read = nullptr, *written = nullptr;  // up to here
    for (const auto& [span, writes] : columns) {
      if (span.begin < written || (writes && span.begin < read)) {
        throw Race("blocks of one exchange overlap on rank " + std::to_string(rank));
      }
      (writes ? written : read) = std::max(writes ? written : read, span.begin + span.bytes);
    }
  }

  bool arrived(int rank, Lane lane, const std::shared_ptr<Meeting>& meeting) const {
    const auto& tasks = queues_[queue(rank, lane)];
    return !tasks.empty() && tasks.front().meeting == meeting;
  }
  // All that share a block with `rank` are there, and so is it.
  bool complete_for(int rank, Lane lane, const std::shared_ptr<Meeting>& meeting) const {
    const auto& peers = meeting->peers[static_cast<std::size_t>(rank)];
    return arrived(rank, lane, meeting) && std::all_of(peers.begin(), peers.end(), [&](int peer) {
             return arrived(peer, lane, meeting) || !meeting->concerns(peer);
           });
  }
  // Positions in `pending` of what `rank` can send.
  std::vector<std::size_t> sendable(int rank, Lane lane, const std::shared_ptr<Meeting>& meeting) const {
    std::vector<std::size_t> found;
    if (!complete_for(rank, lane, meeting)) return found;
    for (std::size_t i = 0; i < meeting->pending.size(); ++i) {
      const Delivery& d = meeting->pending[i];
      if (d.source == rank && complete_for(d.target, lane, meeting)) found.push_back(i);
    }
    return found;
  }

  bool can_go_on(std::size_t q) const {
    const Task& task = queues_[q].front();
    if (task.meeting) {
      return !task.meeting->concerns(rank_of(q)) || !sendable(rank_of(q), lane_of(q), task.meeting).empty();
    }
    return !task.after || task.after->recorded;
  }

  void go_on(std::size_t q) {
    const Task& task = queues_[q].front();
    if (task.meeting && task.meeting->concerns(rank_of(q))) {
      auto& pending = task.meeting->pending;
      const auto choice = sendable(rank_of(q), lane_of(q), task.meeting);
      const auto chosen = pending.begin() + static_cast<std::ptrdiff_t>(choice[random_() % choice.size()]);
      deliver(*task.meeting, *chosen, q);
      pending.erase(chosen);
    } else {
      if (task.run) task.run();
      queues_[q].pop_front();
    }
    history_.finish_step(q);
  }

  // A target has what it got after all that its source did before; a source learns nothing of its targets, since
  // communicators may keep what is sent until it is fetched.
  void deliver(const Meeting& meeting, const Delivery& d, std::size_t source) {
    const Block& sent = meeting.blocks[static_cast<std::size_t>(d.source)][d.block];
    const Block& received = meeting.blocks[static_cast<std::size_t>(d.target)][d.block];
    if (d.source == d.target && sent.from == sent.to) return;
    const std::size_t target = queue(d.target, lane_of(source));
    history_.read(source, Region::of(sent.from, sent.from_pitch, sent.column_bytes, sent.columns), "exchange");
    history_.order_after(target, history_.clock(source));
    history_.write(target, Region::of(received.to, received.to_pitch, received.column_bytes, received.columns),
                   "exchange");
    for (std::int64_t j = 0; j < sent.columns; ++j) {
      std::memcpy(received.to + j * received.to_pitch, sent.from + j * sent.from_pitch,
                  static_cast<std::size_t>(sent.column_bytes));
    }
  }

  std::string waiting() const {
    std::string text;
    const auto all = names(ranks_);
    for (std::size_t q = 0; q < queues_.size(); ++q) {
      if (queues_[q].empty()) continue;
      text += all[q] + (queues_[q].front().meeting ? " is in an exchange; " : " waits for an event; ");
    }
    return text;
  }

  const HostMemory& memory_;
  int ranks_;
  std::mt19937_64 random_;
  std::vector<std::deque<Task>> queues_;
  std::vector<double> weights_;
  std::vector<std::size_t> enqueued_;  // exchanges of each queue
  std::map<std::pair<Lane, std::size_t>, std::shared_ptr<Meeting>> meetings_;
  HappensBefore history_;
};

// One rank's end of the queues; the work itself is the host engine's.
class RandomOrderEngine {
 public:
  using Event = RandomOrder::SharedSignal;

  RandomOrderEngine(RandomOrder& order, HostEngine& host, int rank, int size)
      : order_(order), host_(host), rank_(rank), size_(size) {}

  int rank() const { return rank_; }
  int size() const { return size_; }

  Event record(Lane lane) { return order_.record(rank_, lane); }
  void wait(Lane lane, const Event& event) { order_.wait(rank_, lane, event); }
  void join() {
    std::vector<Event> all;
    for (int lane = 0; lane < lane_count; ++lane) all.push_back(record(static_cast<Lane>(lane)));
    for (int lane = 0; lane < lane_count; ++lane) {
      for (const Event& event : all) wait(static_cast<Lane>(lane), event);
    }
  }

  template <class T>
  void potrf(Lane lane, MatrixView<T> a, std::int32_t* failed) {
    put(lane, "potrf", {}, {Region::lower(a), entries(failed, 1)},
        [=](HostEngine& host) { host.potrf(lane, a, failed); });
  }
  template <class T>
  void check_factor(Lane lane, MatrixView<T> l, const std::int32_t* failed, std::int64_t row, std::int32_t* info) {
    put(lane, "check_factor", {Region::of(diagonal(l)), entries(failed, 1)}, {entries(info, 1)},
        [=](HostEngine& host) { host.check_factor(lane, l, failed, row, info); });
  }
  template <class T>
  void trsm(Lane lane, Side side, Op op, MatrixView<T> l, MatrixView<T> x) {
    if (x.empty()) return;
    put(lane, "trsm", {Region::lower(l)}, {Region::of(x)}, [=](HostEngine& host) { host.trsm(lane, side, op, l, x); });
  }
  template <class T>
  void gemm(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    if (c.empty() || a.empty() || b.empty()) return;
    put(lane, "gemm", {Region::of(a), Region::of(b)}, {Region::of(c)},
        [=](HostEngine& host) { host.gemm(lane, opa, opb, alpha, a, b, c); });
  }
  template <class T>
  void copy(Lane lane, MatrixView<T> from, MatrixView<T> to) {
    put(lane, "copy", {Region::of(from)}, {Region::of(to)}, [=](HostEngine& host) { host.copy(lane, from, to); });
  }
  template <class T>
  void conj_transpose(Lane lane, MatrixView<T> from, MatrixView<T> to) {
    put(lane, "conj_transpose", {Region::of(from)}, {Region::of(to)},
        [=](HostEngine& host) { host.conj_transpose(lane, from, to); });
  }
  template <class T>
  void identity(Lane lane, MatrixView<T> a) {
    put(lane, "identity", {}, {Region::of(a)}, [=](HostEngine& host) { host.identity(lane, a); });
  }
  template <class T>
  void mirror(Lane lane, MatrixView<T> a) {
    put(lane, "mirror", {}, {Region::of(a)}, [=](HostEngine& host) { host.mirror(lane, a); });
  }
  template <class T>
  void zero_below(Lane lane, MatrixView<T> a) {
    put(lane, "zero_below", {}, {Region::of(a)}, [=](HostEngine& host) { host.zero_below(lane, a); });
  }
  template <class T>
  void subtract(Lane lane, const std::vector<MatrixView<T>>& terms, MatrixView<T> x) {
    std::vector<Region> reads;
    for (const MatrixView<T>& term : terms) reads.push_back(Region::of(term));
    put(lane, "subtract", std::move(reads), {Region::of(x)}, [=](HostEngine& host) { host.subtract(lane, terms, x); });
  }
  template <class T>
  void zero(Lane lane, MatrixView<T> a) {
    put(lane, "zero", {}, {Region::of(a)}, [=](HostEngine& host) { host.zero(lane, a); });
  }
  void exchange(Lane lane, const std::vector<Block>& blocks) { order_.exchange(rank_, lane, blocks); }
  void set_info(Lane lane, std::int32_t* info, std::int32_t value) {
    put(lane, "set_info", {}, {entries(info, 1)}, [=](HostEngine& host) { host.set_info(lane, info, value); });
  }
  template <class T>
  void conclude(Lane lane, const std::int32_t* infos, MatrixView<T> x, std::int32_t* status) {
    put(lane, "conclude", {entries(infos, size_)}, {Region::of(x), entries(status, 1)},
        [=, ranks = size_](HostEngine& host) {
          // The host engine below is alone: to it, the least of all entries is the only one.
          const std::int32_t first = *std::min_element(infos, infos + ranks);
          host.conclude(lane, &first, x, status);
        });
  }

  // Dense to band and back, see BandReductionEngine.
  template <class T>
  void geqrt(Lane lane, MatrixView<T> a, MatrixView<T> t, T* scratch) {
    put(lane, "geqrt", {Region::of(a)},
        {Region::of(a), Region::of(t), Region::of(MatrixView<T>{scratch, geqrt_scratch(a.columns), 1, 1})},
        [=](HostEngine& host) { host.geqrt(lane, a, t, scratch); });
  }
  template <class T>
  void unit_lower(Lane lane, MatrixView<T> a) {
    put(lane, "unit_lower", {}, {Region::of(a)}, [=](HostEngine& host) { host.unit_lower(lane, a); });
  }
  void copy_all(Lane lane, const std::vector<Block>& blocks) {
    std::vector<Region> reads, writes;
    for (const Block& b : blocks) {
      reads.push_back(Region::of(b.from, b.from_pitch, b.column_bytes, b.columns));
      writes.push_back(Region::of(b.to, b.to_pitch, b.column_bytes, b.columns));
    }
    put(lane, "copy_all", std::move(reads), std::move(writes), [=](HostEngine& host) { host.copy_all(lane, blocks); });
  }
  template <class T>
  void largest(Lane lane, MatrixView<T> a, Real<T>* norm) {
    put(lane, "largest", {Region::of(a), number(norm)}, {number(norm)},
        [=](HostEngine& host) { host.largest(lane, a, norm); });
  }
  template <class Real>
  void choose_scale(Lane lane, const Real* norms, Real* scale, std::int32_t* info) {
    put(lane, "choose_scale", {Region::of(MatrixView<const Real>{norms, size_, 1, size_})},
        {number(scale), entries(info, 1)}, [=, ranks = size_](HostEngine& host) {
          // The host engine below is alone: to it, the largest of all norms is the only one.
          const Real norm = *std::max_element(norms, norms + ranks);
          host.choose_scale(lane, &norm, scale, info);
        });
  }
  template <class T>
  void multiply(Lane lane, const Real<T>* scale, MatrixView<T> a) {
    put(lane, "multiply", {number(scale)}, {Region::of(a)}, [=](HostEngine& host) { host.multiply(lane, scale, a); });
  }
  template <class Real>
  void divide(Lane lane, const Real* scale, MatrixView<Real> w) {
    put(lane, "divide", {number(scale)}, {Region::of(w)}, [=](HostEngine& host) { host.divide(lane, scale, w); });
  }

  // Band to tridiagonal and back, see BulgeChasingEngine.
  template <class T>
  void chase(Lane lane, MatrixView<T> band, const Reflectors<T>& reflectors, std::int32_t* progress, Real<T>* d,
             Real<T>* e, std::int32_t* info) {
    const std::int64_t n = reflectors.n;
    std::vector<Region> writes{Region::of(band), numbers(d, n), numbers(e, n - 1), Region::of(reflectors.all_phases())};
    if (reflectors.data != nullptr) writes.push_back(Region::of(reflectors.all()));
    put(lane, "chase", {}, std::move(writes),
        [=](HostEngine& host) { host.chase(lane, band, reflectors, progress, d, e, info); });
  }
  template <class T>
  void form_diamonds(Lane lane, const Reflectors<T>& reflectors, const std::vector<Wave>& waves, int levels,
                     Batch<T> parts) {
    std::vector<Region> reads;
    const DiamondGrid grid = reflectors.grid();
    for (const Wave& wave : waves) {
      for (std::int64_t i = 0; i < wave.count << (2 * levels); ++i) {
        const std::int64_t whole = i >> (2 * levels);
        const DiamondPart part(i - (whole << (2 * levels)), levels);
        const std::int64_t g = ((wave.g + whole) << levels) + part.g, t = ((wave.t + whole) << levels) + part.t;
        if (g < grid.groups() && t < grid.steps(g)) reads.push_back(Region::of(reflectors.block(g, t)));
      }
    }
    put(lane, "form_diamonds", std::move(reads), {each(parts)},
        [=](HostEngine& host) { host.form_diamonds(lane, reflectors, waves, levels, parts); });
  }
  template <class T>
  void multiply_each(Lane lane, Batch<T> a, Batch<T> b, Batch<T> c) {
    if (c.first.empty()) return;
    put(lane, "multiply_each", {each(a), each(b)}, {each(c)},
        [=](HostEngine& host) { host.multiply_each(lane, a, b, c); });
  }
  template <class T>
  void merge_corners(Lane lane, Batch<T> parts, Batch<T> q, Batch<T> y) {
    put(lane, "merge_corners", {each(parts)}, {each(q), each(y)},
        [=](HostEngine& host) { host.merge_corners(lane, parts, q, y); });
  }
  template <class T>
  void scale_rows(Lane lane, MatrixView<T> factors, MatrixView<T> a) {
    put(lane, "scale_rows", {Region::of(factors)}, {Region::of(a)},
        [=](HostEngine& host) { host.scale_rows(lane, factors, a); });
  }

 private:
  template <class T>
  static Region each(Batch<T> batch) {
    Region all;
    for (std::int64_t i = 0; i < batch.count; ++i) {
      const Region one = Region::of(batch[i]);
      all.spans.insert(all.spans.end(), one.spans.begin(), one.spans.end());
    }
    return all;
  }
  template <class Number>
  static Region numbers(Number* at, std::int64_t count) {
    return Region::of(MatrixView<Number>{at, count, 1, count});
  }
  template <class Number>
  static Region number(Number* at) {
    return Region::of(MatrixView<Number>{at, 1, 1, 1});
  }
  template <class T>
  static MatrixView<T> diagonal(MatrixView<T> a) {
    return {a.data, 1, std::min(a.rows, a.columns), a.ld + 1};
  }
  static Region entries(const std::int32_t* info, std::int64_t count) {
    return Region::of(MatrixView<const std::int32_t>{info, count, 1, count});
  }
  template <class Work>
  void put(Lane lane, const char* name, std::vector<Region> reads, std::vector<Region> writes, Work work) {
    order_.work(rank_, lane, name, std::move(reads), std::move(writes), [work, &host = host_] { work(host); });
  }

  RandomOrder& order_;
  HostEngine& host_;
  int rank_, size_;
};

// The interface of ranks.h over it.
class RandomOrderRanks {
 public:
  using Engine = RandomOrderEngine;

  RandomOrderRanks(int ranks, std::uint64_t seed) : size_(ranks), seed_(seed), memory_(ranks) {}

  int size() const { return size_; }

  template <class T>
  OnHostRanks<T> matrix(std::int64_t rows, std::int64_t columns) {
    return memory_.matrix<T>(rows, columns);
  }

  template <class Body>
  void run(Body&& body) {
    Attendance alone(fresh_key(), 0, {0}, {}, patience);
    Communicator nobody(alone);
    HostEngine host(nobody);
    RandomOrder order(memory_, size_, seed_);
    for (int r = 0; r < size_; ++r) {
      RandomOrderEngine engine(order, host, r, size_);
      body(engine);
    }
    order.run();
  }

 private:
  int size_;
  std::uint64_t seed_;
  HostMemory memory_;
};

}  // namespace jaxmg::testing
