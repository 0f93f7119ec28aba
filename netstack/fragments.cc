#include "netstack/fragments.h"

#include <variant>

#include "netstack/neighbours.h"

namespace sallyport::netstack {
namespace {

bool MayBeFragmented(const Packet& fragment) {
  if (fragment.protocol == kProtocolUdp) return true;
  if (fragment.protocol != (fragment.v6 ? kProtocolIcmp6 : kProtocolIcmp)) return false;
  return fragment.part.offset > 0 || !Neighbours::IsDiscoveryMessage(fragment);
}

}  // namespace

std::span<uint8_t> Fragments::Add(const Packet& fragment) {
  if (fragment.whole.size() > options_.mtu) {
    stats_.Count(Drop::kMalformed);
    return {};
  }
  if (!MayBeFragmented(fragment)) {
    stats_.Count(Drop::kFragment);
    return {};
  }
  Expire();
  const auto added = reassembly_.Add(fragment, loop_.now());
  SetTimer();
  if (const auto* whole = std::get_if<std::span<uint8_t>>(&added)) return *whole;
  stats_.Count(std::get<Drop>(added));
  return {};
}

void Fragments::Expire() {
  for (size_t left = reassembly_.Expire(loop_.now()); left > 0; --left) {
    stats_.Count(Drop::kFragment);
  }
}

// What is not asked about any more must not lie in memory for ever.
void Fragments::SetTimer() {
  if (timer_set_ || reassembly_.size() == 0) return;
  timer_set_ = true;
  timer_ = loop_.After(Reassembly::kDeadline, [this] {
    timer_set_ = false;
    Expire();
    SetTimer();
  });
}

}  // namespace sallyport::netstack
