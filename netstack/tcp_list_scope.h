#pragma once

#include "netstack/lwip/port.h"
#include "netstack/tcp_flow.h"

namespace sallyport::netstack {

/// Puts one connection on lwIP's lists for the time of a call, and sees what became of it. Needed
/// around every call that may free a connection or move it to another list; tcp_write() and
/// tcp_output() do neither.
class ListScope {
 public:
  explicit ListScope(TcpFlow& flow) : flow_(flow) { tcp_active_pcbs = flow.pcb_; }
  ListScope(const ListScope&) = delete;
  ListScope& operator=(const ListScope&) = delete;
  ~ListScope() {
    const bool active = tcp_active_pcbs != nullptr;
    tcp_active_pcbs = nullptr;
    if (tcp_tw_pcbs != nullptr) {
      // The link neither repeats nor delays segments, so nothing is to be waited for.
      tcp_abort(tcp_tw_pcbs);
      tcp_tw_pcbs = nullptr;
    }
    if (!active) flow_.pcb_ = nullptr;
    flow_.AfterLwip();
  }

 private:
  TcpFlow& flow_;
};

}  // namespace sallyport::netstack
