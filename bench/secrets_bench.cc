// How fast placeholders are found in bytes, what a request's decision costs, and how fast values
// are found in answers that have none.

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "secrets/anchor_scan.h"
#include "secrets/placeholder.h"
#include "secrets/store.h"
#include "secrets/substituter.h"

namespace sallyport::secrets {
namespace {

constexpr size_t kPiece = 16 * 1024;
constexpr size_t kPieces = 256;
constexpr std::string_view kValue = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB";

template <class T>
T Must(Result<T> result) {
  if (result) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  std::exit(1);
}

PlaceholderIndex IndexOf(int64_t placeholders) {
  PlaceholderIndex index = Must(PlaceholderIndex::Create(Must(MakeAnchor())));
  while (index.size() < static_cast<size_t>(placeholders)) {
    if (!index.Add(Must(MakePlaceholder(ShapeOf(kValue), index.anchor())))) std::exit(1);
  }
  return index;
}

enum Kind { kText, kBase64, kAnchors };

// 4 MiB of KIND; in the first two, a placeholder about every 200 KB.
std::string BytesOf(int64_t kind, const PlaceholderIndex& index) {
  constexpr std::string_view kBase64Alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char* const words[] = {"\"name\": ", "the ", "request ", "{\n  ", "\"id\": 1234567890, "};
  std::mt19937 random(1);
  std::string bytes;
  while (bytes.size() < kPiece * kPieces) {
    if (kind == kText) bytes += words[random() % std::size(words)];
    if (kind == kBase64) bytes += kBase64Alphabet[random() % kBase64Alphabet.size()];
    if (kind == kAnchors) bytes += index.anchor();
    if (kind != kAnchors && random() % (kind == kText ? 25000 : 200000) == 0) {
      bytes += index.placeholder(random() % index.size());
    }
  }
  bytes.resize(kPiece * kPieces);
  return bytes;
}

void Stream(benchmark::State& state) {
  const PlaceholderIndex index = IndexOf(state.range(0));
  const std::string bytes = BytesOf(state.range(1), index);
  const Values values(index.size(), kValue);
  for (auto _ : state) {
    Substituter substituter(index, values);
    for (size_t at = 0; at < bytes.size(); at += kPiece) {
      benchmark::DoNotOptimize(substituter.Feed(std::string_view(bytes).substr(at, kPiece)));
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(Stream)->ArgNames({"placeholders", "kind"})->ArgsProduct({{1, 64}, {0, 1, 2}});

template <size_t (*Find)(std::string_view, std::string_view, size_t)>
void Scan(benchmark::State& state) {
  const PlaceholderIndex index = IndexOf(1);
  std::string bytes = BytesOf(kText, index);
  for (auto _ : state) {
    size_t at = Find(bytes, index.anchor(), 0);
    while (at != std::string_view::npos) at = Find(bytes, index.anchor(), at + 1);
    benchmark::DoNotOptimize(at);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(Scan<FindAnchor>)->Name("Scan/vector");
BENCHMARK(Scan<FindAnchorPortable>)->Name("Scan/portable");

// A usual API request, with a placeholder in it, to its host.
void Request(benchmark::State& state) {
  Store store;
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {Must(HostPattern::Parse("api.example.com"))};
  if (!store.Add(std::move(spec), Must(Secret::Create(kValue)))) std::exit(1);
  const RequestTarget target{Must(HostName::Parse("api.example.com")), 443, true};
  RequestHead head;
  head.method = "GET";
  head.path = "/repos/owner/name/contents/README.md";
  for (const char* name : {"accept", "accept-encoding", "user-agent", "x-request-id", "date"}) {
    head.headers.Add(name, "a value of some usual length, or so");
  }
  head.headers.Add("authorization", "Bearer " + *store.PlaceholderOf("TOKEN"));
  for (auto _ : state) {
    RequestHead request = head;
    if (store.Examine(target, request).refusal) std::exit(1);
    store.Substitute(target, request);
    WipeHead(request);
  }
}
BENCHMARK(Request);

std::string RandomValue(std::mt19937& random, size_t size) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string value;
  while (value.size() < size) value += kAlphabet[random() % kAlphabet.size()];
  return value;
}

// A store with so many secrets; tokens of 40 characters, or passwords of SIZE with punctuation.
void Declare(Store& store, int64_t count, size_t size) {
  std::mt19937 random(2);
  for (int64_t i = 0; i < count; ++i) {
    SecretSpec spec;
    spec.name = "TOKEN_" + std::to_string(i);
    spec.hosts = {Must(HostPattern::Parse("api.example.com"))};
    std::string value = RandomValue(random, size);
    if (size < 20) value[3] = "$!/+"[random() % 4];
    if (!store.Add(std::move(spec), Must(Secret::Create(value)))) std::exit(1);
  }
}

enum AnswerKind { kRandomBytes, kJson, kNonAscii };

// 1 MiB of an answer without a value in it.
std::string AnswerOf(int64_t kind) {
  std::mt19937 random(4);
  std::string bytes;
  while (bytes.size() < (size_t{1} << 20)) {
    if (kind == kRandomBytes) {
      bytes += static_cast<char>(random());
    } else if (kind == kJson) {
      bytes += "{\"id\":" + std::to_string(random()) + ",\"node\":\"" + RandomValue(random, 24) +
               "\",\"url\":\"https:\\/\\/api.example.com\\/items\\/" +
               std::to_string(random() % 10000) + "?page=2&q=a%20b\",\"text\":\"an answer\"},\n";
    } else {
      bytes += "\\u04" + std::to_string(10 + random() % 90);  // JSON of text that is not ASCII.
    }
  }
  return bytes;
}

void Scrub(benchmark::State& state) {
  Store store;
  Declare(store, state.range(0), static_cast<size_t>(state.range(2)));
  const std::string bytes = AnswerOf(state.range(1));
  std::string out;
  for (auto _ : state) {
    const auto filter = store.Scrubber();
    for (size_t at = 0; at < bytes.size(); at += kPiece) {
      out.clear();
      if (!filter->Feed(std::string_view(bytes).substr(at, kPiece), out)) std::exit(1);
      benchmark::DoNotOptimize(out.data());
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(Scrub)
    ->ArgNames({"secrets", "kind", "size"})
    ->ArgsProduct({{1, 4, 32}, {0, 1, 2}, {40, 12}});

// What declaring so many secrets costs.
void Declaring(benchmark::State& state) {
  for (auto _ : state) {
    Store store;
    Declare(store, state.range(0), 40);
  }
}
BENCHMARK(Declaring)->Arg(4)->Arg(32)->Arg(256)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sallyport::secrets

BENCHMARK_MAIN();
