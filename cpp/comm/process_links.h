// Connections between ranks of one call that are in different processes of one machine.
//
// Every process listens on an abstract Unix socket named after its nonce, which is on the roll. During a call, each
// pair of ranks in different processes shares one connection, opened by the lower rank. When a process ends, its
// connections close, and the other ranks see at once which rank is lost.
#pragma once

#include <chrono>
#include <compare>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "comm/block.h"
#include "comm/file_descriptor.h"
#include "comm/rendezvous.h"
#include "comm/roll.h"

namespace jaxmg {

using Socket = FileDescriptor;

// Identifies one connection of one call.
struct LinkKey {
  std::uint64_t process = 0, roll = 0, repetition = 0;  // of the call, see CallKey
  std::int32_t from = 0, to = 0;                        // ranks; `from` opens the connection

  auto operator<=>(const LinkKey&) const = default;
};

// Listener of a process: accepts connections, and keeps each until the addressed rank takes it.
class Listener {
 public:
  explicit Listener(std::uint64_t process);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // The listener of this process. It must exist before the process appears on a roll.
  static Listener& instance();

  // Returns the connection opened by rank key.from, or an empty Socket if none arrives within `timeout`.
  Socket take(const LinkKey& key, std::chrono::milliseconds timeout);

 private:
  void serve();
  void put(const LinkKey& key, Socket socket);

  Socket listening_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<LinkKey, Socket> waiting_;
  std::thread server_;
};

// One rank's connections with the ranks of other processes, for one call.
class ProcessLinks {
 public:
  ProcessLinks(Listener& here, Participant& participant, const Roll& roll, const CallKey& key,
               std::chrono::milliseconds timeout);

  // Ranks on other machines, which have no link to this rank.
  std::vector<int> out_of_reach() const;
  // Returns once this rank is connected to all ranks in other processes of this machine.
  void connect();
  // Moves the blocks that go from this rank to other processes, and from other processes to this rank. All ranks call
  // it with the same blocks.
  void exchange(const std::vector<Block>& blocks);
  // Returns once the ranks in other processes have reached this barrier.
  void barrier();
  // Sends `own` to the ranks in other processes, and sets all[r] to the record of each rank r of them. All ranks call
  // it with records of one type.
  template <class Record>
  void gather(const Record& own, std::vector<Record>& all) {
    static_assert(std::is_trivially_copyable_v<Record>);
    gather(reinterpret_cast<const std::byte*>(&own), 0, reinterpret_cast<std::byte*>(all.data()), sizeof(Record));
  }
  // Sends own[r] to each rank r in another process, and sets all[r] to the record which that rank has sent to this one.
  template <class Record>
  void swap(const std::vector<Record>& own, std::vector<Record>& all) {
    static_assert(std::is_trivially_copyable_v<Record>);
    gather(reinterpret_cast<const std::byte*>(own.data()), sizeof(Record), reinterpret_cast<std::byte*>(all.data()),
           sizeof(Record));
  }
  // Sends an open file of rank `source` to the ranks in other processes: returns a descriptor of their own to them, and
  // none to ranks of the source's process. All ranks call it. Without a file at the source all descriptors are empty.
  FileDescriptor share_file(int source, const FileDescriptor& file);
  // Sends the open files files[r], at most `most_files`, to each rank r in another process. Returns descriptors of what
  // each rank has sent to this one, in its order; fewer if this process has too many open files. All ranks call it.
  std::vector<std::vector<FileDescriptor>> swap_files(const std::vector<std::vector<int>>& files);
  static constexpr std::size_t most_files = 64;
  // Throws if a rank in another process has failed, or its process has ended. Must not run concurrently with the other
  // functions.
  void check();
  // Reports the failure of this rank to the other processes. Call at most once, as the last use.
  void fail(const std::string& why) noexcept;
  // After a failure: call when no work of this rank can access the memory of other ranks any more. Returns when the
  // same holds for the ranks in other processes, or after the time-out.
  void leave() noexcept;

  int ranks() const { return roll_.ranks(); }

 private:
  struct Header {
    std::int64_t exchange;  // number of the exchange in this call, or `failure`
    std::int64_t bytes;     // of the data that follow
  };
  static constexpr std::int64_t failure = -1;

  // A message in one direction: pieces of memory, the first of which is the header.
  struct Message;
  struct Peer {
    int rank;
    Socket socket;
    bool mid_message = false;  // a message to it is partly sent
    bool broken = false;       // it no longer accepts messages
  };

  // Sends `bytes` bytes at own + r * stride to rank r.
  void gather(const std::byte* own, std::size_t stride, std::byte* all, std::size_t bytes);
  void transfer(std::vector<Message>& out, std::vector<Message>& in);
  void send_some(Peer& peer, Message& message);
  void receive_some(Peer& peer, Message& message);
  [[noreturn]] static void gone(int rank, const std::string& why);
  [[noreturn]] void late(const std::vector<int>& ranks) const;

  Listener& here_;
  Participant& participant_;
  const Roll& roll_;
  CallKey key_;
  std::chrono::milliseconds timeout_;
  int rank_;
  std::int64_t exchanges_ = 0;
  std::vector<Peer> peers_;
};

}  // namespace jaxmg
