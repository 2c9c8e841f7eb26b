// Random-order engine: runs work in any order that lanes, events and exchanges allow.
//
// The host engine runs an algorithm's calls immediately, and therefore cannot reveal a missing wait. This engine keeps
// them in one queue per lane, as a device does, and selects the next lane at random. A lane's work runs in order, and a
// wait blocks its lane until the event has been recorded. A block moves once all ranks that exchange blocks with its
// source or its target have reached that exchange. In any order, results must not change, and no two accesses may race
// (happens_before.h). Lanes run in the thread of the test. Each rank enqueues work from its own thread, since it may
// have to wait for some of that work; only one thread runs at any time, which makes a run reproducible by its seed.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "core/arithmetic.h"
#include "engine/engine.h"
#include "engine/host/host_engine.h"
#include "happens_before.h"
#include "host_memory.h"
#include "low_precision.h"
#include "ranks.h"

namespace jaxmg::testing {

class Stuck : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The queues of all ranks, and the scheduler that runs them.
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
        unseen_(queues_.size(), false),
        history_(names(ranks)) {
    // Weights let some lanes run far ahead of others, which is rare in uniformly drawn orders.
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
    if (!signal) throw std::logic_error("a lane waits for an event that was never recorded");
    const std::size_t q = queue(rank, lane);
    queues_[q].push_back({.run = [this, q, signal] { history_.order_after(q, signal->clock); }, .after = signal});
  }

  // Orders later work in all lanes of the rank after the signal, for which its host has waited.
  void host_has_seen(int rank, Lane lane, const SharedSignal& signal) {
    for (int other = 0; other < lane_count; ++other) wait(rank, static_cast<Lane>(other), signal);
    unseen_[queue(rank, lane)] = false;
  }
  // See ExchangeOps.
  void check_store(int rank, Lane lane) const {
    if (unseen_[queue(rank, lane)]) throw std::logic_error("a store may block the host behind an exchange");
  }

  void exchange(int rank, Lane lane, const std::vector<Block>& blocks) {
    const std::size_t q = queue(rank, lane);
    unseen_[q] = true;
    auto& shared = exchanges_[{lane, enqueued_[q]++}];
    if (!shared) shared = std::make_shared<SharedExchange>(ranks_, blocks);
    check_agreement(*shared, rank, blocks);
    check_independence(rank, blocks);
    shared->blocks[static_cast<std::size_t>(rank)] = blocks;
    queues_[q].push_back({.shared = shared});
  }

  // Runs one task of a random lane. Returns false if the queues are empty.
  bool step() {
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
    if (finished) return false;
    if (ready.empty()) throw Stuck("deadlock, no lane can run: " + waiting());
    go_on(ready[std::discrete_distribution<std::size_t>(weights.begin(), weights.end())(random_)]);
    return true;
  }

 private:
  struct Delivery {
    std::size_t block;
    int source, target;
  };
  // An exchange shared by all ranks.
  struct SharedExchange {
    std::vector<std::vector<Block>> blocks;  // as each rank writes them
    std::vector<std::set<int>> peers;        // ranks that share a block with each rank
    std::vector<Delivery> pending;

    SharedExchange(int ranks, const std::vector<Block>& list)
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
    std::shared_ptr<SharedExchange> shared = {};
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
  void check_agreement(const SharedExchange& shared, int rank, const std::vector<Block>& mine) const {
    const auto first =
        std::find_if(shared.blocks.begin(), shared.blocks.end(), [](const auto& b) { return !b.empty(); });
    if (first == shared.blocks.end()) return;
    const auto& here = memory_.regions(rank);
    const auto& there = memory_.regions(static_cast<int>(first - shared.blocks.begin()));
    const auto agree = [&](const Block& a, const Block& b) {
      return a.source == b.source && a.target == b.target && a.bytes() == b.bytes() && a.columns == b.columns &&
             (a.bytes() == 0 ||
              (a.from_pitch == b.from_pitch && a.to_pitch == b.to_pitch &&
               symmetric_address(here, there, a.from) == b.from && symmetric_address(here, there, a.to) == b.to));
    };
    if (!std::equal(mine.begin(), mine.end(), first->begin(), first->end(), agree)) {
      throw std::logic_error("rank " + std::to_string(rank) + " makes a different exchange than earlier ranks");
    }
  }

  // The blocks of one exchange move in any order: no block may overwrite the source or target of another.
  static void check_independence(int rank, const std::vector<Block>& blocks) {
    std::vector<std::pair<Region::Span, bool>> columns;  // columns of this rank, and whether they are written
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

  bool arrived(int rank, Lane lane, const std::shared_ptr<SharedExchange>& shared) const {
    const auto& tasks = queues_[queue(rank, lane)];
    return !tasks.empty() && tasks.front().shared == shared;
  }
  // Whether `rank` and all ranks that share a block with it have reached the exchange.
  bool complete_for(int rank, Lane lane, const std::shared_ptr<SharedExchange>& shared) const {
    const auto& peers = shared->peers[static_cast<std::size_t>(rank)];
    return arrived(rank, lane, shared) && std::all_of(peers.begin(), peers.end(), [&](int peer) {
             return arrived(peer, lane, shared) || !shared->concerns(peer);
           });
  }
  // Positions in `pending` of the blocks that `rank` can send.
  std::vector<std::size_t> sendable(int rank, Lane lane, const std::shared_ptr<SharedExchange>& shared) const {
    std::vector<std::size_t> found;
    if (!complete_for(rank, lane, shared)) return found;
    for (std::size_t i = 0; i < shared->pending.size(); ++i) {
      const Delivery& d = shared->pending[i];
      if (d.source == rank && complete_for(d.target, lane, shared)) found.push_back(i);
    }
    return found;
  }

  bool can_go_on(std::size_t q) const {
    const Task& task = queues_[q].front();
    if (task.shared) {
      return !task.shared->concerns(rank_of(q)) || !sendable(rank_of(q), lane_of(q), task.shared).empty();
    }
    return !task.after || task.after->recorded;
  }

  void go_on(std::size_t q) {
    const Task& task = queues_[q].front();
    if (task.shared && task.shared->concerns(rank_of(q))) {
      auto& pending = task.shared->pending;
      const auto choice = sendable(rank_of(q), lane_of(q), task.shared);
      const auto chosen = pending.begin() + static_cast<std::ptrdiff_t>(choice[random_() % choice.size()]);
      deliver(*task.shared, *chosen, q);
      pending.erase(chosen);
    } else {
      if (task.run) task.run();
      queues_[q].pop_front();
    }
    history_.finish_step(q);
  }

  // Orders a target after its source. A source is not ordered after its targets, since communicators may buffer what is
  // sent.
  void deliver(const SharedExchange& shared, const Delivery& d, std::size_t source) {
    const Block& sent = shared.blocks[static_cast<std::size_t>(d.source)][d.block];
    const Block& received = shared.blocks[static_cast<std::size_t>(d.target)][d.block];
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
      text += all[q] + (queues_[q].front().shared ? " is in an exchange; " : " waits for an event; ");
    }
    return text;
  }

  const HostMemory& memory_;
  int ranks_;
  std::mt19937_64 random_;
  std::vector<std::deque<Task>> queues_;
  std::vector<double> weights_;
  std::vector<std::size_t> enqueued_;  // exchanges of each queue
  std::vector<bool> unseen_;           // whether the host has yet to wait for an exchange of the queue
  std::map<std::pair<Lane, std::size_t>, std::shared_ptr<SharedExchange>> exchanges_;
  HappensBefore history_;
};

// Host threads of the ranks: each runs body(rank) while it has the turn.
class Hosts {
 public:
  template <class Body>
  Hosts(int ranks, Body body) : hosts_(static_cast<std::size_t>(ranks)) {
    for (int r = 0; r < ranks; ++r) {
      host(r).thread = std::thread([this, r, body] {
        try {
          wait_for_turn(r);
          body(r);
        } catch (const Stopped&) {
        } catch (...) {
          host(r).thrown = std::current_exception();
        }
        host(r).finished = true;
        give_turn_to(no_host);
      });
    }
  }
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;
  ~Hosts() {
    stopped_ = true;
    for (int r = 0; r < static_cast<int>(hosts_.size()); ++r) {
      if (!host(r).finished) let_go_on(r);
      host(r).thread.join();
    }
  }

  // Called by a host: waits until the signal has been recorded.
  void wait(int rank, const RandomOrder::SharedSignal& signal) {
    host(rank).waits_for = signal;
    give_turn_to(no_host);
    wait_for_turn(rank);
    host(rank).waits_for.reset();
  }

  // Called by the scheduler: runs all hosts until each waits for a signal that is not recorded. Returns false if all
  // have finished.
  bool go_on() {
    bool unfinished = false;
    for (int r = 0; r < static_cast<int>(hosts_.size()); ++r) {
      while (!host(r).finished && (!host(r).waits_for || host(r).waits_for->recorded)) let_go_on(r);
      if (host(r).thrown) std::rethrow_exception(host(r).thrown);
      unfinished = unfinished || !host(r).finished;
    }
    return unfinished;
  }

 private:
  struct Stopped {};
  struct Host {
    RandomOrder::SharedSignal waits_for;
    bool finished = false;
    std::exception_ptr thrown;
    std::thread thread;
  };
  static constexpr int no_host = -1;  // the scheduler has the turn

  Host& host(int rank) { return hosts_[static_cast<std::size_t>(rank)]; }
  void let_go_on(int rank) {
    give_turn_to(rank);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return turn_ == no_host; });
  }
  void give_turn_to(int rank) {
    const std::lock_guard lock(mutex_);
    turn_ = rank;
    changed_.notify_all();
  }
  void wait_for_turn(int rank) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return turn_ == rank; });
    if (stopped_) throw Stopped();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int turn_ = no_host;
  bool stopped_ = false;
  std::vector<Host> hosts_;
};

// The engine of one rank: enqueues work that the host engine then runs.
class RandomOrderEngine {
 public:
  using Event = RandomOrder::SharedSignal;
  using Range = HostEngine::Range;

  RandomOrderEngine(RandomOrder& order, Hosts& hosts, HostEngine& host, int rank, int size)
      : order_(order), hosts_(hosts), host_(host), rank_(rank), size_(size) {}

  RandomOrderEngine alone() const {
    RandomOrderEngine engine = *this;
    engine.alone_ = true;
    engine.size_ = 1;
    return engine;
  }

  int rank() const { return alone_ ? 0 : rank_; }
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
  void check_diagonal(Lane lane, const TileColumns& layout, int rank, MatrixView<T> l, std::int32_t* info) {
    std::vector<Region> diagonals;
    for (const std::int64_t t : layout.tiles_of(rank)) {
      const std::int64_t width = layout.width(t);
      diagonals.push_back(Region::of(diagonal(l.block(layout.begin(t), layout.local_offset(t), width, width))));
    }
    put(lane, "check_diagonal", std::move(diagonals), {entries(info, 1)},
        [=](HostEngine& host) { host.check_diagonal(lane, layout, rank, l, info); });
  }
  template <class T>
  void trsm(Lane lane, Side side, Uplo uplo, Op op, Diag diag, MatrixView<T> a, MatrixView<T> x) {
    if (x.empty()) return;
    put(lane, "trsm", {Region::triangle(a, uplo, diag)}, {Region::of(x)},
        [=](HostEngine& host) { host.trsm(lane, side, uplo, op, diag, a, x); });
  }
  template <class T>
  void gemm(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    if (c.empty() || a.empty() || b.empty()) return;
    put(lane, "gemm", {Region::of(a), Region::of(b)}, {Region::of(c)},
        [=](HostEngine& host) { host.gemm(lane, opa, opb, alpha, a, b, c); });
  }
  template <class T>
  void product(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    if (c.empty()) return;
    put(lane, "product", {Region::of(a), Region::of(b)}, {Region::of(c)},
        [=](HostEngine& host) { host.product(lane, opa, opb, alpha, a, b, c); });
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
  void exchange(Lane lane, const std::vector<Block>& blocks) {
    if (!alone_) {
      order_.exchange(rank_, lane, blocks);
      return;
    }
    std::vector<Region> reads, writes;
    for (const Block& block : blocks) {
      reads.push_back(Region::of(block.from, block.from_pitch, block.column_bytes, block.columns));
      writes.push_back(Region::of(block.to, block.to_pitch, block.column_bytes, block.columns));
    }
    put(lane, "exchange", std::move(reads), std::move(writes),
        [=](HostEngine& host) { host.alone().exchange(lane, blocks); });
  }
  void set_info(Lane lane, std::int32_t* info, std::int32_t value) {
    put(lane, "set_info", {}, {entries(info, 1)}, [=](HostEngine& host) { host.set_info(lane, info, value); });
  }
  template <class T>
  void conclude(Lane lane, const std::int32_t* infos, MatrixView<T> x, std::int32_t* status) {
    put(lane, "conclude", {entries(infos, size_)}, {Region::of(x), entries(status, 1)},
        [=, ranks = size_](HostEngine& host) {
          // The host engine below has one rank: pass it the least of all entries.
          const std::int32_t first = *std::min_element(infos, infos + ranks);
          host.conclude(lane, &first, x, status);
        });
  }

  // Products of lower precision.
  template <class T>
  void residual_products(Lane lane, MatrixView<T> m, MatrixView<T> x, MatrixView<T> w, MatrixView<T> r, T* scratch,
                         MatrixView<T> g) {
    const std::int64_t count = residual_scratch(m.columns, m.rows, x.columns);
    const MatrixView<T> of_scratch{scratch, count, 1, count};
    put(lane, "residual_products", {Region::of(m), Region::of(x), Region::of(w)},
        {Region::of(r), Region::of(g), Region::of(of_scratch)},
        [=](HostEngine& host) { host.residual_products(lane, m, x, w, r, scratch, g); });
  }
  template <class T>
    requires(sizeof(Real<T>) == 4)
  void rounded_product(Lane lane, Op opa, Op opb, T alpha, MatrixView<T> a, MatrixView<T> b, MatrixView<T> c) {
    if (c.empty() || a.empty()) return;
    if (opa != Op::none) throw std::invalid_argument("only products with A itself are emulated");
    put(lane, "rounded_product", {Region::of(a), Region::of(b)}, {Region::of(c)},
        [=](HostEngine&) { testing::rounded_product(opb, alpha, a, b, c); });
  }
  template <class T>
    requires(sizeof(Real<T>) == 4)
  void split_left(Lane lane, MatrixView<T> a, MatrixView<Half> parts) {
    put(lane, "split_left", {Region::of(a)}, {Region::of(parts)}, [=](HostEngine&) { testing::split_left(a, parts); });
  }
  template <class T>
    requires(sizeof(Real<T>) == 4)
  void split_right(Lane lane, Op op, MatrixView<T> b, MatrixView<Half> parts) {
    put(lane, "split_right", {Region::of(b)}, {Region::of(parts)},
        [=](HostEngine&) { testing::split_right(op, b, parts); });
  }
  template <class T>
    requires(sizeof(Real<T>) == 4)
  void split_product(Lane lane, Op op, float alpha, MatrixView<Half> left, MatrixView<Half> right, MatrixView<T> c) {
    if (c.empty() || left.empty()) return;
    put(lane, "split_product", {Region::of(left), Region::of(right)}, {Region::of(c)},
        [=](HostEngine&) { testing::split_product(op, alpha, left, right, c); });
  }

  // LU.
  template <class T>
  void getrf(Lane lane, MatrixView<T> a, std::int64_t row, std::int32_t* pivots, std::byte* scratch) {
    const std::int64_t bytes = getrf_scratch_bytes(a.rows, a.columns);
    put(lane, "getrf", {},
        {Region::of(a), entries(pivots, a.columns), Region::of(MatrixView<std::byte>{scratch, bytes, 1, bytes})},
        [=](HostEngine& host) { host.getrf(lane, a, row, pivots, scratch); });
  }
  template <class T>
  std::int64_t getrf_columns(std::int64_t) const {
    return std::numeric_limits<std::int64_t>::max();
  }
  void plan_interchanges(Lane lane, const std::int32_t* pivots, std::int64_t row, std::int64_t count, std::int64_t rows,
                         RowMoves* moves) {
    put(lane, "plan_interchanges", {entries(pivots, count)}, {numbers(moves, count)},
        [=](HostEngine& host) { host.plan_interchanges(lane, pivots, row, count, rows, moves); });
  }
  template <class T>
  void interchange(Lane lane, Interchanges direction, const RowMoves* moves, std::int64_t count, std::int64_t row,
                   MatrixView<T> a) {
    put(lane, "interchange", {numbers(moves, count)}, {Region::of(a)},
        [=](HostEngine& host) { host.interchange(lane, direction, moves, count, row, a); });
  }
  template <class T>
  void interchange_beside(Lane lane, const std::int32_t* pivots, std::int64_t row, std::int64_t first,
                          std::int64_t count, MatrixView<T> a) {
    const std::int64_t last = first + count;
    put(lane, "interchange_beside", {entries(pivots + first, count)},
        {Region::of(a.block(0, 0, a.rows, first)), Region::of(a.block(0, last, a.rows, a.columns - last))},
        [=](HostEngine& host) { host.interchange_beside(lane, pivots, row, first, count, a); });
  }
  template <class T>
  void interchange_chunks(Lane lane, const RowMoves* moves, std::int64_t count, std::int64_t row, RowChunks<T> a,
                          std::int64_t columns) {
    std::vector<Region> writes;
    for (std::int64_t top = 0; top < a.rows; top += a.chunk) writes.push_back(Region::of(a.piece(top, 0, columns)));
    put(lane, "interchange_chunks", {numbers(moves, count)}, std::move(writes),
        [=](HostEngine& host) { host.interchange_chunks(lane, moves, count, row, a, columns); });
  }
  void number(Lane lane, std::int64_t count, std::int32_t* places) {
    put(lane, "number", {}, {entries(places, count)}, [=](HostEngine& host) { host.number(lane, count, places); });
  }
  // Which places it changes, the numbers decide: rows from the first pivot on.
  void place(Lane lane, const RowMoves* moves, std::int64_t count, std::int32_t* places) {
    put(lane, "place", {numbers(moves, count)}, {entries(places, 1)},
        [=](HostEngine& host) { host.place(lane, moves, count, places); });
  }
  // As for `place`, its first number stands for all of `places`.
  void invert(Lane lane, const std::int32_t* places, std::int64_t row, std::int64_t count, std::int32_t* origins) {
    put(lane, "invert", {entries(places, 1), entries(places + row, count)}, {entries(origins + row, count)},
        [=](HostEngine& host) { host.invert(lane, places, row, count, origins); });
  }
  template <class T>
  void gather_rows(Lane lane, MatrixView<T> from, const std::int32_t* origins, std::int64_t row, MatrixView<T> to) {
    put(lane, "gather_rows", {Region::of(from), entries(origins + row, to.rows)}, {Region::of(to)},
        [=](HostEngine& host) { host.gather_rows(lane, from, origins, row, to); });
  }
  template <class T>
  void gather_columns(Lane lane, MatrixView<T> from, const std::int32_t* places, MatrixView<T> to) {
    put(lane, "gather_columns", {Region::of(from), entries(places, to.columns)}, {Region::of(to)},
        [=](HostEngine& host) { host.gather_columns(lane, from, places, to); });
  }
  template <class T>
  void check_pivots(Lane lane, MatrixView<T> a, std::int64_t row, std::int32_t* info) {
    put(lane, "check_pivots", {Region::of(diagonal(a))}, {entries(info, 1)},
        [=](HostEngine& host) { host.check_pivots(lane, a, row, info); });
  }
  template <class T>
  void conjugate(Lane lane, MatrixView<T> a) {
    put(lane, "conjugate", {}, {Region::of(a)}, [=](HostEngine& host) { host.conjugate(lane, a); });
  }

  // Panel QR and scaling.
  template <class T>
  std::int64_t geqrt_columns(std::int64_t rows) const {
    return HostPanelQrOps().geqrt_columns<T>(rows);
  }
  template <class T>
  void geqrt(Lane lane, MatrixView<T> a, MatrixView<T> t, T* scratch) {
    put(lane, "geqrt", {Region::of(a)},
        {Region::of(a), Region::of(t), Region::of(MatrixView<T>{scratch, geqrt_scratch(a.columns), 1, 1})},
        [=](HostEngine& host) { host.geqrt(lane, a, t, scratch); });
  }
  template <class T>
  void two_sided(Lane lane, MatrixView<T> v, MatrixView<T> t, MatrixView<T> w, T* scratch) {
    put(lane, "two_sided", {Region::of(v), Region::of(t), Region::of(w)},
        {Region::of(w), Region::of(MatrixView<T>{scratch, two_sided_scratch(w.columns), 1, 1})},
        [=](HostEngine& host) { host.two_sided(lane, v, t, w, scratch); });
  }
  void lend_scratch(Lane lane, MatrixView<std::byte> scratch) {
    put(lane, "lend_scratch", {}, {Region::of(scratch)}, [=](HostEngine& host) { host.lend_scratch(lane, scratch); });
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
    std::vector<Region> writes{number(scale)};
    if (info != nullptr) writes.push_back(entries(info, 1));
    put(lane, "choose_scale", {Region::of(MatrixView<const Real>{norms, size_, 1, size_})}, std::move(writes),
        [=, ranks = size_](HostEngine& host) {
          // The host engine below has one rank: pass it the largest of all norms.
          const Real norm = *std::max_element(norms, norms + ranks);
          host.choose_scale(lane, &norm, scale, info);
        });
  }
  template <class T>
  void multiply(Lane lane, const Real<T>* scale, MatrixView<T> a) {
    put(lane, "multiply", {number(scale)}, {Region::of(a)}, [=](HostEngine& host) { host.multiply(lane, scale, a); });
  }
  template <class T>
  void divide(Lane lane, const Real<T>* scale, MatrixView<T> a) {
    put(lane, "divide", {number(scale)}, {Region::of(a)}, [=](HostEngine& host) { host.divide(lane, scale, a); });
  }
  template <class T>
  void divide_upper(Lane lane, const Real<T>* scale, std::int64_t row, MatrixView<T> a) {
    put(lane, "divide_upper", {number(scale)}, {Region::of(a)},
        [=](HostEngine& host) { host.divide_upper(lane, scale, row, a); });
  }

  // Singular value decompositions.
  template <class T>
  void scale_and_shift(Lane lane, Real<T> alpha, MatrixView<T> a, Real<T> shift, MatrixView<T> b) {
    put(lane, "scale_and_shift", {Region::of(a)}, {Region::of(b)},
        [=](HostEngine& host) { host.scale_and_shift(lane, alpha, a, shift, b); });
  }
  template <class T>
  void combine(Lane lane, Real<T> alpha, MatrixView<T> a, Real<T> beta, MatrixView<T> b) {
    put(lane, "combine", {Region::of(a)}, {Region::of(b)},
        [=](HostEngine& host) { host.combine(lane, alpha, a, beta, b); });
  }
  template <class T>
  void measure_columns(Lane lane, MatrixView<T> a, Real<T>* diagonal, Real<T>* below) {
    put(lane, "measure_columns", {Region::triangle(a, Uplo::lower, Diag::non_unit)},
        {numbers(diagonal, a.columns), numbers(below, a.columns)},
        [=](HostEngine& host) { host.measure_columns(lane, a, diagonal, below); });
  }
  template <class T>
  void add_noise(Lane lane, Real<T> size, std::int64_t row, std::int64_t column, MatrixView<T> a) {
    put(lane, "add_noise", {}, {Region::of(a)}, [=](HostEngine& host) { host.add_noise(lane, size, row, column, a); });
  }

  // Band to tridiagonal and back.
  template <class T>
  void chase(Lane lane, MatrixView<T> band, const Reflectors<T>& reflectors, std::int32_t* progress, Real<T>* d,
             Real<T>* e, std::int32_t* info) {
    const std::int64_t n = reflectors.n;
    put(lane, "chase", {},
        {Region::of(band), of_reflectors(reflectors), Region::of(reflectors.all_phases()), entries(progress, n),
         numbers(d, n), numbers(e, n - 1), entries(info, 1)},
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
    put(lane, "form_diamonds", std::move(reads), of_batch(parts, parts.count),
        [=](HostEngine& host) { host.form_diamonds(lane, reflectors, waves, levels, parts); });
  }
  template <class T>
  void multiply_each(Lane lane, Batch<T> a, Batch<T> b, Batch<T> c) {
    if (c.first.empty()) return;
    auto reads = of_batch(a, c.count);
    for (Region& region : of_batch(b, c.count)) reads.push_back(std::move(region));
    put(lane, "multiply_each", std::move(reads), of_batch(c, c.count),
        [=](HostEngine& host) { host.multiply_each(lane, a, b, c); });
  }
  template <class T>
  void merge_corners(Lane lane, Batch<T> parts, Batch<T> q, Batch<T> y) {
    auto writes = of_batch(q, q.count);
    for (Region& region : of_batch(y, q.count)) writes.push_back(std::move(region));
    put(lane, "merge_corners", of_batch(parts, 4 * q.count), std::move(writes),
        [=](HostEngine& host) { host.merge_corners(lane, parts, q, y); });
  }
  template <class T>
  void apply_waves(Lane lane, const Reflectors<T>& reflectors, std::int64_t begin, std::int64_t end, T* blocks,
                   std::int32_t* progress, MatrixView<T> z) {
    if (begin >= end || z.empty()) return;
    const DiamondGrid grid = reflectors.grid();
    const std::int64_t from = grid.before(begin), to = grid.before(end);
    put(lane, "apply_waves", {Region::of(reflectors.blocks(from, to))},
        {Region::of(z), numbers(blocks, (to - from) * block_reflector_numbers(reflectors.b)),
         entries(progress, wave_progress(grid, z.columns))},
        [=](HostEngine& host) { host.apply_waves(lane, reflectors, begin, end, blocks, progress, z); });
  }
  template <class T>
  void scale_rows(Lane lane, MatrixView<T> factors, MatrixView<T> a) {
    put(lane, "scale_rows", {Region::of(factors)}, {Region::of(a)},
        [=](HostEngine& host) { host.scale_rows(lane, factors, a); });
  }

  template <class T>
  bool heevd_fits(std::int64_t, bool) const {
    return true;
  }
  template <class T>
  void heevd(Lane lane, bool vectors, MatrixView<T> a, Real<T>* w, Arena memory, std::int32_t* info) {
    put(lane, "heevd", {}, {Region::of(a), numbers(w, a.rows), entries(info, 1)},
        [=](HostEngine& host) { host.heevd(lane, vectors, a, w, memory, info); });
    const Event done = record(lane);
    hosts_.wait(rank_, done);
    order_.host_has_seen(rank_, lane, done);
  }

  // Tridiagonal eigenproblems, fetch and store.
  template <class T>
  void fetch(Lane lane, const T* from, std::int64_t count, T* to) {
    put(lane, "fetch", {numbers(from, count)}, {}, [=](HostEngine& host) { host.fetch(lane, from, count, to); });
    const Event fetched = record(lane);
    hosts_.wait(rank_, fetched);
    order_.host_has_seen(rank_, lane, fetched);
  }
  template <class T>
  void store(Lane lane, const T* from, std::int64_t count, T* to) {
    order_.check_store(rank_, lane);
    put(lane, "store", {}, {numbers(to, count)},
        [=, copy = std::vector<T>(from, from + count)](HostEngine& host) { host.store(lane, copy.data(), count, to); });
  }
  static constexpr std::int64_t leaf_rows = HostEngine::leaf_rows;
  template <class R>
  void solve_leaves(Lane lane, Halving leaves, R* d, const R* e, std::int64_t row, MatrixView<R> q,
                    std::int32_t* info) {
    if (q.empty()) return;
    const std::int64_t first = leaves.begin(leaves.part_of(row)), last = leaves.end(leaves.part_of(row + q.rows - 1));
    put(lane, "solve_leaves", {numbers(e, leaves.n - 1)},
        {numbers(d + first, last - first), Region::of(q), entries(info, 1)},
        [=](HostEngine& host) { host.solve_leaves(lane, leaves, d, e, row, q, info); });
  }
  template <class R>
  void take_cut_rows(Lane lane, Halving merges, std::int64_t row, MatrixView<R> q, std::int64_t first,
                     std::int64_t count, R* z) {
    put(lane, "take_cut_rows", {Region::of(q)}, {numbers(z + first, count)},
        [=](HostEngine& host) { host.take_cut_rows(lane, merges, row, q, first, count, z); });
  }
  template <class R>
  void rotate_columns(Lane lane, Halving merges, const ColumnChains<R>& chains, std::int64_t row, MatrixView<R> from,
                      MatrixView<R> to) {
    put(lane, "rotate_columns",
        {Region::of(from), entries(chains.begin, chains.count + 1), entries(chains.source, merges.n),
         entries(chains.target, merges.n), numbers(chains.cosine, merges.n), numbers(chains.sine, merges.n)},
        {Region::of(to)}, [=](HostEngine& host) { host.rotate_columns(lane, merges, chains, row, from, to); });
  }
  template <class R>
  void solve_secular(Lane lane, const MergeLevel<R>& level, std::int64_t first, std::int64_t count,
                     std::int32_t* info) {
    put(lane, "solve_secular", of_poles(level),
        {entries(level.origin + first, count), numbers(level.tau + first, count), numbers(level.value + first, count),
         entries(info, 1)},
        [=](HostEngine& host) { host.solve_secular(lane, level, first, count, info); });
  }
  template <class R>
  void adapt_weights(Lane lane, const MergeLevel<R>& level, std::int64_t first, std::int64_t count) {
    put(lane, "adapt_weights", of_roots(level), {numbers(level.zhat + first, count)},
        [=](HostEngine& host) { host.adapt_weights(lane, level, first, count); });
  }
  template <class R>
  void keep_deflated(Lane lane, const MergeLevel<R>& level, std::int64_t row, MatrixView<R> from, MatrixView<R> to) {
    put(lane, "keep_deflated", {Region::of(from), entries(level.kept, level.merges.parts)}, {Region::of(to)},
        [=](HostEngine& host) { host.keep_deflated(lane, level, row, from, to); });
  }
  template <class R>
  void secular_vectors(Lane lane, const MergeLevel<R>& level, std::int64_t first, MatrixView<R> s) {
    auto reads = of_roots(level);
    reads.push_back(numbers(level.zhat, level.merges.n));
    reads.push_back(entries(level.order, level.merges.n));
    put(lane, "secular_vectors", std::move(reads), {Region::of(s)},
        [=](HostEngine& host) { host.secular_vectors(lane, level, first, s); });
  }
  template <class R>
  void bisect(Lane lane, std::int64_t n, const R* d, const R* squares, R low, R high, std::int64_t first,
              MatrixView<R> w) {
    put(lane, "bisect", {numbers(d, n), numbers(squares, n - 1)}, {Region::of(w)},
        [=](HostEngine& host) { host.bisect(lane, n, d, squares, low, high, first, w); });
  }
  template <class T>
  void widen(Lane lane, MatrixView<Real<T>> from, MatrixView<T> to) {
    put(lane, "widen", {Region::of(from)}, {Region::of(to)}, [=](HostEngine& host) { host.widen(lane, from, to); });
  }

 private:
  template <class Number>
  static Region number(Number* at) {
    return Region::of(MatrixView<Number>{at, 1, 1, 1});
  }
  template <class T>
  static MatrixView<T> diagonal(MatrixView<T> a) {
    return {a.data, 1, std::min(a.rows, a.columns), a.ld + 1};
  }
  static Region entries(const std::int32_t* info, std::int64_t count) { return numbers(info, count); }
  template <class Number>
  static Region numbers(Number* first, std::int64_t count) {
    return Region::of(MatrixView<Number>{first, count, 1, count});
  }
  template <class T>
  static Region of_reflectors(const Reflectors<T>& reflectors) {
    return reflectors.data == nullptr ? Region{} : Region::of(reflectors.all());
  }
  template <class T>
  static std::vector<Region> of_batch(const Batch<T>& batch, std::int64_t count) {
    std::vector<Region> regions;
    for (std::int64_t i = 0; i < count; ++i) regions.push_back(Region::of(batch[i]));
    return regions;
  }
  template <class R>
  static std::vector<Region> of_poles(const MergeLevel<R>& level) {
    const auto [n, parts] = level.merges;
    return {entries(level.kept, parts), numbers(level.rho, parts), numbers(level.d, n), numbers(level.z, n)};
  }
  template <class R>
  static std::vector<Region> of_roots(const MergeLevel<R>& level) {
    auto regions = of_poles(level);
    regions.push_back(entries(level.origin, level.merges.n));
    regions.push_back(numbers(level.tau, level.merges.n));
    return regions;
  }
  template <class Work>
  void put(Lane lane, const char* name, std::vector<Region> reads, std::vector<Region> writes, Work work) {
    order_.work(rank_, lane, name, std::move(reads), std::move(writes), [work, &host = host_] { work(host); });
  }

  RandomOrder& order_;
  Hosts& hosts_;
  HostEngine& host_;
  int rank_, size_;
  bool alone_ = false;
};

// Ranks on the random-order engine, with the interface of ranks.h.
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
    Participant alone(fresh_key(), 0, {0}, {}, test_timeout);
    Communicator communicator(alone);
    HostEngine host(communicator);
    RandomOrder order(memory_, size_, seed_);
    Hosts hosts(size_, [&](int rank) {
      RandomOrderEngine engine(order, hosts, host, rank, size_);
      body(engine);
    });
    while (hosts.go_on()) order.step();
    while (order.step()) continue;
  }

 private:
  int size_;
  std::uint64_t seed_;
  HostMemory memory_;
};

}  // namespace jaxmg::testing
