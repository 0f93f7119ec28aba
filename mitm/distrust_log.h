#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/audit.h"

namespace sallyport::mitm {

class FlowContext;

/// Tells of guests that do not accept the gate's certificates. A program that does not trust the
/// sandbox's CA tries again and again: for each host and port the first refusal is a record that
/// names the fix, then every kDistrustEvery-th with the count, and what is left when this goes.
class DistrustLog {
 public:
  explicit DistrustLog(AuditSink& audit) : audit_(audit) {}
  ~DistrustLog();
  DistrustLog(const DistrustLog&) = delete;
  DistrustLog& operator=(const DistrustLog&) = delete;

  /// The client of FLOW refused the certificate for HOST, and said so by ALERT.
  void Note(FlowContext& flow, const std::string& host, std::string_view alert);

 private:
  struct Entry {
    uint64_t total = 0;
    uint64_t untold = 0;
    std::string text;
    AuditRecord latest;
  };
  void Tell(Entry& entry);

  AuditSink& audit_;
  std::map<std::string, Entry> entries_;  // By host and port.
};

}  // namespace sallyport::mitm
