#pragma once

#include <catch2/catch.hpp>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/mitm/content/encoders.h"
#include "tests/mitm/harness.h"

// Whole exchanges in which secrets are put into bodies and scrubbed from them: a server that
// answers what a test says and keeps what it got, and bodies in any framing and coding.

namespace sallyport::mitm {

inline constexpr content::Coding kCodings[] = {content::Coding::kGzip, content::Coding::kDeflate,
                                               content::Coding::kBrotli, content::Coding::kZstd};
inline const std::string kValue = "ghp_realrealrealrealrealrealrealreal0000";

inline SecretSpec Spec() {
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {*HostPattern::Parse("api.test")};
  return spec;
}

/// Answers every request with what was set; keeps what it got.
class Scripted {
 public:
  /// Head and body; the connection goes on behind it. Set before a request is sent.
  std::string answer;

  Origin::Handler handler() {
    return [this](Origin::Connection& connection) {
      for (;;) {
        std::string head = connection.ReadHead();
        if (head.empty()) return;
        std::string body = connection.ReadBody(head);
        const std::lock_guard lock(mutex_);
        heads_.push_back(std::move(head));
        bodies_.push_back(std::move(body));
        connection.Write(answer);
      }
    };
  }
  std::string head() { return Last(heads_); }
  std::string body() { return Last(bodies_); }
  size_t requests() {
    const std::lock_guard lock(mutex_);
    return heads_.size();
  }

 private:
  std::string Last(const std::vector<std::string>& all) {
    const std::lock_guard lock(mutex_);
    return all.empty() ? "" : all.back();
  }

  std::mutex mutex_;
  std::vector<std::string> heads_;
  std::vector<std::string> bodies_;
};

/// A gate with a secret for api.test, whose server answers what a test writes.
struct PipelineGate : Scripted, TestGate {
  explicit PipelineGate(SecretSpec spec = Spec(), std::string value = kValue)
      : TestGate(handler()) {
    REQUIRE(secrets.Add(std::move(spec), std::move(*secrets::Secret::Create(value))));
    placeholder = *secrets.PlaceholderOf("TOKEN");
    guest = Open();
  }
  PipelineGate(const PipelineGate&) = delete;
  PipelineGate& operator=(const PipelineGate&) = delete;

  std::string GetAnswer(const std::string& fields = "") { return Ask(*guest, Get("/", fields)); }

  std::string placeholder;
  std::unique_ptr<GuestClient> guest;
};

inline std::string WithLength(const std::string& fields, const std::string& body) {
  return "HTTP/1.1 200 OK\r\n" + fields + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

inline std::string Chunks(const std::string& body, size_t size, const std::string& trailers = "") {
  std::string chunks;
  for (size_t at = 0; at < body.size(); at += size) {
    const std::string piece = body.substr(at, size);
    char line[32];
    std::snprintf(line, sizeof line, "%zx\r\n", piece.size());
    chunks += line + piece + "\r\n";
  }
  return chunks + "0\r\n" + trailers + "\r\n";
}

inline std::string Chunked(const std::string& fields, const std::string& body, size_t size,
                           const std::string& trailers = "") {
  return "HTTP/1.1 200 OK\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n" +
         Chunks(body, size, trailers);
}

/// The body of ANSWER, out of its chunks if it is in such.
inline std::string BodyOf(const std::string& answer) {
  const size_t head = answer.find("\r\n\r\n") + 4;
  std::string body = answer.substr(head);
  if (answer.find("Transfer-Encoding: chunked") > head) return body;
  std::string plain;
  for (size_t at = 0;;) {
    const size_t size = std::strtoul(body.c_str() + at, nullptr, 16);
    at = body.find("\r\n", at) + 2;
    if (size == 0) return plain;
    plain += body.substr(at, size);
    at += size + 2;
  }
}

/// The same of an answer in chunks that goes on.
inline std::string BodySoFar(const std::string& answer) {
  const size_t head = answer.find("\r\n\r\n");
  return head == std::string::npos ? "" : BodyOf(answer + "0\r\n\r\n");
}

inline std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    text.replace(at, from.size(), to);
    at += to.size();
  }
  return text;
}

inline std::string Filler(size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) text += "line " + std::to_string(i * i) + "\n";
  text.resize(size);
  return text;
}

}  // namespace sallyport::mitm
