// Shared parts of the C API that Python calls through ctypes: functions are exported, and do not throw.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string_view>

#define JAXMG_EXPORT extern "C" __attribute__((visibility("default")))

namespace jaxmg {

// Copies `from`, truncated to the available room, with a terminating zero.
inline void write_text(std::string_view from, char* to, std::int64_t size) {
  if (size <= 0) return;
  const std::size_t length = std::min(from.size(), static_cast<std::size_t>(size - 1));
  std::memcpy(to, from.data(), length);
  to[length] = '\0';
}

// Runs body(); returns 0, or 1 with the reason in `message`.
template <class Body>
int answered(char* message, std::int64_t message_size, Body&& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    write_text(error.what(), message, message_size);
    return 1;
  }
}

}  // namespace jaxmg
