#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A server's side of HTTP/2 by nghttp2 itself, without anything of the gate's: bytes in, bytes out.

namespace sallyport::mitm::http2 {

class Http2Server {
 public:
  struct Field {
    std::string name;
    std::string value;
    bool never_indexed = false;
  };
  using Fields = std::vector<Field>;
  struct Request {
    int32_t id = 0;
    Fields fields;
    std::string body;
    bool complete = false;
    bool closed = false;
    uint32_t close_code = 0;

    std::string operator[](std::string_view name) const {
      for (const Field& field : fields) {
        if (field.name == name) return field.value;
      }
      return {};
    }
  };
  struct Options {
    uint32_t max_streams = 100;
    uint32_t window = 65535;  ///< Of each stream.
    bool opens_windows = true;
  };
  using OnRequest = std::function<void(Http2Server&, Request&)>;

  Http2Server(Options options, OnRequest on_request) : on_request_(std::move(on_request)) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    if (!options.opens_windows) nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_server_new2(&session_, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.window}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 2);
  }
  ~Http2Server() { nghttp2_session_del(session_); }
  Http2Server(const Http2Server&) = delete;
  Http2Server& operator=(const Http2Server&) = delete;

  /// False when the client broke the protocol.
  bool Feed(std::string_view bytes) {
    return nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()),
                                    bytes.size()) == static_cast<ssize_t>(bytes.size());
  }
  /// What is to be sent.
  std::string Take() {
    std::string out;
    const uint8_t* bytes = nullptr;
    for (ssize_t size; (size = nghttp2_session_mem_send(session_, &bytes)) > 0;) {
      out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    return out;
  }

  void Interim(int32_t id, const Fields& fields) {
    auto list = Names(fields);
    nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, id, nullptr, list.data(), list.size(),
                           nullptr);
  }
  /// FIELDS with :status; an answer without a body when BODY is null.
  void Answer(int32_t id, const Fields& fields, const std::string* body,
              const Fields& trailers = {}) {
    auto list = Names(fields);
    if (body == nullptr) {
      nghttp2_submit_response(session_, id, list.data(), list.size(), nullptr);
      return;
    }
    bodies_[id] = {*body, 0, trailers};
    nghttp2_data_provider provider{};
    provider.read_callback = ReadBody;
    nghttp2_submit_response(session_, id, list.data(), list.size(), &provider);
  }
  void Reset(int32_t id, uint32_t code) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, code);
  }
  void GoAway(int32_t last, uint32_t code) {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, code, nullptr, 0);
  }
  void OpenWindow(int32_t id, int size) {
    nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, id, size);
  }

  nghttp2_session* session() { return session_; }
  std::map<int32_t, Request> requests;
  bool client_said_goodbye = false;

 private:
  struct Body {
    std::string bytes;
    size_t sent = 0;
    Fields trailers;
  };

  static std::vector<nghttp2_nv> Names(const Fields& fields) {
    std::vector<nghttp2_nv> list;
    for (const Field& field : fields) {
      const auto bytes = [](const std::string& text) {
        return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
      };
      list.push_back({bytes(field.name), bytes(field.value), field.name.size(), field.value.size(),
                      NGHTTP2_NV_FLAG_NONE});
    }
    return list;
  }
  static Http2Server& Self(void* data) { return *static_cast<Http2Server*>(data); }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t flags,
                      void* data) {
    Request& request = Self(data).requests[frame->hd.stream_id];
    request.id = frame->hd.stream_id;
    request.fields.push_back({std::string(reinterpret_cast<const char*>(name), name_size),
                              std::string(reinterpret_cast<const char*>(value), value_size),
                              (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0});
    return 0;
  }
  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t size,
                    void* data) {
    Self(data).requests[id].body.append(reinterpret_cast<const char*>(bytes), size);
    return 0;
  }
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* data) {
    Http2Server& self = Self(data);
    if (frame->hd.type == NGHTTP2_GOAWAY) self.client_said_goodbye = true;
    const bool message = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!message || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    Request& request = self.requests[frame->hd.stream_id];
    request.complete = true;
    if (self.on_request_) self.on_request_(self, request);
    return 0;
  }
  static int OnClose(nghttp2_session*, int32_t id, uint32_t code, void* data) {
    Request& request = Self(data).requests[id];
    request.closed = true;
    request.close_code = code;
    return 0;
  }
  static ssize_t ReadBody(nghttp2_session* session, int32_t id, uint8_t* out, size_t max,
                          uint32_t* flags, nghttp2_data_source*, void* data) {
    Body& body = Self(data).bodies_[id];
    const size_t size = std::min(max, body.bytes.size() - body.sent);
    std::memcpy(out, body.bytes.data() + body.sent, size);
    body.sent += size;
    if (body.sent < body.bytes.size()) return static_cast<ssize_t>(size);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!body.trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      auto list = Names(body.trailers);
      nghttp2_submit_trailer(session, id, list.data(), list.size());
    }
    return static_cast<ssize_t>(size);
  }

  const OnRequest on_request_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Body> bodies_;
};

/// Answers with the request's own fields, one a line, and its body.
inline void EchoHttp2(Http2Server& server, Http2Server::Request& request) {
  std::string body;
  for (const auto& field : request.fields) body += field.name + ": " + field.value + "\n";
  body += request.body;
  server.Answer(request.id, {{":status", "200"}, {"x-by", "http2"}}, &body);
}

}  // namespace sallyport::mitm::http2
