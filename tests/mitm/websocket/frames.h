#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mitm/websocket/frame.h"

// Frames as tests write them, and what a row of frames says.

namespace sallyport::mitm::websocket {

constexpr Mask kTestMask{0x12, 0xab, 0x00, 0xff};

inline std::string ClientFrame(Opcode opcode, std::string_view payload, Fin fin = Fin::kLast) {
  std::string out;
  AppendFrame(fin, opcode, payload, &kTestMask, out);
  return out;
}

inline std::string ServerFrame(Opcode opcode, std::string_view payload, Fin fin = Fin::kLast) {
  std::string out;
  AppendFrame(fin, opcode, payload, nullptr, out);
  return out;
}

/// What SENDER's frames say, a line each; fragments are joined, so their borders mean nothing.
class Messages {
 public:
  explicit Messages(Sender sender) : reader_(sender) {}

  void Feed(std::string_view bytes) {
    for (;;) {
      switch (reader_.Next(bytes, 1000)) {
        case FrameReader::Event::kMore:
          return;
        case FrameReader::Event::kError:
          if (!failed_) text += "error " + reader_.error() + "\n";
          failed_ = true;
          return;
        case FrameReader::Event::kHead:
          if (IsControl(reader_.opcode())) {
            control_.clear();
          } else if (reader_.opcode() != Opcode::kContinuation) {
            type_ = reader_.opcode();
          }
          break;
        case FrameReader::Event::kPayload:
          (IsControl(reader_.opcode()) ? control_ : data_).append(reader_.payload());
          break;
        case FrameReader::Event::kEnd:
          OnEnd();
          break;
      }
    }
  }

  std::string text;

 private:
  void OnEnd() {
    ++frames;
    if (IsControl(reader_.opcode())) {
      constexpr const char* kNames[] = {"close ", "ping ", "pong "};
      text += kNames[static_cast<int>(reader_.opcode()) - 8] + control_ + "\n";
    } else if (reader_.fin()) {
      text += (type_ == Opcode::kText ? "text " : "binary ") + data_ + "\n";
      data_.clear();
    }
  }

 public:
  int frames = 0;

 private:
  FrameReader reader_;
  Opcode type_ = Opcode::kText;
  std::string data_;
  std::string control_;
  bool failed_ = false;
};

inline std::string Say(Sender sender, const std::vector<std::string_view>& pieces) {
  Messages messages(sender);
  for (const std::string_view piece : pieces) messages.Feed(piece);
  return messages.text;
}

}  // namespace sallyport::mitm::websocket
