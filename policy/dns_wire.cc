#include "policy/dns_wire.h"

namespace sallyport::policy::dns {
namespace {

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void AppendLabel(std::string& out, std::string_view label) {
  for (const char raw : label) {
    const char c = Lower(raw);
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '*';
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '\\';
    out += static_cast<char>('0' + byte / 100);
    out += static_cast<char>('0' + byte / 10 % 10);
    out += static_cast<char>('0' + byte % 10);
  }
}

}  // namespace

uint16_t Reader::U16() {
  if (!Has(2)) return 0;
  const auto high = static_cast<uint8_t>(message_[at_]);
  const auto low = static_cast<uint8_t>(message_[at_ + 1]);
  at_ += 2;
  return static_cast<uint16_t>(high << 8 | low);
}

uint32_t Reader::U32() {
  const uint32_t high = U16();
  return high << 16 | U16();
}

std::string_view Reader::Bytes(size_t count) {
  if (!Has(count)) return {};
  at_ += count;
  return message_.substr(at_ - count, count);
}

std::string Reader::Name() {
  std::string name;
  EachLabel([&name](std::string_view label) {
    if (!name.empty()) name += '.';
    AppendLabel(name, label);
  });
  return ok_ ? name : std::string();
}

std::string Reader::WireName() {
  std::string name;
  EachLabel([&name](std::string_view label) {
    name += static_cast<char>(label.size());
    name += label;
  });
  return ok_ ? name + '\0' : std::string();
}

template <class Visit>
void Reader::EachLabel(Visit&& visit) {
  size_t at = at_;
  size_t limit = at_;
  size_t length = 1;
  bool jumped = false;
  while (ok_) {
    ok_ = at < message_.size();
    if (!ok_) return;
    const auto head = static_cast<uint8_t>(message_[at]);
    if (head == 0) {
      if (!jumped) at_ = at + 1;
      return;
    }
    if ((head & 0xc0) == 0xc0) {
      ok_ = at + 1 < message_.size();
      if (!ok_) return;
      const size_t target =
          static_cast<size_t>(head & 0x3f) << 8 | static_cast<uint8_t>(message_[at + 1]);
      if (!jumped) at_ = at + 2;
      jumped = true;
      ok_ = target < limit;
      limit = target;
      at = target;
      continue;
    }
    length += head + 1u;
    ok_ = head <= 63 && at + 1 + head <= message_.size() && length <= kMaxName;
    if (!ok_) return;
    visit(message_.substr(at + 1, head));
    at += 1u + head;
  }
}

bool Reader::Has(size_t count) {
  if (!ok_ || count > left()) ok_ = false;
  return ok_;
}

Header ReadHeader(Reader& in) {
  Header header{};
  header.id = in.U16();
  header.flags = in.U16();
  header.questions = in.U16();
  header.answers = in.U16();
  header.authorities = in.U16();
  header.additionals = in.U16();
  return header;
}

Record ReadRecord(Reader& in) {
  Record record;
  record.name = in.Name();
  record.type = in.U16();
  record.dns_class = in.U16();
  record.ttl = in.U32();
  const uint16_t length = in.U16();
  record.data_at = in.at();
  record.data = in.Bytes(length);
  return record;
}

void PutU16(std::string& out, unsigned value) {
  out += static_cast<char>(value >> 8 & 0xff);
  out += static_cast<char>(value & 0xff);
}

void PutU32(std::string& out, uint32_t value) {
  PutU16(out, value >> 16);
  PutU16(out, value & 0xffff);
}

void PutHeader(std::string& out, const Header& header) {
  for (const unsigned field : {header.id, header.flags, header.questions, header.answers,
                               header.authorities, header.additionals}) {
    PutU16(out, field);
  }
}

}  // namespace sallyport::policy::dns
