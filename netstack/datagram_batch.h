#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sallyport::netstack {

class UdpFlow;

/// Where datagrams of the guest's wait until its frames of a turn are read, so that those of one
/// flow leave by one system call, in the order in which they came. Flushes itself when it is full.
class DatagramBatch {
 public:
  DatagramBatch();
  DatagramBatch(const DatagramBatch&) = delete;
  DatagramBatch& operator=(const DatagramBatch&) = delete;

  /// Keeps a copy of DATAGRAM, which FLOW sends when the batch is flushed; one that is so large
  /// that the copy would cost more than the call saves is sent now, behind those that wait.
  void Add(UdpFlow& flow, std::span<const uint8_t> datagram);

  /// Has every flow send what it has waiting. Nobody keeps a flow here for longer: whoever ends one
  /// flushes first.
  void Flush();

 private:
  // As many as the kernel takes in one go, and as many frames as a turn reads.
  static constexpr size_t kMaxDatagrams = 64;
  // A full packet: about what one send can take together.
  static constexpr size_t kMaxBytes = 64 * 1024;
  static constexpr size_t kMaxDatagram = 8 * 1024;

  struct Entry {
    UdpFlow* flow;  // Null when it has been sent.
    uint8_t* data;
    size_t size;
  };

  void SendAllOf(UdpFlow& flow, size_t first);

  const std::unique_ptr<uint8_t[]> bytes_;
  std::array<Entry, kMaxDatagrams> entries_;
  size_t count_ = 0;
  size_t used_ = 0;
};

}  // namespace sallyport::netstack
