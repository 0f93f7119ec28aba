#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// The pieces that DNS messages are made of (RFC 1035, section 4), read and written. Used by
/// dns_message.cc and dns_records.cc alone. All input is hostile.
namespace sallyport::policy::dns {

constexpr uint16_t kFlagResponse = 0x8000;
constexpr uint16_t kFlagTruncated = 0x0200;
constexpr uint16_t kFlagRecursionDesired = 0x0100;
constexpr uint16_t kFlagRecursionAvailable = 0x0080;
constexpr uint16_t kClassIn = 1;
constexpr size_t kMaxName = 255;    // RFC 1035, with length bytes.
constexpr size_t kMaxRecords = 256;  // An answer section larger than this is nobody's.

/// A cursor over a message; every read checks the bounds, and after a failed one nothing succeeds.
class Reader {
 public:
  explicit Reader(std::string_view message, size_t at = 0) : message_(message), at_(at) {}

  uint16_t U16();
  uint32_t U32();
  std::string_view Bytes(size_t count);

  /// A domain name, decompressed, as a Query has it. Pointers must point before the name's own start,
  /// each before the last, so that there is no loop.
  std::string Name();
  /// The same as it stands in messages: labels behind their lengths, in their own case.
  std::string WireName();

  size_t at() const { return at_; }
  size_t left() const { return message_.size() - at_; }
  bool ok() const { return ok_; }

 private:
  bool Has(size_t count);
  template <class Visit>
  void EachLabel(Visit&& visit);

  std::string_view message_;
  size_t at_;
  bool ok_ = true;
};

struct Header {
  uint16_t id, flags, questions, answers, authorities, additionals;
};
Header ReadHeader(Reader& in);

struct Record {
  std::string name;
  uint16_t type = 0;
  uint16_t dns_class = 0;
  uint32_t ttl = 0;
  std::string_view data;
  size_t data_at = 0;  ///< Where `data` stands in the message: names in it may point back from there.
};
Record ReadRecord(Reader& in);

void PutU16(std::string& out, unsigned value);
void PutU32(std::string& out, uint32_t value);
void PutHeader(std::string& out, const Header& header);

}  // namespace sallyport::policy::dns
