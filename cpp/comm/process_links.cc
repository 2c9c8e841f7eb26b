#include "comm/process_links.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace jaxmg {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Interval at which a waiting rank checks whether another rank of its process has failed.
constexpr milliseconds poll_interval{20};

constexpr const char* ended = "its process has ended";

struct Address {
  sockaddr_un name{};
  socklen_t bytes = 0;

  explicit Address(std::uint64_t process) {
    name.sun_family = AF_UNIX;
    // Abstract socket name: the first byte is zero, there is no file, and the name is released when the process ends.
    const int length = std::snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "jaxmg-%016llx",
                                     static_cast<unsigned long long>(process));
    bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + static_cast<std::size_t>(length));
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

Socket make_socket() {
  Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket)
    throw Error(ErrorCode::resource_exhausted,
                std::string("cannot create a Unix socket for links between processes: ") + std::strerror(errno));
  return socket;
}

void set_limit(const Socket& socket, int option, milliseconds limit) {
  timeval time{};
  time.tv_sec = static_cast<time_t>(limit.count() / 1000);
  time.tv_usec = static_cast<suseconds_t>(limit.count() % 1000 * 1000);
  setsockopt(socket.get(), SOL_SOCKET, option, &time, sizeof(time));
}

bool is_of_this_user(const Socket& socket) {
  ucred other{};
  socklen_t bytes = sizeof(other);
  return getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &other, &bytes) == 0 && other.uid == geteuid();
}

bool has_hung_up(const Socket& socket) {
  pollfd state{socket.get(), 0, 0};
  return poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

bool may_try_again() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

void add(std::vector<iovec>& pieces, const std::byte* from, std::int64_t bytes) {
  if (bytes > 0) pieces.push_back({const_cast<std::byte*>(from), static_cast<std::size_t>(bytes)});
}

void add_columns(std::vector<iovec>& pieces, const std::byte* first, std::int64_t pitch, const Block& block) {
  if (pitch == block.column_bytes) return add(pieces, first, block.bytes());
  for (std::int64_t column = 0; column < block.columns; ++column) {
    add(pieces, first + column * pitch, block.column_bytes);
  }
}

// Control message that carries open files.
class FileControl {
 public:
  void make_room(msghdr& message) {
    message.msg_control = bytes_.data();
    message.msg_controllen = bytes_.size();
  }
  void attach(msghdr& message, const std::vector<int>& files) {
    make_room(message);
    const std::size_t bytes = files.size() * sizeof(int);
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), files.data(), bytes);
  }
  // Appends the files that a message has brought.
  static void take_files(msghdr& message, std::vector<FileDescriptor>& files) {
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int file = -1;
        std::memcpy(&file, CMSG_DATA(header) + i * sizeof(file), sizeof(file));
        files.emplace_back(file);
      }
    }
  }

 private:
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * ProcessLinks::most_files)> bytes_{};
};

}  // namespace

Listener::Listener(std::uint64_t process) : listening_(make_socket()) {
  const Address address(process);
  if (bind(listening_.get(), address.get(), address.bytes) != 0 || listen(listening_.get(), SOMAXCONN) != 0) {
    throw Error(ErrorCode::internal,
                std::string("cannot listen for links from other processes: ") + std::strerror(errno));
  }
  server_ = std::thread([this] { serve(); });
}

Listener::~Listener() {
  shutdown(listening_.get(), SHUT_RDWR);
  server_.join();
}

Listener& Listener::instance() {
  static auto* const instance = new Listener(process_nonce());  // never destroyed: calls may outlive statics
  return *instance;
}

void Listener::serve() {
  constexpr milliseconds key_timeout{1'000};  // peers send their key immediately
  while (true) {
    Socket socket(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) {
      if (errno == EINVAL) return;                 // shut down
      std::this_thread::sleep_for(poll_interval);  // possibly too many open files: try again
      continue;
    }
    LinkKey key;
    set_limit(socket, SO_RCVTIMEO, key_timeout);
    if (is_of_this_user(socket) && recv(socket.get(), &key, sizeof(key), MSG_WAITALL) == sizeof(key)) {
      put(key, std::move(socket));
    }
  }
}

void Listener::put(const LinkKey& key, Socket socket) {
  constexpr std::size_t many = 128;
  std::lock_guard lock(mutex_);
  if (waiting_.size() >= many) {
    // Connections of failed calls are no longer needed.
    std::erase_if(waiting_, [](const auto& entry) { return has_hung_up(entry.second); });
  }
  waiting_[key] = std::move(socket);
  changed_.notify_all();
}

Socket Listener::take(const LinkKey& key, milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] { return waiting_.contains(key); });
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) return {};
  Socket socket = std::move(found->second);
  waiting_.erase(found);
  return socket;
}

struct ProcessLinks::Message {
  bool wanted = false;  // whether there is a message
  Header header{};
  std::vector<iovec> pieces;
  std::size_t next = 0;  // piece

  // Data that follows the header.
  std::vector<iovec> payload;
  std::int64_t payload_bytes = 0;
  std::string reason;
  // Open files that travel with the header.
  std::vector<int> sent_files;
  bool may_have_files = false;
  std::vector<FileDescriptor> received_files;

  void send(std::int64_t exchange) {
    wanted = true;
    header = {exchange, payload_bytes};
    add(pieces, reinterpret_cast<const std::byte*>(&header), sizeof(header));
    pieces.insert(pieces.end(), payload.begin(), payload.end());
  }
  void receive() {
    wanted = true;
    add(pieces, reinterpret_cast<const std::byte*>(&header), sizeof(header));
  }
  bool done() const { return next == pieces.size(); }
  msghdr rest() {
    constexpr std::size_t most = 512;
    msghdr message{};
    message.msg_iov = &pieces[next];
    message.msg_iovlen = std::min(most, pieces.size() - next);
    return message;
  }
  void advance(std::size_t bytes) {
    while (bytes > 0) {
      iovec& piece = pieces[next];
      const std::size_t part = std::min(bytes, piece.iov_len);
      piece.iov_base = static_cast<std::byte*>(piece.iov_base) + part;
      piece.iov_len -= part;
      bytes -= part;
      if (piece.iov_len == 0) ++next;
    }
  }
};

ProcessLinks::ProcessLinks(Listener& here, Participant& participant, const Roll& roll, const CallKey& key,
                           milliseconds timeout)
    : here_(here), participant_(participant), roll_(roll), key_(key), timeout_(timeout), rank_(participant.rank()) {}

std::vector<int> ProcessLinks::out_of_reach() const {
  std::vector<int> far;
  for (int r = 0; r < ranks(); ++r) {
    if (roll_.entry(r).machine != roll_.entry(rank_).machine) far.push_back(r);
  }
  return far;
}

void ProcessLinks::connect() {
  const RollEntry& own = roll_.entry(rank_);
  for (int r = 0; r < ranks(); ++r) {
    const RollEntry& other = roll_.entry(r);
    if (other.process != own.process && other.machine == own.machine) peers_.push_back({r, {}});
  }
  const auto link = [&](int from, int to) {
    return LinkKey{key_.process, key_.roll, participant_.repetition(), from, to};
  };
  for (Peer& peer : peers_) {
    if (peer.rank < rank_) continue;
    peer.socket = make_socket();
    set_limit(peer.socket, SO_SNDTIMEO, timeout_);
    const Address address(roll_.entry(peer.rank).process);
    const LinkKey key = link(rank_, peer.rank);
    if (::connect(peer.socket.get(), address.get(), address.bytes) != 0) {
      if (may_try_again()) late({peer.rank});
      gone(peer.rank, errno == ECONNREFUSED ? ended : std::strerror(errno));
    }
    if (send(peer.socket.get(), &key, sizeof(key), MSG_NOSIGNAL) != sizeof(key)) gone(peer.rank, ended);
  }
  const auto deadline = steady_clock::now() + timeout_;
  for (Peer& peer : peers_) {
    while (!peer.socket) {
      peer.socket = here_.take(link(peer.rank, rank_), poll_interval);
      participant_.check();
      if (!peer.socket && steady_clock::now() > deadline) late({peer.rank});
    }
  }
}

void ProcessLinks::exchange(const std::vector<Block>& blocks) {
  ++exchanges_;
  std::vector<Message> out(peers_.size()), in(peers_.size());
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    for (const Block& block : blocks) {
      if (block.bytes() == 0) continue;
      if (block.source == rank_ && block.reaches(peers_[p].rank)) {
        add_columns(out[p].payload, block.from, block.from_pitch, block);
        out[p].payload_bytes += block.bytes();
      }
      if (block.source == peers_[p].rank && block.reaches(rank_)) {
        add_columns(in[p].payload, block.to, block.to_pitch, block);
        in[p].payload_bytes += block.bytes();
      }
    }
    if (out[p].payload_bytes > 0) out[p].send(exchanges_);
    if (in[p].payload_bytes > 0) in[p].receive();
  }
  transfer(out, in);
}

void ProcessLinks::barrier() {
  ++exchanges_;
  std::vector<Message> out(peers_.size()), in(peers_.size());
  for (Message& message : out) message.send(exchanges_);
  for (Message& message : in) message.receive();
  transfer(out, in);
}

void ProcessLinks::gather(const std::byte* own, std::size_t stride, std::byte* all, std::size_t bytes) {
  ++exchanges_;
  std::vector<Message> out(peers_.size()), in(peers_.size());
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    const auto rank = static_cast<std::size_t>(peers_[p].rank);
    out[p].payload_bytes = in[p].payload_bytes = static_cast<std::int64_t>(bytes);
    add(out[p].payload, own + rank * stride, out[p].payload_bytes);
    add(in[p].payload, all + rank * bytes, in[p].payload_bytes);
    out[p].send(exchanges_);
    in[p].receive();
  }
  transfer(out, in);
}

FileDescriptor ProcessLinks::share_file(int source, const FileDescriptor& file) {
  ++exchanges_;
  std::vector<Message> out(peers_.size()), in(peers_.size());
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    if (source == rank_) {
      if (file) out[p].sent_files = {file.get()};
      out[p].send(exchanges_);
    } else if (peers_[p].rank == source) {
      in[p].may_have_files = true;
      in[p].receive();
    }
  }
  transfer(out, in);
  for (Message& message : in) {
    if (!message.received_files.empty()) return std::move(message.received_files.front());
  }
  return {};
}

std::vector<std::vector<FileDescriptor>> ProcessLinks::swap_files(const std::vector<std::vector<int>>& files) {
  ++exchanges_;
  std::vector<Message> out(peers_.size()), in(peers_.size());
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    const std::vector<int>& sent = files[static_cast<std::size_t>(peers_[p].rank)];
    if (sent.size() > most_files) {
      throw Error(ErrorCode::internal, std::to_string(sent.size()) + " files for one message between processes");
    }
    out[p].sent_files = sent;
    out[p].send(exchanges_);
    in[p].may_have_files = true;
    in[p].receive();
  }
  transfer(out, in);
  std::vector<std::vector<FileDescriptor>> received(static_cast<std::size_t>(ranks()));
  for (std::size_t p = 0; p < peers_.size(); ++p) {
    received[static_cast<std::size_t>(peers_[p].rank)] = std::move(in[p].received_files);
  }
  return received;
}

void ProcessLinks::transfer(std::vector<Message>& out, std::vector<Message>& in) {
  const auto deadline_from_now = [&] { return steady_clock::now() + timeout_; };
  auto deadline = deadline_from_now();
  while (true) {
    std::vector<pollfd> ready;
    std::vector<std::size_t> of;
    for (std::size_t p = 0; p < peers_.size(); ++p) {
      const auto events = static_cast<short>((out[p].done() ? 0 : POLLOUT) | (in[p].done() ? 0 : POLLIN));
      if (events == 0) continue;
      ready.push_back({peers_[p].socket.get(), events, 0});
      of.push_back(p);
    }
    if (ready.empty()) break;
    const int count = poll(ready.data(), ready.size(), static_cast<int>(poll_interval.count()));
    participant_.check();
    if (count > 0) deadline = deadline_from_now();
    for (std::size_t i = 0; count > 0 && i < ready.size(); ++i) {
      if (ready[i].revents == 0) continue;
      const std::size_t p = of[i];
      if (!out[p].done()) send_some(peers_[p], out[p]);
      if (!in[p].done()) receive_some(peers_[p], in[p]);
    }
    if (steady_clock::now() > deadline) {
      std::vector<int> missing;
      for (const std::size_t p : of) missing.push_back(peers_[p].rank);
      late(missing);
    }
  }
  for (Peer& peer : peers_) {
    if (!peer.broken) continue;
    Message last;  // the reason, if it sent one
    last.receive();
    while (true) receive_some(peer, last);
  }
}

void ProcessLinks::send_some(Peer& peer, Message& message) {
  msghdr rest = message.rest();
  FileControl control;
  if (!message.sent_files.empty()) control.attach(rest, message.sent_files);
  const ssize_t sent = sendmsg(peer.socket.get(), &rest, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && may_try_again()) return;
  if (sent < 0) {
    peer.broken = true;
    message.next = message.pieces.size();
    return;
  }
  message.sent_files.clear();  // they go with the first byte
  message.advance(static_cast<std::size_t>(sent));
  peer.mid_message = !message.done();
}

void ProcessLinks::receive_some(Peer& peer, Message& message) {
  msghdr rest = message.rest();
  FileControl control;
  if (message.may_have_files) control.make_room(rest);
  const ssize_t received = recvmsg(peer.socket.get(), &rest, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0 && may_try_again()) return;
  if (received <= 0) gone(peer.rank, ended);
  if (message.may_have_files) FileControl::take_files(rest, message.received_files);
  const bool in_header = message.next == 0;
  message.advance(static_cast<std::size_t>(received));
  if (!message.done()) return;
  if (!message.reason.empty()) throw Error(ErrorCode::aborted, message.reason);
  if (!in_header) return;
  const auto [exchange, bytes] = message.header;
  if (exchange == failure) {
    if (bytes <= 0) gone(peer.rank, "it sent no reason");
    message.reason.resize(static_cast<std::size_t>(bytes));
    add(message.pieces, reinterpret_cast<const std::byte*>(message.reason.data()), bytes);
  } else if (exchange != exchanges_ || bytes != message.payload_bytes) {
    throw Error(ErrorCode::internal, "rank " + std::to_string(peer.rank) + " is at exchange " +
                                         std::to_string(exchange) + " with " + std::to_string(bytes) +
                                         " bytes, but rank " + std::to_string(rank_) + " is at exchange " +
                                         std::to_string(exchanges_) + " with " + std::to_string(message.payload_bytes));
  } else {
    message.pieces.insert(message.pieces.end(), message.payload.begin(), message.payload.end());
  }
}

void ProcessLinks::check() {
  for (Peer& peer : peers_) {
    Header next{};
    const ssize_t waiting = recv(peer.socket.get(), &next, sizeof(next), MSG_PEEK | MSG_DONTWAIT);
    if (waiting < 0 && may_try_again()) continue;
    if (waiting <= 0) gone(peer.rank, ended);
    if (waiting < static_cast<ssize_t>(sizeof(next)) || next.exchange != failure) continue;
    Message last;
    last.receive();
    while (true) receive_some(peer, last);
  }
}

void ProcessLinks::fail(const std::string& why) noexcept {
  const Header header{failure, static_cast<std::int64_t>(why.size())};
  for (const Peer& peer : peers_) {
    if (!peer.socket || peer.mid_message) continue;
    // Best effort: a peer that does not receive it sees the connection close.
    std::array<iovec, 2> pieces{iovec{const_cast<Header*>(&header), sizeof(header)},
                                iovec{const_cast<char*>(why.data()), why.size()}};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    sendmsg(peer.socket.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
}

void ProcessLinks::leave() noexcept {
  const auto deadline = steady_clock::now() + timeout_;
  for (const Peer& peer : peers_) {
    if (peer.socket) shutdown(peer.socket.get(), SHUT_WR);
  }
  // A peer closes its side when it leaves, or ends.
  for (const Peer& peer : peers_) {
    std::array<std::byte, 4096> discarded;
    while (peer.socket && steady_clock::now() < deadline) {
      pollfd state{peer.socket.get(), POLLIN, 0};
      if (poll(&state, 1, static_cast<int>(poll_interval.count())) <= 0) continue;
      const ssize_t received = recv(peer.socket.get(), discarded.data(), discarded.size(), MSG_DONTWAIT);
      if (received == 0 || (received < 0 && !may_try_again())) break;
    }
  }
}

void ProcessLinks::gone(int rank, const std::string& why) {
  throw Error(ErrorCode::aborted, "rank " + std::to_string(rank) + " has left the call: " + why);
}

void ProcessLinks::late(const std::vector<int>& ranks) const {
  throw Error(ErrorCode::deadline_exceeded, timeout_message(ranks, roll_.ranks(), timeout_));
}

}  // namespace jaxmg
