#pragma once

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "runtime/warden/audit_log.h"

namespace sallyport::runtime {

/// An AuditLog on a file without a name, with clocks that tick by hand.
class AuditDesk {
 public:
  explicit AuditDesk(AuditLog::Options options = {}) {
    char path[] = "/tmp/sallyport-audit-XXXXXX";
    const int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    unlink(path);
    file_ = UniqueFd(dup(fd));
    Open(UniqueFd(fd), std::move(options));
  }

  /// An AuditLog that writes to FD.
  AuditDesk(UniqueFd fd, AuditLog::Options options) { Open(std::move(fd), std::move(options)); }

  AuditLog& log() { return *log_; }
  void Close() { log_.reset(); }
  UniqueFd Duplicate() const { return UniqueFd(dup(file_.get())); }
  void Advance(std::chrono::milliseconds by) { passed_ += by; }
  void Flush() { log_->Flush(Now()); }

  std::string Text() const {
    struct stat info;
    REQUIRE(fstat(file_.get(), &info) == 0);
    std::string text(static_cast<size_t>(info.st_size), '\0');
    REQUIRE(pread(file_.get(), text.data(), text.size(), 0) == info.st_size);
    return text;
  }

  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    const std::string text = Text();
    for (size_t from = 0; from < text.size();) {
      const size_t end = text.find('\n', from);
      REQUIRE(end != std::string::npos);
      lines.push_back(text.substr(from, end - from));
      from = end + 1;
    }
    return lines;
  }

  std::vector<nlohmann::json> Records() const {
    std::vector<nlohmann::json> records;
    for (const std::string& line : Lines()) records.push_back(nlohmann::json::parse(line));
    return records;
  }

 private:
  void Open(UniqueFd fd, AuditLog::Options options) {
    options.sandbox = "s-1";
    options.now = [this] { return Now(); };
    options.wall = [this] {
      return std::chrono::system_clock::time_point(std::chrono::seconds(1'700'000'000) + passed_);
    };
    log_ = std::make_unique<AuditLog>(std::move(fd), std::move(options));
  }
  Clock::time_point Now() const { return Clock::time_point(std::chrono::seconds(1000) + passed_); }

  std::chrono::milliseconds passed_{0};
  UniqueFd file_;
  std::unique_ptr<AuditLog> log_;
};

inline AuditRecord Denial(uint64_t flow = 1) {
  AuditRecord record;
  record.flow = flow;
  record.transport = "tcp";
  record.name = "evil.example";
  record.port = 443;
  record.reason = Reason::kNotGranted;
  return record;
}

inline AuditRecord Allowance() {
  AuditRecord record;
  record.flow = 9;
  record.transport = "https";
  record.name = "api.example";
  record.address = IpAddress::V4(192, 0, 2, 7);
  record.port = 443;
  record.method = "GET";
  record.path = "/user";
  record.status = 200;
  record.rule = "policy.lua:3";
  record.allowed = true;
  record.secrets = {"TOKEN", "KEY"};
  record.bytes_up = 120;
  record.bytes_down = 4096;
  record.duration = std::chrono::microseconds(1500);
  return record;
}

inline uint64_t RepeatOf(const nlohmann::json& record) {
  return record.value("repeat", uint64_t{1});
}

}  // namespace sallyport::runtime
