// Takes the place of lwIP's tcp_split_unsent_seg(), which the build renames (CMakeLists.txt).

extern "C" {
#include "lwip/priv/tcp_priv.h"

err_t lwip_split_unsent_segment(tcp_pcb* pcb, u16_t split);

// lwIP (2.1.3, 2.2.0) parts a segment but leaves the FIN of it on both parts: it sets the flags of
// the first that should remain and clears none. A guest whose window takes only the first part
// would see the end of the stream there, with the last bytes missing and no error.
err_t tcp_split_unsent_seg(tcp_pcb* pcb, u16_t split) {
  tcp_seg* first = pcb->unsent;
  const tcp_seg* rest = first != nullptr ? first->next : nullptr;
  const err_t result = lwip_split_unsent_segment(pcb, split);
  if (result == ERR_OK && first != nullptr && first->next != rest) {
    TCPH_UNSET_FLAG(first->tcphdr, TCP_FIN);
  }
  return result;
}
}
