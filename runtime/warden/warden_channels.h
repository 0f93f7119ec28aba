#pragma once

#include <memory>
#include <utility>

#include "runtime/warden/warden.h"

namespace sallyport::runtime {

/// The owner's end: what it asks is done for it.
class Warden::OwnerChannel final : FrameChannel::User {
 public:
  static Result<std::unique_ptr<OwnerChannel>> Create(Warden& warden, UniqueFd socket) {
    auto self = std::unique_ptr<OwnerChannel>(new OwnerChannel(warden));
    auto channel = FrameChannel::Create(*warden.loop_, std::move(socket), "the owner", *self);
    if (!channel) return tl::unexpected(std::move(channel).error());
    self->channel = *std::move(channel);
    return self;
  }
  std::unique_ptr<FrameChannel> channel;

 private:
  explicit OwnerChannel(Warden& warden) : warden_(warden) {}
  void OnFrame(guest::Frame frame) override { warden_.OnOwnerFrame(std::move(frame)); }
  void OnChannelEnd(Error) override { warden_.End(guest::FrameType::kError, 0, {}); }
  void OnChannelDrained() override;
  Warden& warden_;
};

/// The agent's end: hostile.
class Warden::AgentChannel final : FrameChannel::User {
 public:
  static Result<std::unique_ptr<AgentChannel>> Create(Warden& warden, UniqueFd socket) {
    auto self = std::unique_ptr<AgentChannel>(new AgentChannel(warden));
    auto channel = FrameChannel::Create(*warden.loop_, std::move(socket), "the sandbox's agent", *self);
    if (!channel) return tl::unexpected(std::move(channel).error());
    self->channel = *std::move(channel);
    return self;
  }
  std::unique_ptr<FrameChannel> channel;

 private:
  explicit AgentChannel(Warden& warden) : warden_(warden) {}
  void OnFrame(guest::Frame frame) override { warden_.OnAgentFrame(std::move(frame)); }
  void OnChannelEnd(Error why) override { warden_.Fail(125, why.message()); }
  void OnChannelDrained() override {
    if (warden_.owner_) warden_.owner_->channel->Resume();
    if (warden_.ports_) warden_.ports_->OnAgentDrained();
  }
  Warden& warden_;
};

}  // namespace sallyport::runtime
