#include "mitm/http1/fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>
#include <vector>

#include "mitm/limits.h"

namespace sallyport::mitm::http1 {
namespace {

enum class Field {
  kEndToEnd,
  kHost,
  kContentLength,
  kTransferEncoding,
  kConnection,
  kTe,
  kExpect,
  kUpgrade,
  kTrailer,
  kOther,  // Concerns one hop, and says nothing that we need.
};

struct Known {
  std::string_view name;
  Field field;
};

constexpr std::array kKnown{
    Known{"te", Field::kTe},
    Known{"host", Field::kHost},
    Known{"expect", Field::kExpect},
    Known{"upgrade", Field::kUpgrade},
    Known{"trailer", Field::kTrailer},
    Known{"connection", Field::kConnection},
    Known{"keep-alive", Field::kOther},
    Known{"http2-settings", Field::kOther},
    Known{"content-length", Field::kContentLength},
    Known{"transfer-encoding", Field::kTransferEncoding},
    Known{"proxy-connection", Field::kOther},
    Known{"proxy-authenticate", Field::kOther},
    Known{"proxy-authorization", Field::kOther},
    Known{"proxy-authentication-info", Field::kOther},
};

Field Classify(std::string_view name) {
  for (const Known& known : kKnown) {
    if (known.name.size() == name.size() && EqualsIgnoreCase(known.name, name)) return known.field;
  }
  return Field::kEndToEnd;
}

// Calls VISIT with each element of a comma-separated list.
template <class Visit>
void ForEachElement(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view element = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    const size_t begin = element.find_first_not_of(" \t");
    if (begin == std::string_view::npos) continue;
    visit(element.substr(begin, element.find_last_not_of(" \t") - begin + 1));
  }
}

/// With '-' for '_'.
std::string Dashed(std::string_view name) {
  std::string dashed(name);
  std::replace(dashed.begin(), dashed.end(), '_', '-');
  return dashed;
}

bool IsOneOf(std::string_view name, std::span<const std::string_view> names) {
  return std::any_of(names.begin(), names.end(), [name](std::string_view known) {
    return EqualsIgnoreCase(name, known);
  });
}

constexpr std::array<std::string_view, 9> kNeverTrailers{
    "authorization",    "cookie",           "set-cookie",    "content-encoding", "content-type",
    "content-location", "www-authenticate", "cache-control", "alt-svc"};

bool MayBeRequestTrailer(std::string_view name) {
  static constexpr std::array<std::string_view, 17> kNever{
      "content-range",     "content-disposition", "range",
      "if-match",          "if-none-match",       "if-modified-since",
      "if-range",          "if-unmodified-since", "max-forwards",
      "pragma",            "forwarded",           "via",
      "x-real-ip",         "x-http-method",       "x-http-method-override",
      "x-method-override", "accept-encoding"};
  const std::string dashed = Dashed(name);
  return !IsHopField(dashed) && !IsOneOf(dashed, kNeverTrailers) && !IsOneOf(dashed, kNever) &&
         !EqualsIgnoreCase(std::string_view(dashed).substr(0, 12), "x-forwarded-");
}

bool IsWellKnownOption(std::string_view option) {
  static constexpr std::array<std::string_view, 8> kOptions{
      "close",   "keep-alive", "upgrade",        "te",
      "trailer", "trailers",   "http2-settings", "proxy-connection"};
  return std::any_of(kOptions.begin(), kOptions.end(),
                     [option](std::string_view known) { return EqualsIgnoreCase(known, option); });
}

/// One pass over a head.
class Taker {
 public:
  Taker(Side side, int minor_version, Headers& headers, HopFields& hop)
      : side_(side), minor_version_(minor_version), headers_(headers), hop_(hop) {}

  std::optional<ProtocolError> Run() {
    std::erase_if(headers_.fields(), [this](const HeaderField& field) { return Take(field); });
    for (const std::string& name : listed_) headers_.Remove(name);
    CheckFraming();
    return error_;
  }

 private:
  bool Take(const HeaderField& field) {
    switch (Classify(field.name)) {
      case Field::kEndToEnd:
        if (side_ == Side::kRequest && LooksLikeHopField(field.name)) {
          Fail("a field that some servers read as one of framing or of the connection");
        }
        return false;
      case Field::kHost:
        if (hop_.host) Fail("more than one Host field");
        hop_.host = field.value;
        return true;
      case Field::kContentLength:
        TakeLength(field.value);
        return true;
      case Field::kTransferEncoding:
        if (!EqualsIgnoreCase(field.value, "chunked"))
          Fail("a transfer coding that is not chunked");
        if (hop_.chunked) Fail("more than one Transfer-Encoding field");
        hop_.chunked = true;
        return true;
      case Field::kConnection:
        ForEachElement(field.value, [this](std::string_view option) { TakeOption(option); });
        return true;
      case Field::kTe:
        ForEachElement(field.value, [this](std::string_view coding) {
          if (EqualsIgnoreCase(coding, "trailers")) hop_.accepts_trailers = true;
        });
        return true;
      case Field::kExpect:
        if (side_ == Side::kRequest) TakeExpect(field.value);
        return true;
      case Field::kTrailer:
        ForEachElement(field.value, [this](std::string_view name) { TakeTrailer(name); });
        return true;
      case Field::kUpgrade:
        hop_.upgrade_to = std::exchange(upgrade_seen_, true) ? std::string() : field.value;
        return true;
      case Field::kOther:
        return true;
    }
    return true;
  }

  void TakeLength(std::string_view value) {
    uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error != std::errc() || end != value.data() + value.size() || length >> 62 != 0) {
      return Fail("a Content-Length that is not one number");
    }
    if (hop_.content_length) return Fail("more than one Content-Length field");
    hop_.content_length = length;
  }

  void TakeOption(std::string_view option) {
    if (EqualsIgnoreCase(option, "close")) hop_.close = true;
    if (EqualsIgnoreCase(option, "keep-alive")) hop_.keep_alive = true;
    if (EqualsIgnoreCase(option, "upgrade")) hop_.upgrade = true;
    if (IsWellKnownOption(option)) return;
    if (side_ == Side::kRequest) return Fail("a Connection field that names an end-to-end field");
    if (listed_.size() < 16) listed_.emplace_back(option);
  }

  void TakeTrailer(std::string_view name) {
    if (!IsToken(name) || !MayBeRequestTrailer(name)) return;
    if (!hop_.trailers.empty()) hop_.trailers += ", ";
    hop_.trailers += name;
  }

  void TakeExpect(std::string_view value) {
    if (EqualsIgnoreCase(value, "100-continue")) {
      hop_.expects_continue = minor_version_ > 0;
    } else {
      Fail("an expectation that is not 100-continue", 417);
    }
  }

  void CheckFraming() {
    if (hop_.chunked && hop_.content_length) {
      Fail("both Content-Length and Transfer-Encoding");
    }
    if (hop_.chunked && minor_version_ == 0) Fail("Transfer-Encoding in HTTP/1.0");
  }

  void Fail(const char* detail, int status = 400) {
    if (!error_) error_ = ProtocolError{status, detail};
  }

  const Side side_;
  const int minor_version_;
  Headers& headers_;
  HopFields& hop_;
  std::vector<std::string> listed_;
  bool upgrade_seen_ = false;
  std::optional<ProtocolError> error_;
};

}  // namespace

std::optional<ProtocolError> TakeHopFields(Side side, int minor_version, Headers& headers,
                                           HopFields& hop) {
  return Taker(side, minor_version, headers, hop).Run();
}

bool IsHopField(std::string_view name) {
  return Classify(name) != Field::kEndToEnd;
}

bool LooksLikeHopField(std::string_view name) {
  if (name.find('_') == std::string_view::npos) return false;
  return IsHopField(Dashed(name));
}

void CleanTrailers(Headers& trailers) {
  std::erase_if(trailers.fields(), [](const HeaderField& field) {
    return IsHopField(field.name) || IsOneOf(field.name, kNeverTrailers);
  });
}

std::optional<ProtocolError> CheckRequestTrailers(const Headers& trailers) {
  if (trailers.fields().size() > kMaxFields) return ProtocolError{400, "more than 100 trailers"};
  for (const HeaderField& field : trailers.fields()) {
    if (!IsHopField(Dashed(field.name))) continue;
    return ProtocolError{400, "a trailer that is a field of framing or of the connection"};
  }
  return std::nullopt;
}

void CleanRequestTrailers(Headers& trailers) {
  std::erase_if(trailers.fields(),
                [](const HeaderField& field) { return !MayBeRequestTrailer(field.name); });
}

}  // namespace sallyport::mitm::http1
