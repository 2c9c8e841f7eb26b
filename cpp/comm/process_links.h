// Connections between ranks of one call that are in different processes of one machine.
//
// Every process listens at an abstract Unix socket that is named after its nonce, which the roll tells. For the length
// of a call, each pair of ranks in different processes shares one connection, made by the lower rank. A process that
// ends closes its connections, so the others know at once who is gone.
#pragma once

#include <chrono>
#include <compare>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/block.h"
#include "comm/gathering.h"
#include "comm/roll.h"

namespace jaxmg {

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket();
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Which connection of which call.
struct LinkKey {
  std::uint64_t process = 0, roll = 0, turn = 0;  // of the call, see CallKey
  std::int32_t from = 0, to = 0;                  // ranks; `from` connects

  auto operator<=>(const LinkKey&) const = default;
};

// Where a process takes connections, and keeps them until the rank that is meant asks for them.
class Reception {
 public:
  explicit Reception(std::uint64_t process);
  ~Reception();
  Reception(const Reception&) = delete;
  Reception& operator=(const Reception&) = delete;

  // That of this process. It must be there before others learn of the process from the roll.
  static Reception& instance();

  // The connection that rank key.from has made; none if it has not come when `patience` is over.
  Socket take(const LinkKey& key, std::chrono::milliseconds patience);

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
  ProcessLinks(Reception& here, Attendance& attendance, const Roll& roll, const CallKey& key,
               std::chrono::milliseconds timeout);

  // The ranks on other machines, with which there is no link.
  std::vector<int> out_of_reach() const;
  // Returns once this rank is connected with all that are in other processes of this machine.
  void connect();
  // Moves those blocks that go from this rank to other processes, and from them to this rank. All ranks call it with
  // the same blocks.
  void exchange(const std::vector<Block>& blocks);
  // Returns once the ranks in other processes have come here, too.
  void barrier();
  // Throws if one of them has failed, or its process has ended. Not during another call of these.
  void check();
  // Tells the others why this rank fails. To be called at most once, and last.
  void fail(const std::string& why) noexcept;

  int ranks() const { return roll_.ranks(); }

 private:
  struct Header {
    std::int64_t exchange;  // number of the exchange in this call, or `failure`
    std::int64_t bytes;     // that follow
  };
  static constexpr std::int64_t failure = -1;

  // What goes one way: pieces of memory, the first of which is the header.
  struct Message;
  struct Peer {
    int rank;
    Socket socket;
    bool amid = false;    // in the middle of a message to it
    bool broken = false;  // it does not take messages any more
  };

  void transfer(std::vector<Message>& out, std::vector<Message>& in);
  void send_some(Peer& peer, Message& message);
  void receive_some(Peer& peer, Message& message);
  [[noreturn]] static void gone(int rank, const std::string& why);
  [[noreturn]] void late(const std::vector<int>& ranks) const;

  Reception& here_;
  Attendance& attendance_;
  const Roll& roll_;
  CallKey key_;
  std::chrono::milliseconds timeout_;
  int rank_;
  std::int64_t exchanges_ = 0;
  std::vector<Peer> peers_;
};

}  // namespace jaxmg
