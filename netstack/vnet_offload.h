#pragma once

#include "netstack/link.h"
#include "netstack/vnet_header.h"

namespace sallyport::netstack {

/// OFFLOAD in the kernel's words.
inline VnetHeader ToVnetHeader(const Offload& offload) {
  VnetHeader header;
  if (offload.finish_checksum) {
    header.flags = VnetHeader::kNeedsChecksum;
    header.checksum_start = offload.checksum_start;
    header.checksum_offset = offload.checksum_offset;
  }
  if (offload.segment_size != 0) {
    header.gso_type = offload.ipv6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4;
    header.gso_size = offload.segment_size;
    header.header_length = offload.header_length;
  }
  return header;
}

inline bool ChecksumTrusted(const VnetHeader& header) {
  return (header.flags & (VnetHeader::kNeedsChecksum | VnetHeader::kDataValid)) != 0;
}

}  // namespace sallyport::netstack
