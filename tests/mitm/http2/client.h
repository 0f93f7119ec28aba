#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/stream.h"
#include "tests/mitm/http2/frames.h"

namespace sallyport::mitm::http2 {

/// A guest that speaks HTTP/2 by nghttp2, with all of nghttp2's own checks of what it is sent.
class Client final : public Stream::Listener {
 public:
  struct Answer {
    int status = 0;
    std::vector<int> interim;
    Fields fields;
    Fields trailers;
    std::string body;
    bool ended = false;   ///< END_STREAM was seen.
    bool closed = false;  ///< The stream is over.
    uint32_t code = 0;    ///< Why, after `closed`.
    bool headed = false;  ///< The head is complete.

    std::string Field(const std::string& name) const {
      for (const auto& field : fields) {
        if (field.first == name) return field.second;
      }
      return {};
    }
  };
  struct Options {
    bool opens_windows = true;  ///< Windows open as data arrives.
    uint32_t window = 65535;    ///< Of each stream, to begin with.
  };

  Client(std::unique_ptr<Stream> stream, Options options) : stream_(std::move(stream)) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClosed);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, options.opens_windows ? 0 : 1);
    nghttp2_session_client_new2(&session_, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry ours[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.window},
                                           {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, ours, 2);
    stream_->SetListener(this);
    Pump();
  }
  ~Client() { nghttp2_session_del(session_); }

  /// Asks with FIELDS, and a body unless BODY is null.
  int32_t Ask(const Fields& fields, const std::string* body = nullptr, bool whole = true) {
    std::vector<nghttp2_nv> nva;
    for (const auto& [name, value] : fields) nva.push_back(Nv(name, value));
    nghttp2_data_provider provider{};
    provider.read_callback = ReadBody;
    const int32_t id = nghttp2_submit_request(session_, nullptr, nva.data(), nva.size(),
                                              body != nullptr ? &provider : nullptr, nullptr);
    if (body != nullptr) bodies_[id] = {*body, whole, 0};
    Pump();
    return id;
  }
  int32_t Get(const std::string& path) {
    return Ask(
        {{":method", "GET"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", path}});
  }
  /// A request whose body comes by More() and Finish().
  int32_t Post(const std::string& path, Fields more = {}) {
    Fields fields{
        {":method", "POST"}, {":scheme", "https"}, {":authority", "api.test"}, {":path", path}};
    fields.insert(fields.end(), more.begin(), more.end());
    const std::string empty;
    return Ask(fields, &empty, false);
  }
  void More(int32_t id, const std::string& bytes) {
    bodies_[id].bytes += bytes;
    nghttp2_session_resume_data(session_, id);
    Pump();
  }
  void Finish(int32_t id) {
    bodies_[id].whole = true;
    nghttp2_session_resume_data(session_, id);
    Pump();
  }
  void Cancel(int32_t id) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    Pump();
  }
  void OpenWindows(int32_t id, size_t by) {
    nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, id, static_cast<int32_t>(by));
    nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(by));
    Pump();
  }
  void Goodbye() {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
    Pump();
  }
  /// BYTES as they are, behind what was sent before.
  void Raw(const std::string& bytes) {
    unsent_ += bytes;
    Pump();
  }
  void CloseWrite() { stream_->CloseWrite(); }
  void Abort() { stream_->Abort(); }

  const Answer& answer(int32_t id) { return answers_[id]; }
  /// How much of a request's body was not sent yet.
  size_t unsent(int32_t id) { return bodies_[id].bytes.size() - bodies_[id].sent; }
  bool Has(int32_t id) { return answers_[id].closed; }
  bool goaway = false;
  uint32_t goaway_code = 0;
  std::map<int, uint32_t> settings;  ///< The gate's.
  bool ended = false;
  bool broken = false;
  bool reading = true;
  std::string wire;  ///< All that was received.

  void OnStreamReady() override { Pump(); }

  void Pump() {
    while (reading && Read()) {
    }
    for (const uint8_t* bytes = nullptr;;) {
      const ssize_t size =
          unsent_.size() > 100'000 ? 0 : nghttp2_session_mem_send(session_, &bytes);
      if (size <= 0) break;
      unsent_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    unsent_.erase(0, stream_->Write(unsent_));
    stream_->Flush();
  }

 private:
  struct Body {
    std::string bytes;
    bool whole = false;
    size_t sent = 0;
  };

  static nghttp2_nv Nv(const std::string& name, const std::string& value) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
            reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
            NGHTTP2_NV_FLAG_NONE};
  }
  static Client& Of(void* user_data) { return *static_cast<Client*>(user_data); }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user_data) {
    Answer& answer = Of(user_data).answers_[frame->hd.stream_id];
    const std::string key(reinterpret_cast<const char*>(name), name_size);
    const std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":status") {
      answer.status = std::stoi(text);
    } else {
      (answer.headed ? answer.trailers : answer.fields).emplace_back(key, text);
    }
    return 0;
  }

  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Client& client = Of(user_data);
    const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: {
        Answer& answer = client.answers_[frame->hd.stream_id];
        if (answer.status < 200) {
          answer.interim.push_back(std::exchange(answer.status, 0));
        } else {
          answer.headed = true;
        }
        if (ends) answer.ended = true;
        return 0;
      }
      case NGHTTP2_DATA:
        if (ends) client.answers_[frame->hd.stream_id].ended = true;
        return 0;
      case NGHTTP2_SETTINGS:
        for (size_t i = 0; i < frame->settings.niv; ++i) {
          client.settings[frame->settings.iv[i].settings_id] = frame->settings.iv[i].value;
        }
        return 0;
      case NGHTTP2_GOAWAY:
        client.goaway = true;
        client.goaway_code = frame->goaway.error_code;
        return 0;
      default:
        return 0;
    }
  }

  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void* user_data) {
    Of(user_data).answers_[id].body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }

  static int OnClosed(nghttp2_session*, int32_t id, uint32_t code, void* user_data) {
    Answer& answer = Of(user_data).answers_[id];
    answer.closed = true;
    answer.code = code;
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session*, int32_t id, uint8_t* to, size_t max, uint32_t* flags,
                          nghttp2_data_source*, void* user_data) {
    Body& body = Of(user_data).bodies_[id];
    const size_t size = std::min(max, body.bytes.size() - body.sent);
    std::memcpy(to, body.bytes.data() + body.sent, size);
    body.sent += size;
    if (body.sent == body.bytes.size() && body.whole) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (size == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(size);
  }

  /// Whether there may be more.
  bool Read() {
    uint8_t buffer[4096];
    const ReadResult result = stream_->Read(buffer);
    switch (result.kind) {
      case ReadResult::Kind::kWouldBlock:
        return false;
      case ReadResult::Kind::kBytes:
        wire.append(reinterpret_cast<const char*>(buffer), result.bytes);
        if (nghttp2_session_mem_recv(session_, buffer, result.bytes) < 0) broken = true;
        return true;
      case ReadResult::Kind::kEnd:
        ended = true;
        return false;
      case ReadResult::Kind::kBroken:
        broken = true;
        return false;
    }
    return false;
  }

  std::unique_ptr<Stream> stream_;
  nghttp2_session* session_ = nullptr;
  std::string unsent_;
  std::map<int32_t, Answer> answers_;
  std::map<int32_t, Body> bodies_;
};

}  // namespace sallyport::mitm::http2
