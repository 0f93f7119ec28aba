// What a collector answers, and lines of an audit log on their way to it: what comes of a line is
// JSON that can stand in a document.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/broker/otlp_document.h"

using namespace sallyport;
using namespace sallyport::runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)RejectedBy(text);
  const auto headers = ParseOtlpHeaders(text);
  if (headers) {
    for (const auto& field : headers->fields()) {
      if (!IsToken(field.name) || !IsFieldValue(field.value)) abort();
    }
  } else if (headers.error().message().size() > 200) {
    abort();
  }
  const auto now = std::chrono::system_clock::from_time_t(1'700'000'000);
  OtlpMetrics metrics(now);
  const auto record = LogRecordOf(text, now, metrics);
  if (!record) return 0;
  if (record->front() != '{' || record->back() != '}' || record->find('\n') != record->npos)
    abort();
  if (LogsDocument("sp-1", {*record}).find(*record) == std::string::npos) abort();
  if (metrics.Document("sp-1", now).empty()) abort();
  return 0;
}
