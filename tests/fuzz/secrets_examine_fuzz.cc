// A request, spelled by the input, against a store with every kind of declaration. No value may
// leave for a host that may not receive it, none at all when the request is refused, and no message
// may have one in it.
//
//   byte 0    the target's host (low 3 bits), encrypted (bit 3), which port (bit 4)
//   the rest  lines: method, path, query, then fields "name:value". A byte 0xf0 to 0xf7 stands for
//   a
//             placeholder, in a value that begins with 0xff for base64 of what follows.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "secrets/basic_auth.h"
#include "secrets/store.h"

using namespace sallyport;
using namespace sallyport::secrets;

namespace {

const char* const kHosts[] = {"a.test", "b.test", "x.zone.test", "y.zone.test", "none.test"};

struct Declared {
  const char* name;
  const char* host;
  const char* value;
};
const Declared kDeclared[] = {
    {"PLAIN", "a.test", "the value of plain"},
    {"NARROW", "a.test", "ghp_value_of_narrow_0123456789"},
    {"INJECT", "b.test", "value-of-inject"},
    {"STRIP", "*.zone.test", "VALUE0OF0STRIP"},
    {"PASS", "x.zone.test", "value:of:pass"},
    {"TERMINATE", "a.test", "value of terminate"},
    {"URL", "a.test", "value-of-url_~."},
};

constexpr size_t kMissing = 6;  // Stands among the declared for the secret without a value.

void Shape(SecretSpec& spec) {
  if (spec.name == "NARROW") {
    spec.methods = {"GET"};
    spec.paths = {"/user", "/repos/**"};
    spec.ports = {443};
    spec.headers = {{"authorization", "x-custom"}};
  }
  if (spec.name == "INJECT") spec.inject = {{"authorization", "Bearer {}"}, {"x-custom", "{}"}};
  if (spec.name == "STRIP") spec.foreign = SecretSpec::Foreign::kStrip;
  if (spec.name == "PASS") spec.on_violation = SecretSpec::OnViolation::kPass;
  if (spec.name == "PASS") spec.foreign = SecretSpec::Foreign::kPass;
  if (spec.name == "URL") spec.path = spec.query = true;
  if (spec.name == "TERMINATE") spec.on_violation = SecretSpec::OnViolation::kTerminate;
}

Store& TheStore() {
  static Store store;
  if (!store.empty()) return store;
  for (const Declared& declared : kDeclared) {
    SecretSpec spec;
    spec.name = declared.name;
    spec.hosts = {*HostPattern::Parse(declared.host)};
    Shape(spec);
    SALLYPORT_CHECK(store.Add(std::move(spec), *Secret::Create(declared.value)).has_value());
  }
  SecretSpec missing;
  missing.name = "MISSING";
  missing.hosts = {*HostPattern::Parse("b.test")};
  SALLYPORT_CHECK(store.AddUnavailable(std::move(missing), "no such variable").has_value());
  return store;
}

std::string Expanded(const Store& store, std::string_view text) {
  const bool basic = !text.empty() && text.front() == '\xff';
  std::string out;
  for (const char c : text.substr(basic ? 1 : 0)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0xf0 || byte > 0xf7) {
      out += c;
      continue;
    }
    const size_t which = byte & 7u;
    out += *store.PlaceholderOf(which < kMissing   ? kDeclared[which].name
                                : which > kMissing ? kDeclared[which - 1].name
                                                   : "MISSING");
  }
  return basic ? EncodeBasic(out) : out;
}

std::string_view TakeLine(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

RequestHead ReadRequest(const Store& store, std::string_view text) {
  RequestHead head;
  head.method = TakeLine(text);
  head.path = Expanded(store, TakeLine(text));
  if (const auto query = TakeLine(text); !query.empty()) head.query = Expanded(store, query);
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    const size_t colon = std::min(line.find(':'), line.size());
    head.headers.fields().push_back(
        {Expanded(store, line.substr(0, colon)),
         Expanded(store, line.substr(std::min(colon + 1, line.size())))});
  }
  return head;
}

// Everything a server could read a value from.
std::string Bytes(const RequestHead& head) {
  std::string bytes = head.method + "\n" + head.Target();
  for (const HeaderField& field : head.headers.fields()) {
    bytes += "\n" + field.name + ":" + field.value + "\n" + DecodeBasic(field.value).value_or("");
  }
  return bytes;
}

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

void CheckWords(const Examination& examination, const Declared& declared) {
  if (!examination.refusal) return;
  SALLYPORT_CHECK(!Has(examination.refusal->detail, declared.value));
  SALLYPORT_CHECK(!Has(examination.refusal->how_to_allow, declared.value));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Store& store = TheStore();
  RequestTarget target;
  const size_t host = data[0] & 7u;
  if (host < std::size(kHosts)) target.host = *HostName::Parse(kHosts[host]);
  target.encrypted = (data[0] & 8) != 0;
  target.port = (data[0] & 16) != 0 ? 443 : 8443;
  RequestHead head = ReadRequest(store, {reinterpret_cast<const char*>(data) + 1, size - 1});

  const std::string before = Bytes(head);
  const Examination examination = store.Examine(target, head);
  store.Substitute(target, head);
  const std::string after = Bytes(head);

  SALLYPORT_CHECK(!examination.refusal || before == after);
  SALLYPORT_CHECK(!examination.terminate || examination.refusal);
  for (const Declared& declared : kDeclared) {
    CheckWords(examination, declared);
    if (Has(before, declared.value)) continue;  // The guest guessed it: what leaves is its own.
    const bool left = Has(after, declared.value);
    const bool used = std::find(examination.used.begin(), examination.used.end(), declared.name) !=
                      examination.used.end();
    const bool may =
        target.host && target.encrypted && HostPattern::Parse(declared.host)->Matches(*target.host);
    SALLYPORT_CHECK(!left || (used && may));
    SALLYPORT_CHECK(left || !used || examination.refusal);
  }
  WipeHead(head);
  return 0;
}
