#include "tests/runtime/backend/frames.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace sallyport::runtime::testing {
namespace {

constexpr size_t kVnetHeader = 12;

std::string Bytes(std::initializer_list<int> bytes) {
  std::string text;
  for (int byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}

uint8_t At(std::string_view frame, size_t offset) {
  return offset < frame.size() ? static_cast<uint8_t>(frame[offset]) : 0;
}

uint16_t Word(std::string_view frame, size_t offset) {
  return static_cast<uint16_t>(At(frame, offset) << 8 | At(frame, offset + 1));
}

/// Puts the internet checksum of FROM.., plus SUM, at PLACE of FRAME.
void Checksum(std::string& frame, size_t from, size_t size, size_t place, uint32_t sum = 0) {
  for (size_t i = 0; i < size; i += 2) sum += Word(frame, from + i);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  frame[place] = static_cast<char>(~sum >> 8);
  frame[place + 1] = static_cast<char>(~sum);
}

const std::string kToGuest = Bytes({0x02, 0, 0, 0, 0, 2,    // the guest
                                    0x02, 0, 0, 0, 0, 1});  // from the gateway
const std::string kEcho = Bytes({0, 0, 0, 0,                // type and code, checksum
                                 0x12, 0x34, 0, 1,          // identifier, sequence number
                                 'p', 'i', 'n', 'g'});

}  // namespace

std::string AwaitFrame(Workload& workload, const std::function<bool(std::string_view)>& wanted) {
  const size_t header = workload.link_kind == LinkKind::kTap ? kVnetHeader : 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::array<char, 65536 + 32> buffer;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd link{workload.link.get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&link, 1, static_cast<int>(left.count())) <= 0) return "";
    const ssize_t got = read(workload.link.get(), buffer.data(), buffer.size());
    if (got <= static_cast<ssize_t>(header)) continue;
    const std::string_view frame(buffer.data() + header, static_cast<size_t>(got) - header);
    if (wanted(frame)) return std::string(frame);
  }
}

bool SendFrame(Workload& workload, std::string_view frame) {
  const size_t header = workload.link_kind == LinkKind::kTap ? kVnetHeader : 0;
  const std::string bytes = std::string(header, '\0') + std::string(frame);
  return write(workload.link.get(), bytes.data(), bytes.size()) ==
         static_cast<ssize_t>(bytes.size());
}

std::string EchoRequest() {
  std::string frame = kToGuest + Bytes({0x08, 0x00}) +         // IPv4
                      Bytes({0x45, 0, 0, 32, 0,  0, 0, 0,      // 20 bytes of header, 32 in all
                             64,   1, 0, 0,                    // TTL, ICMP, checksum
                             10,   0, 2, 2,  10, 0, 2, 15}) +  // gateway to guest
                      kEcho;
  frame[34] = 8;  // Echo request.
  Checksum(frame, 14, 20, 24);
  Checksum(frame, 34, kEcho.size(), 36);
  return frame;
}

bool IsEchoReply(std::string_view frame) {
  return Word(frame, 12) == 0x0800 && At(frame, 23) == 1 && At(frame, 34) == 0 &&
         Word(frame, 38) == 0x1234 && frame.substr(42, 4) == "ping";
}

std::string EchoRequestV6() {
  const std::string prefix = Bytes({0xfd, 0, 0x5a, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  std::string frame = kToGuest + Bytes({0x86, 0xdd}) +                   // IPv6
                      Bytes({0x60, 0, 0, 0, 0, 12, 58, 64}) +            // 12 bytes of ICMPv6
                      prefix + Bytes({0x02}) + prefix + Bytes({0x15}) +  // gateway to guest
                      kEcho;
  frame[54] = static_cast<char>(128);  // Echo request.
  Checksum(frame, 22, 32 + kEcho.size(), 56, 58 + static_cast<uint32_t>(kEcho.size()));
  return frame;
}

bool IsEchoReplyV6(std::string_view frame) {
  return Word(frame, 12) == 0x86dd && At(frame, 20) == 58 && At(frame, 54) == 129 &&
         Word(frame, 58) == 0x1234 && frame.substr(62, 4) == "ping";
}

bool IsUdpTo(std::string_view frame, uint16_t port) {
  return frame.starts_with(Bytes({0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2})) &&
         Word(frame, 12) == 0x0800 && At(frame, 23) == 17 && Word(frame, 36) == port;
}

bool IsArpRequest(std::string_view frame) {
  return Word(frame, 12) == 0x0806 && Word(frame, 20) == 1;
}

}  // namespace sallyport::runtime::testing
