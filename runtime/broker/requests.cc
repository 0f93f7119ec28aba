#include "runtime/broker/requests.h"

#include "base/check.h"

namespace sallyport::runtime {

namespace {

void Append(uint64_t number, size_t bytes, std::string& out) {
  for (size_t i = 0; i < bytes; ++i, number >>= 8) out.push_back(static_cast<char>(number & 0xff));
}

uint64_t Read(std::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = bytes.size(); i > 0; --i) {
    number = number << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return number;
}

}  // namespace

std::string BrokerRequest::Encode() const {
  SALLYPORT_CHECK(bytes.size() <= kMaxBytes);
  std::string out;
  out.reserve(kHeadSize + bytes.size());
  Append(static_cast<uint8_t>(kind), 1, out);
  Append(0, 1, out);
  Append(secret, 2, out);
  Append(bytes.size(), 4, out);
  Append(id, 8, out);
  out.append(bytes);
  return out;
}

Result<std::optional<BrokerRequest>> BrokerRequestReader::Next() {
  const std::string_view rest = std::string_view(buffer_).substr(begin_);
  if (rest.size() < BrokerRequest::kHeadSize) {
    buffer_.erase(0, begin_);
    begin_ = 0;
    return std::nullopt;
  }
  BrokerRequest request;
  const auto kind = static_cast<uint8_t>(rest[0]);
  const auto length = static_cast<size_t>(Read(rest.substr(4, 4)));
  request.id = Read(rest.substr(8, 8));
  if (kind > static_cast<uint8_t>(BrokerRequest::Kind::kFlush) || rest[1] != 0 ||
      length > BrokerRequest::kMaxBytes || request.id > INT64_MAX) {
    return Fail(Code::kInvalid, "the warden broke its protocol");
  }
  if (rest.size() < BrokerRequest::kHeadSize + length) {
    buffer_.erase(0, begin_);
    begin_ = 0;
    return std::nullopt;
  }
  request.kind = static_cast<BrokerRequest::Kind>(kind);
  request.secret = static_cast<uint16_t>(Read(rest.substr(2, 2)));
  request.bytes = rest.substr(BrokerRequest::kHeadSize, length);
  begin_ += BrokerRequest::kHeadSize + length;
  return request;
}

}  // namespace sallyport::runtime
