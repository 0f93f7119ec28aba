#include "base/http_message.h"

#include <algorithm>
#include <array>

namespace sallyport {
namespace {

constexpr char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr bool IsTokenChar(char c) {
  if ((c >= '0' && c <= '9') || (Lower(c) >= 'a' && Lower(c) <= 'z')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

constexpr bool IsFieldValueChar(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == '\t' || (byte >= 0x20 && byte != 0x7f);
}

// One lookup a byte: every byte of every head passes here.
template <class Predicate>
constexpr std::array<bool, 256> TableOf(Predicate belongs) {
  std::array<bool, 256> table{};
  for (size_t i = 0; i < table.size(); ++i) table[i] = belongs(static_cast<char>(i));
  return table;
}
constexpr std::array<bool, 256> kTokenChars = TableOf(IsTokenChar);
constexpr std::array<bool, 256> kFieldValueChars = TableOf(IsFieldValueChar);

bool AllIn(const std::array<bool, 256>& table, std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [&table](char c) { return table[static_cast<unsigned char>(c)]; });
}

}  // namespace

const std::string* Headers::Find(std::string_view name) const {
  for (const HeaderField& field : fields_) {
    if (EqualsIgnoreCase(field.name, name)) return &field.value;
  }
  return nullptr;
}

std::vector<std::string_view> Headers::FindAll(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const HeaderField& field : fields_) {
    if (EqualsIgnoreCase(field.name, name)) values.push_back(field.value);
  }
  return values;
}

size_t Headers::Count(std::string_view name) const {
  return static_cast<size_t>(std::count_if(
      fields_.begin(), fields_.end(),
      [name](const HeaderField& field) { return EqualsIgnoreCase(field.name, name); }));
}

void Headers::Add(std::string_view name, std::string_view value) {
  fields_.push_back({std::string(name), std::string(value)});
}

void Headers::Set(std::string_view name, std::string_view value) {
  const auto is_name = [name](const HeaderField& field) {
    return EqualsIgnoreCase(field.name, name);
  };
  const auto first = std::find_if(fields_.begin(), fields_.end(), is_name);
  if (first == fields_.end()) return Add(name, value);
  // Copies first: NAME and VALUE may point into the fields that change here.
  HeaderField replacement{std::string(name), std::string(value)};
  fields_.erase(std::remove_if(first + 1, fields_.end(), is_name), fields_.end());
  *first = std::move(replacement);
}

size_t Headers::Remove(std::string_view name) {
  const std::string copy(name);  // NAME may be a removed field's own.
  return std::erase_if(
      fields_, [&copy](const HeaderField& field) { return EqualsIgnoreCase(field.name, copy); });
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Lower(x) == Lower(y); });
}

bool IsToken(std::string_view text) {
  return !text.empty() && AllIn(kTokenChars, text);
}

bool IsNeverForwarded(std::string_view method) {
  return method == "TRACE" || method == "TRACK" || method == "CONNECT";
}

bool IsFieldValue(std::string_view text) {
  return AllIn(kFieldValueChars, text);
}

std::string RequestHead::Target() const {
  if (!query) return path;
  std::string target;
  target.reserve(path.size() + 1 + query->size());
  target.append(path).append(1, '?').append(*query);
  return target;
}

}  // namespace sallyport
