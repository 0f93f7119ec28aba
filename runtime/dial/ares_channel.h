#pragma once

#include <ares.h>

#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "base/host_name.h"
#include "base/loop.h"
#include "base/result.h"

namespace sallyport::runtime {

/// c-ares on our loop: sends queries of our own to SERVERS, over UDP, and over TCP where an answer was
/// truncated, with retries and fail-over. What comes back is given on as it is. Opens no file.
class AresChannel {
 public:
  /// STATUS is c-ares', MESSAGE empty where no server answered.
  using Done = std::function<void(int status, std::string_view message)>;

  explicit AresChannel(Loop& loop) : loop_(loop) {}
  /// Calls back every open query.
  ~AresChannel();
  AresChannel(const AresChannel&) = delete;
  AresChannel& operator=(const AresChannel&) = delete;

  Status Init(const std::vector<Endpoint>& servers);
  bool has_servers() const { return has_servers_; }

  /// Asks for TYPE of NAME. DONE may be called before this returns, and runs inside c-ares: it must not
  /// ask again. It is called once, at the latest by the destructor.
  void Ask(const HostName& name, uint16_t type, Done done);

 private:
  static void OnSocketState(void* self, ares_socket_t fd, int read, int write);
  static void OnAnswer(void* done, int status, int timeouts, unsigned char* bytes, int length);
  void Process(ares_socket_t read, ares_socket_t write);
  void ArmTimer();

  Loop& loop_;
  ares_channel channel_ = nullptr;
  bool has_servers_ = false;
  std::map<ares_socket_t, Loop::Handle> watched_;
  Loop::Handle timer_;
};

}  // namespace sallyport::runtime
