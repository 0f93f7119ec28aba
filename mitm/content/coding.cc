#include "mitm/content/coding.h"

#include <algorithm>
#include <array>
#include <optional>

#include "mitm/limits.h"

namespace sallyport::mitm::content {
namespace {

struct Name {
  std::string_view name;
  Coding coding;
};

constexpr std::array kNames{
    Name{"gzip", Coding::kGzip}, Name{"x-gzip", Coding::kGzip}, Name{"deflate", Coding::kDeflate},
    Name{"br", Coding::kBrotli}, Name{"zstd", Coding::kZstd},
};

// Said in Content-Encoding, though they are no codings: the bytes are what they are.
constexpr std::array<std::string_view, 4> kNoCoding{"identity", "none", "utf-8", "binary"};

std::optional<Coding> CodingOf(std::string_view name) {
  for (const Name& known : kNames) {
    if (EqualsIgnoreCase(known.name, name)) return known.coding;
  }
  return std::nullopt;
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Calls VISIT with each element of a comma-separated list.
template <class Visit>
void ForEachElement(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    const std::string_view element = Trim(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
    if (!element.empty()) visit(element);
  }
}

/// Whether PARAMETERS (";q=0.000") say that something is not wanted.
bool IsWeightZero(std::string_view parameters) {
  const size_t equals = parameters.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = Trim(parameters.substr(1, equals - 1));
  const std::string_view weight = Trim(parameters.substr(equals + 1));
  return EqualsIgnoreCase(name, "q") && !weight.empty() &&
         weight.find_first_not_of("0.") == std::string_view::npos;
}

}  // namespace

std::string_view ToString(Coding coding) {
  switch (coding) {
    case Coding::kGzip:
      return "gzip";
    case Coding::kDeflate:
      return "deflate";
    case Coding::kBrotli:
      return "br";
    case Coding::kZstd:
      return "zstd";
  }
  return {};
}

ContentEncoding ReadContentEncoding(const Headers& headers) {
  ContentEncoding read;
  for (const std::string_view field : headers.FindAll("content-encoding")) {
    ForEachElement(field, [&read](std::string_view name) {
      if (std::any_of(kNoCoding.begin(), kNoCoding.end(),
                      [name](std::string_view none) { return EqualsIgnoreCase(none, name); })) {
        return;
      }
      if (const auto coding = CodingOf(name)) {
        read.codings.push_back(*coding);
      } else if (read.undecodable.empty()) {
        read.undecodable = IsToken(name) && name.size() <= 32 ? std::string(name) : "?";
      }
    });
  }
  if (read.undecodable.empty() && read.codings.size() > kMaxCodings) read.undecodable = "too many";
  return read;
}

AcceptEncoding::AcceptEncoding(const Headers& headers) {
  for (const std::string_view field : headers.FindAll("accept-encoding")) {
    if (!joined_.empty()) joined_ += ", ";
    joined_ += field;
  }
  ForEachElement(joined_, [this](std::string_view text) {
    const size_t semicolon = std::min(text.find(';'), text.size());
    const std::string_view parameters = text.substr(semicolon);
    elements_.push_back({.text = text,
                         .name = Trim(text.substr(0, semicolon)),
                         .parameters = parameters,
                         .refused = IsWeightZero(parameters)});
  });
}

bool AcceptEncoding::AsksFor(Coding coding) const {
  bool any = false;
  for (const Element& element : elements_) {
    if (CodingOf(element.name) == coding) return !element.refused;
    if (element.name == "*") any = !element.refused;
  }
  return any;
}

std::string AcceptEncoding::Narrowed() const {
  const bool names_gzip = std::any_of(elements_.begin(), elements_.end(), [](const Element& e) {
    return CodingOf(e.name) == Coding::kGzip;
  });
  std::string narrowed;
  const auto add = [&narrowed](std::string_view name, std::string_view parameters) {
    if (!narrowed.empty()) narrowed += ", ";
    narrowed.append(name).append(parameters);
  };
  for (const Element& element : elements_) {
    if (CodingOf(element.name) || EqualsIgnoreCase(element.name, "identity")) {
      add(element.text, {});
    } else if (element.name == "*" && !element.refused && !names_gzip) {
      add("gzip", element.parameters);
    }
  }
  return narrowed.empty() ? "identity" : narrowed;
}

}  // namespace sallyport::mitm::content
