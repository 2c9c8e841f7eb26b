// Field lists: a struct names its fields once, and its encoding in 64-bit words, parser and printer are generated from
// that list.
//
//   struct Point {
//     std::int64_t x = 0, y = 0;
//     void fields(auto&& visit) {
//       visit("x", x);
//       visit("y", y);
//     }
//   };
//
// Fields are integers, numbers in double precision, bool, enumerations, or Words.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/scalar.h"

namespace jaxmg {

using Words = std::vector<std::int64_t>;

// Names of enumerators in text: names_of<Enum>[value].
template <class Enum>
inline constexpr std::array<std::string_view, 0> names_of{};
template <>
inline constexpr std::array<std::string_view, 4> names_of<ScalarType>{"float32", "float64", "complex64", "complex128"};

// Appends the encoded fields of a struct to `words`.
template <class Struct>
void encode(Struct fields, Words& words) {
  fields.fields([&]<class Field>(const char*, const Field& field) {
    if constexpr (std::same_as<Field, Words>) {
      words.push_back(static_cast<std::int64_t>(field.size()));
      words.insert(words.end(), field.begin(), field.end());
    } else if constexpr (std::same_as<Field, double>) {
      words.push_back(std::bit_cast<std::int64_t>(field));
    } else {
      words.push_back(static_cast<std::int64_t>(field));
    }
  });
}

// Decodes a struct from the front of `words` and removes its words.
template <class Struct>
Struct decode(std::span<const std::int64_t>& words) {
  const auto next = [&] {
    if (words.empty()) throw Error(ErrorCode::internal, "an encoded plan has too few words");
    const std::int64_t word = words.front();
    words = words.subspan(1);
    return word;
  };
  Struct decoded{};
  decoded.fields([&]<class Field>(const char*, Field& field) {
    if constexpr (std::same_as<Field, Words>) {
      field.resize(static_cast<std::size_t>(next()));
      for (std::int64_t& word : field) word = next();
    } else if constexpr (std::same_as<Field, double>) {
      field = std::bit_cast<double>(next());
    } else {
      field = static_cast<Field>(next());
    }
  });
  return decoded;
}

// The names of a struct's fields, each preceded by a space.
template <class Struct>
std::string field_names() {
  std::string names;
  Struct{}.fields([&](const char* name, const auto&) { names += std::string(" ") + name; });
  return names;
}

// The fields as "name=value", each preceded by a space; enumerations with names_of by name.
template <class Struct>
std::string to_text(Struct fields) {
  std::string text;
  fields.fields([&]<class Field>(const char* name, const Field& field) {
    text += std::string(" ") + name + '=';
    if constexpr (std::same_as<Field, Words>) {
      for (const std::int64_t word : field) text += std::to_string(word) + ',';
    } else if constexpr (names_of<Field>.size() > 0) {
      text += names_of<Field>.at(static_cast<std::size_t>(field));
    } else if constexpr (std::same_as<Field, double>) {
      text += std::to_string(field);
    } else {
      text += std::to_string(static_cast<std::int64_t>(field));
    }
  });
  return text;
}

inline void parse(std::string_view text, auto& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Error(ErrorCode::invalid_argument, "'" + std::string(text) + "' is not a number");
  }
}

// Parses fields from "name=value name=value ..."; other fields keep their defaults. Throws Error for an unknown name.
template <class Struct>
Struct from_text(std::string_view text) {
  Struct read{};
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const std::string_view name = entry.substr(0, entry.find('='));
    std::string_view value = entry.substr(std::min(entry.size(), name.size() + 1));
    bool known = false;
    read.fields([&]<class Field>(const char* field_name, Field& field) {
      if (name != field_name) return;
      known = true;
      if constexpr (std::same_as<Field, Words>) {
        while (!value.empty()) {
          const std::string_view word = value.substr(0, value.find(','));
          parse(word, field.emplace_back());
          value.remove_prefix(std::min(value.size(), word.size() + 1));
        }
      } else if constexpr (names_of<Field>.size() > 0) {
        const auto found = std::find(names_of<Field>.begin(), names_of<Field>.end(), value);
        if (found == names_of<Field>.end()) {
          throw Error(ErrorCode::invalid_argument, std::string(entry) + " is not supported");
        }
        field = static_cast<Field>(found - names_of<Field>.begin());
      } else if constexpr (std::same_as<Field, double>) {
        parse(value, field);
      } else {
        std::int64_t number = 0;
        parse(value, number);
        field = static_cast<Field>(number);
      }
    });
    if (!known) {
      throw Error(ErrorCode::invalid_argument,
                  "unknown argument '" + std::string(name) + "'; the arguments are" + field_names<Struct>());
    }
  }
  return read;
}

}  // namespace jaxmg
