// What the functions have in common that Python calls directly, through ctypes: they are visible, and no exception
// leaves them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>

#define JAXMG_EXPORT extern "C" __attribute__((visibility("default")))

namespace jaxmg {

// Runs body(); returns 0, or 1 with the reason in `message`.
template <class Body>
int answered(char* message, std::int64_t message_size, Body&& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    if (message_size > 0) {
      const auto length = std::min<std::size_t>(std::strlen(error.what()), static_cast<std::size_t>(message_size - 1));
      std::memcpy(message, error.what(), length);
      message[length] = '\0';
    }
    return 1;
  }
}

}  // namespace jaxmg
