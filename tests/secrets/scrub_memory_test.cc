// Every block that goes back to the heap is searched for the value before it does. This replaces
// the program's allocation functions, and is therefore a program of its own.

#include <malloc.h>
#include <string.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "secrets/store.h"

namespace {

// Half of the value: a filter that is left with one held back must not leave it behind either.
// Never itself in a block of the heap; the test makes the value of it where it needs it.
constexpr std::string_view kHalf = "Vb7#tQ/x+L2m%Zk9";
size_t found = 0;  // Of blocks with kHalf in them.

void Free(void* block) noexcept {
  if (block == nullptr) return;
  if (memmem(block, malloc_usable_size(block), kHalf.data(), kHalf.size()) != nullptr) ++found;
  // What was found must not be found again in the next block that is made of it.
  memset(block, 0, malloc_usable_size(block));
  free(block);
}

}  // namespace

// All that the program uses, or a sanitizer's own would meet these.
void* operator new(size_t size) {
  void* block = calloc(1, size);
  if (block == nullptr) std::abort();
  return block;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return calloc(1, size);
}
void* operator new[](size_t size) {
  return operator new(size);
}
void operator delete(void* block) noexcept {
  Free(block);
}
void operator delete(void* block, size_t) noexcept {
  Free(block);
}
void operator delete(void* block, const std::nothrow_t&) noexcept {
  Free(block);
}
void operator delete[](void* block) noexcept {
  Free(block);
}
void operator delete[](void* block, size_t) noexcept {
  Free(block);
}

namespace sallyport::secrets {
namespace {

constexpr std::string_view kWhole = "Vb7#tQ/x+L2m%Zk9Vb7#tQ/x+L2m%Zk9";
constexpr std::string_view kEscaped = "Vb7#tQ/x+L2m%Zk9Vb7%23tQ%2Fx%2BL2m%25Zk9";

Secret Value(std::string_view value) {
  Result<Secret> secret = Secret::Create(value);
  REQUIRE(secret);
  return *std::move(secret);
}

void Declare(Store& store) {
  SecretSpec spec;
  spec.name = "TOKEN";
  Result<HostPattern> host = HostPattern::Parse("api.example.com");
  REQUIRE(host);
  spec.hosts.push_back(*std::move(host));
  REQUIRE(store.Add(std::move(spec), Value(kWhole)));
}

// One feed for each SIZE bytes of TEXT; what comes out is not looked at here.
void Stream(const Store& store, std::string_view text, size_t size) {
  const auto filter = store.Scrubber();
  std::string out;
  for (size_t at = 0; at < text.size(); at += size) {
    REQUIRE(filter->Feed(text.substr(at, size), out));
  }
  REQUIRE(filter->Finish(out));
  REQUIRE(out.find(kHalf) == std::string::npos);
}

TEST_CASE("the test finds what is left behind") {
  found = 0;
  { const std::string leak(kWhole); }
  CHECK(std::exchange(found, 0) == 1);
}

TEST_CASE("declaring, rotating, revoking and redacting leave no value on the heap") {
  found = 0;
  {
    Store store;
    Declare(store);
    REQUIRE(store.Rotate("TOKEN", Value("another value")));
    REQUIRE(store.Rotate("TOKEN", Value(kWhole)));
    CHECK(store.Redact(kWhole) == *store.PlaceholderOf("TOKEN"));
    REQUIRE(store.Revoke("TOKEN"));
  }
  CHECK(found == 0);
}

TEST_CASE("a stream leaves no value on the heap, in whatever pieces it comes") {
  found = 0;
  {
    Store store;
    Declare(store);
    for (const std::string_view text : {kWhole, kEscaped}) {
      for (const size_t size : {size_t{1}, size_t{7}, size_t{30}, size_t{100}})
        Stream(store, text, size);
    }
  }
  CHECK(found == 0);
}

TEST_CASE("a stream that ends early leaves nothing of what it held back") {
  Store store;
  Declare(store);
  found = 0;
  {
    const auto filter = store.Scrubber();
    std::string out;
    REQUIRE(filter->Feed(kWhole.substr(0, 20), out));
    REQUIRE(filter->Feed(kWhole.substr(20, 11), out));
    CHECK(out.empty());
  }
  CHECK(found == 0);
}

TEST_CASE("a field's value is wiped when it is scrubbed") {
  Store store;
  Declare(store);
  Headers fields;
  fields.Add("location", kWhole);
  found = 0;  // Adding made copies.
  CHECK(store.Scrub(fields));
  fields = Headers();
  CHECK(found == 0);
}

}  // namespace
}  // namespace sallyport::secrets
