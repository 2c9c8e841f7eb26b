// Ranks in several processes on the GPUs of one machine: this program starts itself once for each process.
//
// With JAXMG_TEST_RANKS_PER_GPU=<count> in the environment, up to 4 ranks share a GPU.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "comm/membership.h"
#include "cuda_ranks.h"
#include "engine/cuda/driver.h"
#include "engine/cuda/with_engine.h"
#include "gtest/gtest.h"
#include "matrices.h"
#include "residuals.h"
#include "solves.h"

namespace jaxmg::testing {
namespace {

using std::chrono::steady_clock;

constexpr const char* member_variable = "JAXMG_TEST_MEMBER";
constexpr int roll_pipe = 100;  // file descriptor of a process for its entries of rolls; it reads rolls from its input

// What the processes of a test do. Rank r is in process r * processes / ranks, on GPU r modulo the number of GPUs.
struct Job {
  std::string task;
  int ranks, processes;
  int process = -1;

  int process_of(int rank) const { return rank * processes / ranks; }
  std::vector<int> local_ranks() const {
    std::vector<int> local;
    for (int r = 0; r < ranks; ++r) {
      if (process_of(r) == process) local.push_back(r);
    }
    return local;
  }
  std::string text() const {
    std::ostringstream out;
    out << task << ' ' << ranks << ' ' << processes << ' ' << process;
    return out.str();
  }
  static std::optional<Job> of_this_process() {
    const char* const text = std::getenv(member_variable);
    if (text == nullptr) return std::nullopt;
    Job job{};
    std::istringstream(text) >> job.task >> job.ranks >> job.processes >> job.process;
    return job;
  }
};

// --- in the processes of a test -----------------------------------------------------------------

void write_all(int fd, const void* from, std::size_t bytes) {
  ASSERT_EQ(write(fd, from, bytes), static_cast<ssize_t>(bytes));
}
void read_all(int fd, void* to, std::size_t bytes) {
  auto* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = read(fd, at, bytes);
    ASSERT_GT(got, 0) << "the test has ended";
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

// One process of a test. Rolls are called through the test.
class Member {
 public:
  explicit Member(const Job& job) : job_(job), local_(job.local_ranks()) {
    Listener::instance();
    for (const int r : local_) devices_.push_back(r % device_count());
  }

  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }
  const std::vector<int>& local_ranks() const { return local_; }

  // Solves a system of order n. Returns the error message of each local rank.
  std::vector<std::string> solve(std::int64_t n) {
    using T = double;
    const Shape shape{n, job_.ranks, 8, 16, 3};
    const TileColumns layout = shape.layout();
    const auto a = positive_definite<T>(shape.n, 1);
    const auto b = random_matrix<T>(shape.n, 3, 2);
    const CallOf<routines::Posv, T> call(shape, b.columns(), false);
    DeviceMemory memory(devices_);
    auto shards = memory.matrix<T>(shape.n, layout.shard());
    auto x = memory.matrix<T>(shape.n, b.columns());
    auto status = memory.matrix<std::int32_t>(1, 1);
    auto workspace = memory.matrix<std::byte>(call.bytes(), 1);
    const auto blocks = in_blocks(a, layout);
    for (std::size_t i = 0; i < local_.size(); ++i) {
      shards.upload(static_cast<int>(i), blocks[static_cast<std::size_t>(local_[i])]);
      x.upload(static_cast<int>(i), b);
    }
    const auto messages = run(memory, "solve " + std::to_string(n), [&](auto& engine, int i) {
      call.run(engine, workspace.view(i), shards.view(i), x.view(i), status.view(i));
    });
    if (messages == std::vector<std::string>(local_.size())) {
      for (std::size_t i = 0; i < local_.size(); ++i) {
        EXPECT_EQ(status.download(static_cast<int>(i))(0, 0), 0);
        EXPECT_LE(solve_error(a, x.download(static_cast<int>(i)), b), 3);
      }
    }
    return messages;
  }

  // Every rank sends a block of its own to all others, `rounds` times in two lanes.
  std::vector<std::string> all_to_all(int rounds, std::int64_t rows, std::int64_t columns) {
    DeviceMemory memory(devices_);
    auto from = memory.matrix<double>(rows, columns);
    auto to = memory.matrix<double>(rows, columns * job_.ranks);
    for (std::size_t i = 0; i < local_.size(); ++i) {
      Matrix<double> own(rows, columns);
      for (std::int64_t k = 0; k < rows * columns; ++k) own.data()[k] = static_cast<double>(k + 10 * local_[i]);
      from.upload(static_cast<int>(i), own);
    }
    const auto messages = run(memory, "all to all", [&](auto& engine, int i) {
      for (int round = 0; round < rounds; ++round) {
        std::vector<Block> blocks;
        for (int source = 0; source < engine.size(); ++source) {
          blocks.push_back(
              make_block(source, all_ranks, from.view(i), to.view(i).block(0, source * columns, rows, columns)));
        }
        engine.exchange(round % 2 == 0 ? Lane::panel : Lane::bulk, blocks);
        engine.join();
      }
    });
    if (messages == std::vector<std::string>(local_.size())) {
      for (std::size_t i = 0; i < local_.size(); ++i) {
        const Matrix<double> all = to.download(static_cast<int>(i));
        std::int64_t wrong = 0;
        for (int source = 0; source < job_.ranks; ++source) {
          for (std::int64_t k = 0; k < rows * columns; ++k) {
            if (all.data()[source * rows * columns + k] != static_cast<double>(k + 10 * source)) ++wrong;
          }
        }
        EXPECT_EQ(wrong, 0) << "rank " << local_[i];
      }
    }
    return messages;
  }

  bool devices_are_idle() const {
    for (const int device : devices_) {
      JAXMG_CHECK(cudaSetDevice(device));
      if (cudaDeviceSynchronize() != cudaSuccess) return false;
    }
    return true;
  }

 private:
  static constexpr std::int64_t largest_potrf = 1024;

  Roll call_the_roll() {
    std::vector<RollEntry> entries;
    for (const int device : devices_) {
      RollEntry& entry = entries.emplace_back(own_entry(device));
      const ncclUniqueId id = cuda::OfferedIds::instance().get(static_cast<std::uint32_t>(device));
      std::memcpy(entry.nccl_id.data(), &id, sizeof(id));
    }
    // Several ranks of a process may share a GPU: the number of a rank stands for its device.
    for (std::size_t i = 0; i < local_.size(); ++i) entries[i].device = static_cast<std::uint32_t>(local_[i]);
    write_all(roll_pipe, entries.data(), entries.size() * sizeof(RollEntry));
    std::vector<RollEntry> all(static_cast<std::size_t>(job_.ranks));
    read_all(STDIN_FILENO, all.data(), all.size() * sizeof(RollEntry));
    return {all.data(), job_.ranks};
  }

  template <class Body>
  std::vector<std::string> run(DeviceMemory& memory, const std::string& kind, Body&& body) {
    Arena measure;
    CudaScratch(measure, largest_potrf, job_.processes);
    auto scratch = memory.matrix<std::byte>(measure.used(), 1);
    const Roll roll = call_the_roll();
    const auto thrown = on_threads(static_cast<int>(local_.size()), [&](int i) {
      const auto at = static_cast<std::size_t>(i);
      JAXMG_CHECK(cudaSetDevice(devices_[at]));
      const auto number = static_cast<std::uint32_t>(local_[at]);
      const Membership members(roll, number, 0, timeout_);
      const auto workspace = scratch.view(i);
      const EngineNeeds needs{memory.regions(i), {workspace.data, workspace.rows}, kind, false, largest_potrf,
                              job_.processes};
      cuda::with_cuda_engine(members, number, memory.stream(i).get(), needs,
                             [&](cuda::CudaEngine& engine, Arena) { body(engine, i); });
      memory.stream(i).synchronize();
    });
    std::vector<std::string> messages;
    for (const std::exception_ptr& error : thrown) {
      messages.emplace_back();
      try {
        if (error) std::rethrow_exception(error);
      } catch (const std::exception& e) {
        messages.back() = e.what();
      }
    }
    return messages;
  }

  Job job_;
  std::vector<int> local_, devices_;
  std::chrono::milliseconds timeout_ = test_timeout;
};

void expect_fine(const std::vector<std::string>& messages) {
  for (const std::string& message : messages) EXPECT_EQ(message, "");
}

void expect_ipc() {
  EXPECT_NE(cuda::last_exchange_between_processes().find("(CUDA IPC)"), std::string::npos)
      << cuda::last_exchange_between_processes();
}

// Virtual memory of a GPU, taken in turn from segments with successive addresses: buffers are in one or in several.
class VirtualHeap {
 public:
  VirtualHeap(int device, CUmemAllocationHandleType types) : device_(device) {
    JAXMG_CHECK(cudaSetDevice(device));
    properties_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties_.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    properties_.location.id = device;
    properties_.requestedHandleTypes = types;
    JAXMG_CHECK(cuda::Driver::instance().mem_address_reserve(&base_, reserved, 0, 0, 0));
  }

  std::byte* take(std::int64_t bytes) {
    constexpr std::int64_t alignment = 256;
    const std::int64_t at = (used_ + alignment - 1) / alignment * alignment;
    used_ = at + bytes;
    while (static_cast<std::int64_t>(segments_.size()) * segment < used_) grow();
    return reinterpret_cast<std::byte*>(base_ + static_cast<CUdeviceptr>(at));
  }

  // Gives all memory back; the next memory is at the same addresses.
  void clear() {
    const cuda::Driver& driver = cuda::Driver::instance();
    JAXMG_CHECK(cudaSetDevice(device_));
    JAXMG_CHECK(cudaDeviceSynchronize());
    CUdeviceptr at = base_;
    for (const CUmemGenericAllocationHandle handle : segments_) {
      JAXMG_CHECK(driver.mem_unmap(at, segment));
      JAXMG_CHECK(driver.mem_release(handle));
      at += segment;
    }
    segments_.clear();
    used_ = 0;
  }

 private:
  static constexpr std::int64_t reserved = std::int64_t{16} << 30, segment = std::int64_t{32} << 20;

  void grow() {
    const cuda::Driver& driver = cuda::Driver::instance();
    CUmemGenericAllocationHandle handle = 0;
    JAXMG_CHECK(driver.mem_create(&handle, segment, &properties_, 0));
    const CUdeviceptr at = base_ + segments_.size() * segment;
    JAXMG_CHECK(driver.mem_map(at, segment, 0, handle, 0));
    segments_.push_back(handle);
    for (int device = 0; device < device_count(); ++device) {
      CUmemAccessDesc access{};
      access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
      access.location.id = device;
      access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
      JAXMG_CHECK(driver.mem_set_access(at, segment, &access, 1));
    }
  }

  int device_;
  CUmemAllocationProp properties_{};
  CUdeviceptr base_ = 0;
  std::int64_t used_ = 0;
  std::vector<CUmemGenericAllocationHandle> segments_;
};

// Buffers come from virtual memory while this exists; it is never given back to CUDA as a whole.
class VirtualMemory {
 public:
  explicit VirtualMemory(CUmemAllocationHandleType types) {
    DevicePool::instance().set_source([this, types](int device, std::int64_t bytes) {
      return heaps_.try_emplace(device, device, types).first->second.take(bytes);
    });
  }
  ~VirtualMemory() { DevicePool::instance().set_source(nullptr); }
  VirtualMemory(const VirtualMemory&) = delete;
  VirtualMemory& operator=(const VirtualMemory&) = delete;

  void clear() {
    DevicePool::instance().set_source(nullptr);
    for (auto& entry : heaps_) entry.second.clear();
    DevicePool::instance().set_source([this](int device, std::int64_t bytes) { return heaps_.at(device).take(bytes); });
  }

 private:
  std::map<int, VirtualHeap> heaps_;
};

int open_files() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) count += entry.exists() ? 1 : 0;
  return count;
}

void solve_several(Member& member) {
  for (int turn = 0; turn < 3; ++turn) {
    for (const std::int64_t n : {5, 60, 333}) expect_fine(member.solve(n));
    expect_fine(member.all_to_all(20, 100, 7));
    expect_fine(member.all_to_all(4, 1024, 300));  // by copy engines
  }
}

const std::map<std::string, void (*)(Member&)> tasks{
    {"ipc",
     [](Member& member) {
       solve_several(member);
       expect_ipc();
     }},
    {"nccl",
     [](Member& member) {
       solve_several(member);
       EXPECT_NE(cuda::last_exchange_between_processes().find("JAXMG_TRANSPORT=nccl"), std::string::npos);
     }},
    {"virtual",
     [](Member& member) {
       VirtualMemory memory(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
       solve_several(member);
       expect_ipc();
       // Files are sent once for each allocation, and closed.
       const int before = open_files();
       for (int turn = 0; turn < 5; ++turn) expect_fine(member.solve(60));
       EXPECT_EQ(open_files(), before);
       // Other memory at the same addresses.
       for (int turn = 0; turn < 3; ++turn) {
         memory.clear();
         expect_fine(member.solve(60));
         expect_fine(member.all_to_all(4, 1024, 300));
         expect_fine(member.all_to_all(4, 2048, 1024));  // 16 MiB from each rank, in several segments
         expect_ipc();
       }
     }},
    {"virtual_fault",
     [](Member& member) {
       VirtualMemory memory(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
       expect_fine(member.solve(60));
       {
         const ScopedVariable injected("JAXMG_INJECT_FAULT", "1:2");
         for (const std::string& message : member.solve(60)) {
           EXPECT_NE(message.find("injected fault"), std::string::npos) << message;
         }
       }
       expect_fine(member.solve(60));
       expect_ipc();
     }},
    {"virtual_killed",
     [](Member& member) {
       VirtualMemory memory(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
       expect_fine(member.solve(60));
       const ScopedVariable injected("JAXMG_INJECT_FAULT", "1:7:kill");
       for (const std::string& message : member.solve(60)) {
         EXPECT_NE(message.find("rank 1 has left the call: its process has ended"), std::string::npos) << message;
       }
       EXPECT_TRUE(member.devices_are_idle());
     }},
    {"not_exportable",
     [](Member& member) {
       VirtualMemory memory(CU_MEM_HANDLE_TYPE_NONE);
       expect_fine(member.solve(60));
       expect_fine(member.all_to_all(4, 1024, 300));
       const std::string how = cuda::last_exchange_between_processes();
       for (const char* const part :
            {"through NCCL", "rank 0: its virtual memory", "requestedHandleTypes 0", "size 33554432"}) {
         EXPECT_NE(how.find(part), std::string::npos) << how;
       }
     }},
    // Calls in which one rank fails, and calls after them.
    {"fault",
     [](Member& member) {
       expect_fine(member.solve(60));
       for (const char* const fault : {"0:1", "1:2", "1:7"}) {
         const auto began = steady_clock::now();
         {
           const ScopedVariable injected("JAXMG_INJECT_FAULT", fault);
           for (const std::string& message : member.solve(60)) {
             EXPECT_NE(message.find("injected fault"), std::string::npos) << message;
           }
         }
         EXPECT_LT(steady_clock::now() - began, std::chrono::seconds(20));
         EXPECT_TRUE(member.devices_are_idle());
         expect_fine(member.solve(60));
       }
       expect_ipc();
     }},
    // The last rank's process is killed.
    {"killed",
     [](Member& member) {
       expect_fine(member.solve(60));
       const auto began = steady_clock::now();
       const ScopedVariable injected("JAXMG_INJECT_FAULT", "1:7:kill");
       for (const std::string& message : member.solve(60)) {
         EXPECT_NE(message.find("rank 1 has left the call: its process has ended"), std::string::npos) << message;
       }
       EXPECT_LT(steady_clock::now() - began, std::chrono::seconds(20));
       EXPECT_TRUE(member.devices_are_idle());
     }},
    // A process is killed while its GPU is far behind its host: the survivors' streams wait for it.
    {"killed_late",
     [](Member& member) {
       expect_fine(member.all_to_all(2, 4096, 4096));
       const auto began = steady_clock::now();
       const ScopedVariable injected("JAXMG_INJECT_FAULT", "1:60:kill");
       for (const std::string& message : member.all_to_all(80, 4096, 4096)) {
         EXPECT_NE(message.find("rank 1 has left the call: its process has ended"), std::string::npos) << message;
       }
       EXPECT_LT(steady_clock::now() - began, std::chrono::seconds(30));
       EXPECT_TRUE(member.devices_are_idle());
       expect_ipc();
     }},
};

// Runs in each process of a test, and is skipped in the test itself.
TEST(Member, DoesItsTask) {
  const auto job = Job::of_this_process();
  if (!job) GTEST_SKIP() << "this is not a process of a test";
  Member member(*job);
  tasks.at(job->task)(member);
}

// --- in the test --------------------------------------------------------------------------------

struct Process {
  pid_t id = -1;
  int to = -1, from = -1;  // pipes
};

class SeveralProcesses : public ::testing::Test {
 protected:
  using Environment = std::vector<std::string>;

  void SetUp() override {
    if (Job::of_this_process()) GTEST_SKIP() << "in a process of a test";
  }

  static bool available(int ranks) { return device_count() > 0 && ranks <= device_count() * ranks_per_gpu(); }

  // Runs a task; returns the exit status of each process, -signal if it was killed. environment(p) is added for p.
  template <class Extra>
  static std::vector<int> run(Job job, Extra&& environment) {
    std::vector<Process> processes;
    for (job.process = 0; job.process < job.processes; ++job.process) {
      processes.push_back(start(job, environment(job.process)));
    }
    std::vector<int> ranks(static_cast<std::size_t>(job.processes));
    for (int r = 0; r < job.ranks; ++r) ++ranks[static_cast<std::size_t>(job.process_of(r))];
    while (call_a_roll(processes, ranks)) {
    }
    std::vector<int> states;
    for (const Process& process : processes) {
      close(process.to);
      close(process.from);
      states.push_back(state_of(process.id));
    }
    return states;
  }
  static std::vector<int> run(const Job& job) {
    return run(job, [](int) { return Environment(); });
  }

 private:
  static constexpr std::chrono::seconds limit{180};

  static Process start(const Job& job, const Environment& more) {
    std::array<int, 2> to{}, from{};
    EXPECT_EQ(pipe2(to.data(), O_CLOEXEC) + pipe2(from.data(), O_CLOEXEC), 0);
    // Memory is prepared before fork(): this process has other threads.
    Environment variables{std::string(member_variable) + "=" + job.text()};
    // NCCL accepts several processes on one GPU if it takes them for different hosts.
    if (ranks_per_gpu() > 1) variables.push_back("NCCL_HOSTID=process" + std::to_string(job.process));
    variables.insert(variables.end(), more.begin(), more.end());
    for (char** one = environ; *one != nullptr; ++one) variables.emplace_back(*one);
    std::vector<char*> pointers;
    for (std::string& one : variables) pointers.push_back(one.data());
    pointers.push_back(nullptr);
    std::string program = "/proc/self/exe", filter = "--gtest_filter=Member.*";
    std::array<char*, 3> arguments{program.data(), filter.data(), nullptr};
    const pid_t id = fork();
    if (id == 0) {
      dup2(to[0], STDIN_FILENO);
      dup2(from[1], roll_pipe);
      execve(program.data(), arguments.data(), pointers.data());
      _exit(127);
    }
    close(to[0]);
    close(from[1]);
    return {id, to[1], from[0]};
  }

  // Passes one roll on; false when a process has ended.
  static bool call_a_roll(const std::vector<Process>& processes, const std::vector<int>& ranks) {
    std::vector<RollEntry> all;
    for (std::size_t p = 0; p < processes.size(); ++p) {
      std::vector<RollEntry> entries(static_cast<std::size_t>(ranks[p]));
      auto* at = reinterpret_cast<char*>(entries.data());
      std::size_t left = entries.size() * sizeof(RollEntry);
      while (left > 0) {
        pollfd ready{processes[p].from, POLLIN, 0};
        if (poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(limit).count())) <= 0) return false;
        const ssize_t got = read(processes[p].from, at, left);
        if (got <= 0) return false;
        at += got;
        left -= static_cast<std::size_t>(got);
      }
      all.insert(all.end(), entries.begin(), entries.end());
    }
    std::signal(SIGPIPE, SIG_IGN);
    for (const Process& process : processes) {
      if (write(process.to, all.data(), all.size() * sizeof(RollEntry)) < 0) return false;
    }
    return true;
  }

  // Ends a process that is still running after the limit.
  static int state_of(pid_t id) {
    const auto deadline = steady_clock::now() + limit;
    int status = 0;
    while (waitpid(id, &status, WNOHANG) == 0) {
      if (steady_clock::now() > deadline) {
        kill(id, SIGKILL);
        waitpid(id, &status, 0);
        ADD_FAILURE() << "process " << id << " did not end";
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
};

const std::vector<std::pair<int, int>> sizes{{2, 2}, {3, 2}, {4, 2}, {4, 4}};  // ranks, processes

TEST_F(SeveralProcesses, WriteToEachOthersMemory) {
  for (const auto& [ranks, processes] : sizes) {
    if (!available(ranks)) continue;
    SCOPED_TRACE(::testing::Message() << ranks << " ranks in " << processes << " processes");
    EXPECT_EQ(run({"ipc", ranks, processes}), std::vector<int>(static_cast<std::size_t>(processes)));
  }
}

// In memory as JAX's default allocator takes it.
TEST_F(SeveralProcesses, WriteToEachOthersVirtualMemory) {
  for (const auto& [ranks, processes] : sizes) {
    if (!available(ranks)) continue;
    SCOPED_TRACE(::testing::Message() << ranks << " ranks in " << processes << " processes");
    EXPECT_EQ(run({"virtual", ranks, processes}), std::vector<int>(static_cast<std::size_t>(processes)));
  }
}

TEST_F(SeveralProcesses, SurviveFailuresWithVirtualMemory) {
  if (!available(2)) GTEST_SKIP() << "needs 2 ranks";
  EXPECT_EQ(run({"virtual_fault", 2, 2}), std::vector<int>(2));
  EXPECT_EQ(run({"virtual_killed", 2, 2}), (std::vector<int>{0, -SIGKILL}));
}

TEST_F(SeveralProcesses, SayWhyTheyCannotShareVirtualMemory) {
  if (!available(2)) GTEST_SKIP() << "needs 2 ranks";
  EXPECT_EQ(run({"not_exportable", 2, 2}), std::vector<int>(2));
}

// Each process sees its own GPU and no other.
TEST_F(SeveralProcesses, NeedNotSeeEachOthersGpus) {
  for (const int ranks : {2, 4}) {
    if (!available(ranks)) continue;
    const auto own_gpu = [](int process) {
      return Environment{"CUDA_VISIBLE_DEVICES=" + std::to_string(process % device_count())};
    };
    for (const char* const task : {"ipc", "virtual"}) {
      EXPECT_EQ(run({task, ranks, ranks}, own_gpu), std::vector<int>(static_cast<std::size_t>(ranks))) << task;
    }
  }
}

// If one of them demands NCCL, all use it.
TEST_F(SeveralProcesses, AgreeOnNccl) {
  if (!available(2)) GTEST_SKIP() << "needs 2 ranks";
  const auto last_demands = [](int process) {
    return process == 1 ? Environment{"JAXMG_TRANSPORT=nccl"} : Environment();
  };
  EXPECT_EQ(run({"nccl", 2, 2}, last_demands), std::vector<int>(2));
}

TEST_F(SeveralProcesses, ReportAFaultAndGoOn) {
  for (const auto& [ranks, processes] : sizes) {
    if (!available(ranks)) continue;
    SCOPED_TRACE(::testing::Message() << ranks << " ranks in " << processes << " processes");
    EXPECT_EQ(run({"fault", ranks, processes}), std::vector<int>(static_cast<std::size_t>(processes)));
  }
}

TEST_F(SeveralProcesses, NameAKilledProcessAndStopWaitingForIt) {
  for (const char* const task : {"killed", "killed_late"}) {
    for (const int ranks : {2, 4}) {
      if (!available(ranks)) continue;
      SCOPED_TRACE(::testing::Message() << task << ", " << ranks << " ranks");
      std::vector<int> expected(static_cast<std::size_t>(ranks));
      expected[1] = -SIGKILL;
      EXPECT_EQ(run({task, ranks, ranks}), expected);
    }
  }
}

}  // namespace
}  // namespace jaxmg::testing
