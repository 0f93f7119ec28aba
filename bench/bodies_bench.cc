// What a body costs on its way through the filters of an exchange, without connections and TLS.

#include <benchmark/benchmark.h>
#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include "mitm/filtered_body.h"
#include "mitm/limits.h"
#include "secrets/store.h"

namespace sallyport::mitm {
namespace {

using content::Coding;
using Kind = MessageEvent::Kind;

constexpr size_t kSize = 8 * 1024 * 1024;

/// Text such as APIs answer with, a few times as long as it is compressed.
const std::string& Text() {
  static const std::string text = [] {
    const char* const words[] = {"\"name\": ", "the ", "request ", "{\n  ",
                                 "\"id\": ",   "of ",  "], "};
    std::mt19937 random(1);
    std::string made;
    while (made.size() < kSize) {
      made += words[random() % std::size(words)];
      if (random() % 3 == 0) made += std::to_string(random());
    }
    made.resize(kSize);
    return made;
  }();
  return text;
}

std::string Gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Brotli(const std::string& text) {
  size_t size = BrotliEncoderMaxCompressedSize(text.size());
  std::string out(size, '\0');
  BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, text.size(),
                        reinterpret_cast<const uint8_t*>(text.data()), &size,
                        reinterpret_cast<uint8_t*>(out.data()));
  out.resize(size);
  return out;
}

std::string Zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

/// A store with SECRETS secrets to scrub.
void Fill(secrets::Store& store, int64_t count) {
  std::mt19937 random(2);
  for (int64_t i = 0; i < count; ++i) {
    SecretSpec spec;
    spec.name = "TOKEN" + std::to_string(i);
    spec.hosts = {*HostPattern::Parse("api.example.com")};
    std::string value = "ghp_";
    while (value.size() < 40) value += static_cast<char>('a' + random() % 26);
    auto secret = secrets::Secret::Create(value);
    if (!secret || !store.Add(std::move(spec), std::move(*secret))) std::exit(1);
  }
}

/// Gives BYTES in blocks, as a connection does.
class Blocks {
 public:
  explicit Blocks(std::string_view bytes) : rest_(bytes) {}
  MessageEvent Next(size_t max) {
    if (rest_.empty()) return {Kind::kEnd, {}};
    const std::string_view piece = rest_.substr(0, std::min(max, kInputBlock));
    rest_.remove_prefix(piece.size());
    return {Kind::kBody, piece};
  }

 private:
  std::string_view rest_;
};

/// What takes the pieces: a copy, as into a TLS record.
class Sink {
 public:
  void Write(std::string_view piece) {
    benchmark::DoNotOptimize(piece.copy(buffer_, sizeof buffer_));
    benchmark::ClobberMemory();
  }

 private:
  char buffer_[kInputBlock];
};

void Count(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kSize));
  state.counters["s/GB"] = benchmark::Counter(
      static_cast<double>(kSize) / 1e9,
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void Untouched(benchmark::State& state) {
  Sink sink;
  for (auto _ : state) {
    Blocks blocks(Text());
    for (;;) {
      const MessageEvent event = blocks.Next(kInputBlock);
      if (event.kind != Kind::kBody) break;
      sink.Write(event.piece);
    }
  }
  Count(state);
}
BENCHMARK(Untouched);

void Scrub(benchmark::State& state, const std::string& coded, const std::vector<Coding>& codings,
           FilteredBody::Output output) {
  secrets::Store store;
  Fill(store, state.range(0));
  if (!store.scrubs()) return state.SkipWithError("the store scrubs nothing");
  content::DecoderMemory memory(kMaxDecoderMemory);
  Sink sink;
  for (auto _ : state) {
    FilteredBody::Options options;
    options.filter = store.Scrubber();
    options.output = output;
    if (!codings.empty()) {
      options.decoder = std::make_unique<content::ContentDecoder>(codings, memory);
    }
    FilteredBody body(std::move(options));
    Blocks blocks(coded);
    const FilteredBody::Source source = [&blocks](size_t max) { return blocks.Next(max); };
    for (;;) {
      const MessageEvent event = body.Read(source, kInputBlock);
      if (event.kind == Kind::kEnd) break;
      if (event.kind != Kind::kBody) return state.SkipWithError("the body failed");
      sink.Write(event.piece);
    }
  }
  Count(state);
}

void Identity(benchmark::State& state) {
  Scrub(state, Text(), {}, FilteredBody::Output::kFiltered);
}
BENCHMARK(Identity)->ArgName("secrets")->Arg(1)->Arg(4)->Arg(16);

void Decoded(benchmark::State& state) {
  const auto coding = static_cast<Coding>(state.range(1));
  const std::string coded = coding == Coding::kGzip     ? Gzip(Text())
                            : coding == Coding::kBrotli ? Brotli(Text())
                                                        : Zstd(Text());
  state.SetLabel(std::string(content::ToString(coding)));
  Scrub(state, coded, {coding}, FilteredBody::Output::kFiltered);
}
BENCHMARK(Decoded)
    ->ArgNames({"secrets", "coding"})
    ->Args({1, static_cast<int>(Coding::kGzip)})
    ->Args({1, static_cast<int>(Coding::kBrotli)})
    ->Args({1, static_cast<int>(Coding::kZstd)});

// A coded body that keeps its bytes, looked through.
void Inspected(benchmark::State& state) {
  Scrub(state, Gzip(Text()), {Coding::kGzip}, FilteredBody::Output::kOriginal);
}
BENCHMARK(Inspected)->ArgName("secrets")->Arg(1);

}  // namespace
}  // namespace sallyport::mitm

BENCHMARK_MAIN();
