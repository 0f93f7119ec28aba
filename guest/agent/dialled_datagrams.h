#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/loop.h"
#include "guest/agent/dialled.h"
#include "guest/agent/host_connection.h"
#include "guest/protocol/messages.h"

namespace sallyport::guest {

/// Datagrams between one client on the host and a server in the sandbox. Which of the addresses
/// the server has shows only when one refuses: until the first answer the last datagram is kept,
/// and sent to the next address then. The host says when it is over; or nobody took any.
class DialledDatagrams final : public Dialled {
 public:
  /// ON_FINISHED is called once, from within the stream, which must outlive the call.
  DialledDatagrams(Loop& loop, HostConnection& host, uint32_t stream, Dial dial,
                   std::function<void()> on_finished);
  DialledDatagrams(const DialledDatagrams&) = delete;
  DialledDatagrams& operator=(const DialledDatagrams&) = delete;

  void Start();

  Status OnFrame(const Frame& frame) override;
  bool finished() const override { return finished_; }

 private:
  void TryNext();
  void SendToServer();
  void OnReady();
  void OnRefused();
  void Finish();

  HostConnection& host_;
  const uint32_t stream_;
  std::function<void()> on_finished_;
  Attempts attempts_;
  std::string last_;
  bool answered_ = false;
  bool finished_ = false;
};

}  // namespace sallyport::guest
