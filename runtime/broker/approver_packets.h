#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// What Approver and its child say to each other, a packet each.
//
//     question  u8 kRunApprover, u64 id, the document
//               u8 kEndApprover, u64 id              kills it; there is no answer then
//     answer    u8 0, u64 id, u8 exit status, u16 length of its complaint, complaint, output
//               u8 1, u64 id, u8 0, u16 0, why it did not end by itself
//
// Numbers are little-endian.

namespace sallyport::runtime {

constexpr char kRunApprover = 0;
constexpr char kEndApprover = 1;
constexpr size_t kApproverHead = 9;
constexpr size_t kApproverAnswerHead = 12;
constexpr size_t kMaxApproverPacket = size_t{129} * 1024;  // BrokerRequest::kMaxBytes and a head.

inline void AppendNumber(uint64_t number, size_t bytes, std::string& out) {
  for (; bytes > 0; --bytes, number >>= 8) out.push_back(static_cast<char>(number & 0xff));
}

inline uint64_t NumberAt(std::string_view packet, size_t at, size_t bytes) {
  uint64_t number = 0;
  for (; bytes > 0; --bytes) {
    number = number << 8 | static_cast<unsigned char>(packet[at + bytes - 1]);
  }
  return number;
}

}  // namespace sallyport::runtime
