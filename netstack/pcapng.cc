#include "netstack/pcapng.h"

#include <algorithm>

namespace sallyport::netstack {
namespace {

// Types of blocks and codes of options, as the draft's sections 4 and 3.5 have them.
constexpr uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr uint32_t kInterfaceDescription = 1;
constexpr uint32_t kEnhancedPacket = 6;
constexpr uint16_t kComment = 1;
constexpr uint16_t kSectionApplication = 4;
constexpr uint16_t kInterfaceName = 2;
constexpr uint16_t kInterfaceDescriptionText = 3;
constexpr uint16_t kInterfaceResolution = 9;
constexpr uint16_t kPacketFlags = 2;

constexpr uint32_t kByteOrder = 0x1a2b3c4d;
constexpr uint16_t kLinkEthernet = 1;
constexpr char kNanoseconds = 9;  // The power of ten.
constexpr size_t kMaxText = 4096;

void Append16(std::string& out, size_t value) {
  out += static_cast<char>(value);
  out += static_cast<char>(value >> 8);
}

void Append32(std::string& out, uint64_t value) {
  Append16(out, value & 0xffff);
  Append16(out, value >> 16 & 0xffff);
}

void Pad(std::string& out, size_t size) {
  out.append((4 - size % 4) % 4, '\0');
}

void AppendOption(std::string& out, uint16_t code, std::string_view value) {
  Append16(out, code);
  Append16(out, value.size());
  out += value;
  Pad(out, value.size());
}

// TEXT within the bound, cut before a character rather than in it.
std::string_view Bounded(std::string_view text) {
  if (text.size() <= kMaxText) return text;
  size_t end = kMaxText;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

void AppendText(std::string& out, uint16_t code, std::string_view text) {
  if (!text.empty()) AppendOption(out, code, Bounded(text));
}

void EndOptions(std::string& out) {
  Append32(out, 0);
}

/// A block that begins at the end of OUT: its length stands in front of what follows and behind it.
class Block {
 public:
  Block(std::string& out, uint32_t type) : out_(out), start_(out.size()) {
    Append32(out_, type);
    Append32(out_, 0);
  }
  ~Block() {
    std::string length;
    Append32(length, out_.size() + 4 - start_);
    std::ranges::copy(length, out_.begin() + static_cast<ptrdiff_t>(start_ + 4));
    out_ += length;
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

 private:
  std::string& out_;
  const size_t start_;
};

}  // namespace

void AppendPcapngHeader(std::string& out, const PcapngInterface& interface) {
  {
    const Block block(out, kSectionHeader);
    Append32(out, kByteOrder);
    Append16(out, 1);  // Version 1.0.
    Append16(out, 0);
    Append32(out, 0xffffffff);  // The section goes on to the end of the file.
    Append32(out, 0xffffffff);
    AppendText(out, kSectionApplication, interface.application);
    EndOptions(out);
  }
  const Block block(out, kInterfaceDescription);
  Append16(out, kLinkEthernet);
  Append16(out, 0);
  Append32(out, 0);  // No bound on what is kept of a frame.
  AppendText(out, kInterfaceName, interface.name);
  AppendText(out, kInterfaceDescriptionText, interface.description);
  AppendOption(out, kInterfaceResolution, {&kNanoseconds, 1});
  EndOptions(out);
}

void AppendPcapngFrame(std::string& out, const PcapngFrame& frame) {
  const Block block(out, kEnhancedPacket);
  Append32(out, 0);  // The interface.
  Append32(out, frame.time_ns >> 32);
  Append32(out, frame.time_ns & 0xffffffff);
  Append32(out, frame.bytes.size());  // Kept, and on the wire.
  Append32(out, frame.bytes.size());
  out.append(reinterpret_cast<const char*>(frame.bytes.data()), frame.bytes.size());
  Pad(out, frame.bytes.size());
  std::string flags;
  Append32(flags, static_cast<uint32_t>(frame.direction));
  AppendOption(out, kPacketFlags, flags);
  AppendText(out, kComment, frame.comment);
  EndOptions(out);
}

}  // namespace sallyport::netstack
