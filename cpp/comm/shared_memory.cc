#include "comm/shared_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "core/error.h"

namespace jaxmg {
namespace {

[[noreturn]] void fail(const char* what) {
  throw Error(ErrorCode::resource_exhausted,
              std::string("cannot ") + what + " memory for several processes: " + std::strerror(errno));
}

}  // namespace

SharedMemory::SharedMemory(const FileDescriptor& file, std::int64_t bytes) : bytes_(bytes) {
  struct stat state {};
  if (fstat(file.get(), &state) != 0) fail("share");
  if (state.st_size < bytes) {
    throw Error(ErrorCode::internal, "the memory of another process has " + std::to_string(state.st_size) +
                                         " bytes, but " + std::to_string(bytes) +
                                         " are expected: do all processes use the same release of jaxmg?");
  }
  void* const mapped =
      mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) fail("map");
  data_ = static_cast<std::byte*>(mapped);
}

SharedMemory::~SharedMemory() { munmap(data_, static_cast<std::size_t>(bytes_)); }

FileDescriptor SharedMemory::create_file(std::int64_t bytes) {
  FileDescriptor file(memfd_create("jaxmg", MFD_CLOEXEC));
  if (!file || ftruncate(file.get(), bytes) != 0) fail("create");
  return file;
}

}  // namespace jaxmg
