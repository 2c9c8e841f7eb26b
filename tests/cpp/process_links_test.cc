// Links between processes, simulated by threads of one process: each has its own listener.
#include "comm/process_links.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/file_descriptor.h"
#include "comm/shared_memory.h"
#include "comm/watchdog.h"
#include "core/error.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "ranks.h"
#include "residuals.h"
#include "solves.h"

namespace jaxmg::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Thrown by a rank to simulate the end of its process.
struct Vanished {};

// Simulated processes: process_of[r] is the number of rank r's process.
class SeveralProcesses {
 public:
  explicit SeveralProcesses(std::vector<int> process_of) : process_of_(std::move(process_of)) {
    static std::atomic<std::uint64_t> last{0};
    base_ = process_nonce() + 1 + 16 * ++last;
    for (const int process : process_of_) {
      if (process >= static_cast<int>(listeners_.size())) {
        listeners_.push_back(std::make_unique<Listener>(nonce(process)));
      }
    }
  }

  int size() const { return static_cast<int>(process_of_.size()); }
  void set_timeout(milliseconds timeout) { timeout_ = timeout; }

  // Calls body(communicator) for each rank; returns the exception of each rank, if any.
  template <class Body>
  std::vector<std::exception_ptr> run(const std::vector<MemoryRegions>& buffers, Body&& body) {
    return run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
      Communicator communicator(participant, links);
      body(communicator);
      communicator.barrier();
    });
  }

  // The same with body(participant, links).
  template <class Body>
  std::vector<std::exception_ptr> run_linked(const std::vector<MemoryRegions>& buffers, Body&& body) {
    std::vector<RollEntry> entries;
    for (int r = 0; r < size(); ++r) {
      entries.push_back(own_entry(r));
      entries.back().process = nonce(process_of_[static_cast<std::size_t>(r)]);
    }
    const Roll roll(entries.data(), size());
    return on_threads(size(), [&](int rank) {
      const int process = process_of_[static_cast<std::size_t>(rank)];
      // The simulated processes share one registry, and therefore their rendezvous need different keys.
      const CallKey key{roll.entry(0).process, roll.entry(0).call, process};
      Participant participant(key, rank, roll.ranks_of(nonce(process)), buffers[static_cast<std::size_t>(rank)],
                              timeout_);
      ProcessLinks links(*listeners_[static_cast<std::size_t>(process)], participant, roll, key, timeout_);
      try {
        links.connect();
        body(participant, links);
      } catch (const std::exception& error) {
        participant.fail(error.what());
        links.fail(error.what());
        throw;
      }
    });
  }

 private:
  std::uint64_t nonce(int process) const { return base_ + static_cast<std::uint64_t>(process); }

  std::vector<int> process_of_;
  std::uint64_t base_ = 0;
  milliseconds timeout_ = test_timeout;
  std::vector<std::unique_ptr<Listener>> listeners_;
};

std::string message_of(const std::exception_ptr& thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    return error.what();
  } catch (const Vanished&) {
    return "vanished";
  }
  return "";
}

const std::vector<std::vector<int>> groupings{{0, 1}, {0, 0, 1, 1}, {0, 1, 0, 2, 1, 2, 2}, {0, 1, 2, 3}};

std::vector<MemoryRegions> regions_of(std::vector<std::vector<double>>& buffers) {
  std::vector<MemoryRegions> regions;
  for (auto& buffer : buffers) {
    regions.push_back(
        {{reinterpret_cast<std::byte*>(buffer.data()), static_cast<std::int64_t>(buffer.size() * sizeof(double))}});
  }
  return regions;
}

// Blocks between all pairs, with gaps between columns, larger than the buffer of a socket.
TEST(ProcessLinks, ExchangeCopiesBlocksToTheirTargets) {
  for (const auto& grouping : groupings) {
    SeveralProcesses there(grouping);
    const int ranks = there.size();
    const std::int64_t rows = 700, columns = 60, ld = 2 * rows;
    std::vector<std::vector<double>> buffers(grouping.size(), std::vector<double>((ranks + 1) * ld * columns, -1));
    const auto thrown = there.run(regions_of(buffers), [&](Communicator& communicator) {
      EXPECT_EQ(communicator.size(), ranks);
      const int rank = communicator.rank();
      const MatrixView<double> a{buffers[static_cast<std::size_t>(rank)].data(), ld, (ranks + 1) * columns, ld};
      const auto stripe = [&](int r) { return a.block(0, r * columns, rows, columns); };
      for (int round = 0; round < 3; ++round) {
        const auto value = [&](int source, int target) { return 100 * round + 10 * source + target; };
        std::vector<Block> blocks;
        for (int target = 0; target < ranks; ++target) {
          *stripe(target).at(rows - 1, columns - 1) = value(rank, target);
        }
        // Every rank's stripe for a target goes to the lower half of the target's stripe with the number of the source.
        for (int source = 0; source < ranks; ++source) {
          for (int target = 0; target < ranks; ++target) {
            blocks.push_back(
                make_block(source, target, stripe(target), a.block(rows, source * columns, rows, columns)));
          }
        }
        communicator.exchange(blocks);
        for (int source = 0; source < ranks; ++source) {
          EXPECT_EQ(*a.at(2 * rows - 1, (source + 1) * columns - 1), value(source, rank));
          EXPECT_EQ(*a.at(rows, source * columns), -1);
        }
      }
      EXPECT_EQ(*a.at(0, ranks * columns), -1);
    });
    for (const auto& error : thrown) EXPECT_EQ(message_of(error), "");
  }
}

TEST(ProcessLinks, SolveOverSeveralProcessesIsAccurate) {
  using T = double;
  const Shape shape{41, 4, 3, 6, 3};
  const TileColumns layout = shape.layout();
  const auto a = positive_definite<T>(shape.n, 1);
  const auto b = random_matrix<T>(shape.n, 2, 2);
  const CallOf<routines::Posv, T> call(shape, b.columns(), false);
  SeveralProcesses there({0, 1, 1, 0});
  HostMemory memory(4);
  auto shards = memory.matrix<T>(shape.n, layout.shard());
  auto x = memory.matrix<T>(shape.n, b.columns());
  auto status = memory.matrix<std::int32_t>(1, 1);
  auto workspace = memory.matrix<std::byte>(call.bytes(), 1);
  const auto blocks = in_blocks(a, layout);
  std::vector<MemoryRegions> regions;
  for (int r = 0; r < 4; ++r) {
    shards.upload(r, blocks[static_cast<std::size_t>(r)]);
    x.upload(r, b);
    regions.push_back(memory.regions(r));
  }
  const auto thrown = there.run(regions, [&](Communicator& communicator) {
    HostEngine engine(communicator);
    const int r = engine.rank();
    call.run(engine, workspace.view(r), shards.view(r), x.view(r), status.view(r));
  });
  for (int r = 0; r < 4; ++r) {
    EXPECT_EQ(message_of(thrown[static_cast<std::size_t>(r)]), "");
    EXPECT_LE(solve_error(a, x.download(r), b), 3);
  }
}

TEST(ProcessLinks, FailureOfOneRankFailsAllRanks) {
  for (const auto& grouping : groupings) {
    SeveralProcesses there(grouping);
    const int last = there.size() - 1;
    std::vector<std::vector<double>> buffers(grouping.size(), std::vector<double>(8));
    const auto began = steady_clock::now();
    const auto thrown = there.run(regions_of(buffers), [&](Communicator& communicator) {
      const MatrixView<double> a{buffers[static_cast<std::size_t>(communicator.rank())].data(), 8, 1, 8};
      communicator.exchange({make_block(0, all_ranks, a, a)});
      if (communicator.rank() == last) throw Error(ErrorCode::internal, "no more");
      communicator.exchange({make_block(last, all_ranks, a, a)});
    });
    EXPECT_LT(steady_clock::now() - began, test_timeout / 2);
    for (const auto& error : thrown) EXPECT_EQ(message_of(error), "no more");
    // The next call is not affected.
    for (const auto& error : there.run(regions_of(buffers), [](Communicator&) {})) EXPECT_EQ(message_of(error), "");
  }
}

// A connection that closes without a message belongs to a process that has ended.
TEST(ProcessLinks, ALostRankIsNamedImmediately) {
  SeveralProcesses there({0, 1, 2});
  std::vector<std::vector<double>> buffers(3, std::vector<double>(100'000));
  for (const bool receives : {false, true}) {
    const auto began = steady_clock::now();
    const auto thrown = there.run(regions_of(buffers), [&](Communicator& communicator) {
      const int rank = communicator.rank();
      const MatrixView<double> a{buffers[static_cast<std::size_t>(rank)].data(), 100'000, 1, 100'000};
      if (rank == 2) throw Vanished();
      communicator.exchange({receives ? make_block(2, all_ranks, a, a) : make_block(rank, 2, a, a)});
    });
    EXPECT_LT(steady_clock::now() - began, test_timeout / 2);
    for (const std::size_t rank : {0u, 1u}) {
      EXPECT_NE(message_of(thrown[rank]).find("rank 2 has left the call: its process has ended"), std::string::npos)
          << message_of(thrown[rank]);
    }
  }
}

TEST(ProcessLinks, TimeOutNamesTheMissingRank) {
  SeveralProcesses there({0, 1, 2});
  there.set_timeout(milliseconds(200));
  std::vector<std::vector<double>> buffers(3, std::vector<double>(8));
  const auto thrown = there.run(regions_of(buffers), [&](Communicator& communicator) {
    const int rank = communicator.rank();
    const MatrixView<double> a{buffers[static_cast<std::size_t>(rank)].data(), 8, 1, 8};
    if (rank == 1) std::this_thread::sleep_for(milliseconds(1'000));
    communicator.exchange({make_block(1, all_ranks, a, a)});
  });
  for (const std::size_t rank : {0u, 2u}) {
    EXPECT_NE(message_of(thrown[rank]).find("rank(s) 1 of 3 did not arrive within 200 ms"), std::string::npos)
        << message_of(thrown[rank]);
  }
}

// A watchdog checks the links while the ranks do other work.
TEST(ProcessLinks, WatchdogReportsFailuresAndLostProcesses) {
  for (const bool vanishes : {false, true}) {
    SeveralProcesses there({0, 1, 2, 0});
    const std::vector<MemoryRegions> buffers(4);
    const auto thrown = there.run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
      if (participant.rank() == 2) {
        std::this_thread::sleep_for(milliseconds(50));
        if (vanishes) throw Vanished();
        throw Error(ErrorCode::internal, "no more");
      }
      std::promise<std::string> reported;
      int ends = 0;
      Watchdog watchdog([&] { links.check(); },
                        [&](const std::string& why) {
                          // It goes on, because what it ends may start again.
                          if (++ends == 2) reported.set_value(why);
                        });
      throw Error(ErrorCode::aborted, reported.get_future().get());
    });
    for (const std::size_t rank : {0u, 1u, 3u}) {
      EXPECT_EQ(message_of(thrown[rank]), vanishes ? "rank 2 has left the call: its process has ended" : "no more");
    }
  }
}

TEST(ProcessLinks, WatchdogIgnoresRanksThatHaveFinished) {
  SeveralProcesses there({0, 1, 2, 0});
  const std::vector<MemoryRegions> buffers(4);
  std::atomic<bool> disturbed = false;
  const auto thrown = there.run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
    Watchdog watchdog([&] { links.check(); }, [&](const std::string&) { disturbed = true; });
    std::this_thread::sleep_for(milliseconds(40 * participant.rank()));
    watchdog.stop();
    links.barrier();
  });
  for (const auto& error : thrown) EXPECT_EQ(message_of(error), "");
  EXPECT_FALSE(disturbed);
}

TEST(ProcessLinks, RecordsAreGathered) {
  struct Record {
    int rank = -1;
    std::array<char, 3000> more{};
  };
  for (const auto& grouping : groupings) {
    SeveralProcesses there(grouping);
    const std::vector<MemoryRegions> buffers(grouping.size());
    const auto thrown = there.run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
      for (int round = 0; round < 3; ++round) {
        Record own{100 * round + participant.rank(), {}};
        own.more.back() = static_cast<char>(own.rank);
        std::vector<Record> all(grouping.size());
        links.gather(own, all);
        for (std::size_t r = 0; r < grouping.size(); ++r) {
          const bool here = grouping[r] == grouping[static_cast<std::size_t>(participant.rank())];
          const int expected = here ? -1 : 100 * round + static_cast<int>(r);
          EXPECT_EQ(all[r].rank, expected);
          EXPECT_EQ(all[r].more.back(), here ? '\0' : static_cast<char>(expected));
        }
      }
      links.barrier();
    });
    for (const auto& error : thrown) EXPECT_EQ(message_of(error), "");
  }
}

TEST(ProcessLinks, MemoryIsSharedWithTheRanksOfOtherProcesses) {
  for (const auto& grouping : groupings) {
    SeveralProcesses there(grouping);
    const std::vector<MemoryRegions> buffers(grouping.size());
    const std::int64_t bytes = 4096;
    const auto thrown = there.run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
      const int rank = participant.rank();
      FileDescriptor file;
      if (rank == 0) file = SharedMemory::create_file(bytes);
      const FileDescriptor received = links.share_file(0, file);
      EXPECT_EQ(static_cast<bool>(received), grouping[static_cast<std::size_t>(rank)] != grouping[0]);
      const FileDescriptor& own = received ? received : file;
      if (own) {
        const SharedMemory memory(own, bytes);
        memory.data()[rank] = static_cast<std::byte>(rank + 1);
        participant.barrier();
        links.barrier();
        for (std::size_t r = 0; r < grouping.size(); ++r) {
          const bool has_memory = r == 0 || grouping[r] != grouping[0];
          EXPECT_EQ(memory.data()[r], static_cast<std::byte>(has_memory ? r + 1 : 0));
        }
      } else {
        participant.barrier();
        links.barrier();
      }
      EXPECT_FALSE(links.share_file(0, FileDescriptor()));  // rank 0 has none
      links.barrier();
    });
    for (const auto& error : thrown) EXPECT_EQ(message_of(error), "");
  }
}

TEST(ProcessLinks, RecordsAreSwapped) {
  for (const auto& grouping : groupings) {
    SeveralProcesses there(grouping);
    const std::vector<MemoryRegions> buffers(grouping.size());
    const auto thrown = there.run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
      const int rank = participant.rank();
      std::vector<int> own, all(grouping.size(), -1);
      for (int r = 0; r < there.size(); ++r) own.push_back(10 * rank + r);
      links.swap(own, all);
      for (std::size_t r = 0; r < grouping.size(); ++r) {
        const bool here = grouping[r] == grouping[static_cast<std::size_t>(rank)];
        EXPECT_EQ(all[r], here ? -1 : 10 * static_cast<int>(r) + rank);
      }
      links.barrier();
    });
    for (const auto& error : thrown) EXPECT_EQ(message_of(error), "");
  }
}

int open_files() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) count += entry.exists() ? 1 : 0;
  return count;
}

// Rank r sends s files to rank s, each of r + 1 bytes and more with its number.
TEST(ProcessLinks, FilesAreSwapped) {
  for (const auto& grouping : groupings) {
    SeveralProcesses there(grouping);
    const std::vector<MemoryRegions> buffers(grouping.size());
    const auto thrown = there.run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
      const int rank = participant.rank();
      for (int round = 0; round < 2; ++round) {
        std::vector<FileDescriptor> own;
        std::vector<std::vector<int>> sent(grouping.size());
        for (int number = 0; number < there.size(); ++number) {
          own.push_back(SharedMemory::create_file(100 * number + rank + 1));
          for (std::size_t r = static_cast<std::size_t>(number) + 1; r < grouping.size(); ++r) {
            sent[r].push_back(own.back().get());
          }
        }
        const auto received = links.swap_files(sent);
        for (std::size_t r = 0; r < grouping.size(); ++r) {
          const bool here = grouping[r] == grouping[static_cast<std::size_t>(rank)];
          EXPECT_EQ(received[r].size(), static_cast<std::size_t>(here ? 0 : rank));
          for (std::size_t number = 0; number < received[r].size(); ++number) {
            EXPECT_EQ(lseek(received[r][number].get(), 0, SEEK_END), static_cast<off_t>(100 * number + r + 1));
          }
        }
      }
      links.barrier();
    });
    for (const auto& error : thrown) EXPECT_EQ(message_of(error), "");
  }
}

// Files that were on their way to a rank, or from it, when its process ended.
TEST(ProcessLinks, FilesOfALostRankAreClosed) {
  SeveralProcesses there({0, 1, 2});
  const std::vector<MemoryRegions> buffers(3);
  const FileDescriptor file = SharedMemory::create_file(1);
  const int before = open_files();
  const std::vector<std::vector<int>> sent(3, std::vector<int>(ProcessLinks::most_files, file.get()));
  const auto thrown = there.run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
    if (participant.rank() == 2) throw Vanished();
    links.swap_files(sent);
  });
  for (const std::size_t rank : {0u, 1u}) {
    EXPECT_NE(message_of(thrown[rank]).find("rank 2 has left the call: its process has ended"), std::string::npos)
        << message_of(thrown[rank]);
  }
  EXPECT_EQ(open_files(), before);
}

// A rank that has failed waits until the others access its memory no more; it does not wait for lost ranks.
TEST(ProcessLinks, FailedRanksLeaveTogether) {
  SeveralProcesses there({0, 1, 2, 1});
  const std::vector<MemoryRegions> buffers(4);
  std::atomic<bool> busy = true;
  const auto began = steady_clock::now();
  there.run_linked(buffers, [&](Participant& participant, ProcessLinks& links) {
    const int rank = participant.rank();
    if (rank == 2) throw Vanished();
    links.fail("no more");
    if (rank == 0) {
      std::this_thread::sleep_for(milliseconds(100));
      busy = false;
    }
    links.leave();
    EXPECT_FALSE(busy) << rank;
  });
  EXPECT_LT(steady_clock::now() - began, test_timeout / 2);
}

TEST(ProcessLinks, AnUnreachableProcessIsNamed) {
  std::vector<RollEntry> entries{own_entry(0), own_entry(1), own_entry(2)};
  entries[1].process += 1;  // no such process
  entries[2].process += 2;
  entries[2].machine += 1;
  const Roll roll(entries.data(), 3);
  const CallKey key = fresh_key();
  Participant participant(key, 0, {0}, {}, test_timeout);
  ProcessLinks links(Listener::instance(), participant, roll, key, test_timeout);
  EXPECT_EQ(links.out_of_reach(), std::vector<int>{2});
  try {
    links.connect();
    FAIL() << "connected to a process that does not exist";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "rank 1 has left the call: its process has ended");
  }
}

TEST(ProcessLinks, MismatchedExchangesAreReported) {
  SeveralProcesses there({0, 1});
  std::vector<std::vector<double>> buffers(2, std::vector<double>(8));
  const auto thrown = there.run(regions_of(buffers), [&](Communicator& communicator) {
    const int rank = communicator.rank();
    const MatrixView<double> a{buffers[static_cast<std::size_t>(rank)].data(), 8, 1, 8};
    if (rank == 0) communicator.exchange({});
    communicator.exchange({make_block(0, 1, a, a)});
  });
  EXPECT_NE(message_of(thrown[1]).find("rank 0 is at exchange 2"), std::string::npos) << message_of(thrown[1]);
}

}  // namespace
}  // namespace jaxmg::testing
