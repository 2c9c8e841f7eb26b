// Memory that several processes of one machine share: a file without a name, which links send to the other processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "comm/file_descriptor.h"

namespace jaxmg {

class SharedMemory {
 public:
  // Maps a file of at least `bytes` bytes; throws if it is shorter. The file may be closed afterwards.
  SharedMemory(const FileDescriptor& file, std::int64_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  // A new file of zeros, whose memory exists while a process has it open or mapped.
  static FileDescriptor create_file(std::int64_t bytes);

  std::byte* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::int64_t bytes_;
};

}  // namespace jaxmg
