#pragma once

// A body in pieces, spelled by the input, against a store with two secrets for it and one for
// another host. What comes out must be what the plain way gives, and only the declared value of a
// placeholder may be in it.
//
//   0xf0-0xf2  the placeholder of FIRST, SECOND, ELSEWHERE
//   0xf3 N     the first N bytes of FIRST's
//   0xf4 N     FIRST's, with every character from the Nth on as its format escapes characters
//   0xf5       the end of a piece
//   0xf6       the end of a piece, with a pause behind it: then the body may be denied
//   others     themselves

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "secrets/store.h"
#include "tests/secrets/body_reference.h"

namespace sallyport::secrets {

struct FuzzBody {
  SecretSpec::Body body;
  const char* content_type;
  const char* escape;  ///< A printf format for one character, or null.
  const char* first;   ///< FIRST's value as the format spells it.
  const char* second;
};

inline const char* const kFirstValue = "a \"value\"/with\\ all+of=it & more";
inline const char* const kSecondValue = "8/bytes+";

inline Store& StoreFor(SecretSpec::Body body) {
  static Store store;
  if (!store.empty()) return store;
  const auto add = [body](const char* name, const char* host, const char* form, const char* value) {
    SecretSpec spec;
    spec.name = name;
    spec.body = body;
    spec.hosts = {*HostPattern::Parse(host)};
    if (form != nullptr) spec.placeholder = form;
    SALLYPORT_CHECK(store.Add(std::move(spec), *Secret::Create(value)).has_value());
  };
  add("FIRST", "api.test", nullptr, kFirstValue);
  add("SECOND", "api.test", "a/b+{random}-=", kSecondValue);
  add("ELSEWHERE", "other.test", nullptr, "a value that is for another host");
  return store;
}

inline std::string Escaped(std::string_view text, size_t from, const char* format) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    char escape[16] = {text[at], '\0'};
    if (at >= from && format != nullptr) {
      std::snprintf(escape, sizeof escape, format, static_cast<unsigned char>(text[at]));
    }
    out += escape;
  }
  return out;
}

struct Piece {
  std::string bytes;
  bool pauses = false;
};

/// The pieces that DATA spells.
inline std::vector<Piece> ReadPieces(const Store& store, const char* escape,
                                           std::string_view data) {
  constexpr size_t kLongest = 1 << 16;
  std::vector<Piece> pieces(1);
  size_t size = 0;
  for (size_t at = 0; at < data.size() && size < kLongest; ++at) {
    const auto byte = static_cast<unsigned char>(data[at]);
    const auto next = [&] {
      return ++at < data.size() ? static_cast<unsigned char>(data[at]) : size_t{0};
    };
    std::string& piece = pieces.back().bytes;
    const size_t before = piece.size();
    const std::string& first = *store.PlaceholderOf("FIRST");
    if (byte == 0xf0) {
      piece += first;
    } else if (byte == 0xf1) {
      piece += *store.PlaceholderOf("SECOND");
    } else if (byte == 0xf2) {
      piece += *store.PlaceholderOf("ELSEWHERE");
    } else if (byte == 0xf3) {
      piece += first.substr(0, next());
    } else if (byte == 0xf4) {
      piece += Escaped(first, next(), escape);
    } else if (byte == 0xf5 || byte == 0xf6) {
      pieces.back().pauses = byte == 0xf6;
      pieces.emplace_back();
      continue;
    } else {
      piece += data[at];
    }
    size += piece.size() - before;
  }
  return pieces;
}

/// REFERENCE(pairs, body) is what the whole body must become.
template <class Reference>
int FuzzBodySubstituter(const FuzzBody& format, const uint8_t* data, size_t size,
                        Reference reference) {
  const Store& store = StoreFor(format.body);
  const std::vector<Piece> pieces =
      ReadPieces(store, format.escape, {reinterpret_cast<const char*>(data), size});
  RequestHead head;
  head.method = "POST";
  head.path = "/";
  head.headers.Add("content-type", format.content_type);
  RequestTarget target{*HostName::Parse("api.test"), 443, true};
  const auto filter = store.BodySubstituter(target, head);
  SALLYPORT_CHECK(filter != nullptr);
  std::string whole;
  std::string out;
  bool paused = false;
  const auto denied = [&](const Status& status) {
    SALLYPORT_CHECK(status || (paused && status.error().code() == Code::kDenied));
    return !status;
  };
  for (const auto& [bytes, pauses] : pieces) {
    if (denied(filter->Feed(bytes, out))) return 0;
    whole += bytes;
    if (!pauses) continue;
    filter->Pause(out);
    paused = true;
  }
  if (denied(filter->Finish(out))) return 0;
  const Pairs pairs = {{*store.PlaceholderOf("FIRST"), format.first},
                       {*store.PlaceholderOf("SECOND"), format.second},
                       {*store.PlaceholderOf("ELSEWHERE"), std::nullopt}};
  SALLYPORT_CHECK(out == reference(pairs, whole));
  SALLYPORT_CHECK(!filter->found().refusal && !filter->found().terminate);
  SALLYPORT_CHECK(out == whole || !filter->found().used.empty());
  return 0;
}

}  // namespace sallyport::secrets
