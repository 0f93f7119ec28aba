#pragma once

#include <vector>

#include "base/audit.h"

namespace sallyport {

/// Keeps every record.
class RecordingAudit final : public AuditSink {
 public:
  void Write(const AuditRecord& record) override { records.push_back(record); }
  bool healthy() const override { return is_healthy; }

  std::vector<AuditRecord> records;
  bool is_healthy = true;
};

}  // namespace sallyport
