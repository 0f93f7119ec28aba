#include "mitm/fetch.h"

#include <algorithm>
#include <utility>

#include "mitm/limits.h"
#include "policy/rule.h"

namespace sallyport::mitm {

HttpFlow Fetch::FlowFor(const policy::FetchWait& wanted, const policy::Facts& cause) {
  HttpFlow flow;
  flow.facts.flow = cause.flow;
  flow.facts.source = cause.source;
  flow.facts.destination.port = wanted.url.port;
  if (const auto* name = std::get_if<HostName>(&wanted.url.host)) {
    flow.facts.name = *name;
  } else {
    flow.facts.destination.address = std::get<IpAddress>(wanted.url.host);
  }
  flow.verdict.action = policy::FlowVerdict::Action::kHttp;
  policy::Rule rule;
  rule.id = wanted.rule;
  flow.verdict.by = std::make_shared<policy::Rule>(std::move(rule));
  flow.by_policy = true;
  return flow;
}

Request Fetch::RequestFor(const policy::FetchWait& wanted) {
  Request request;
  request.head.method = wanted.method;
  request.head.scheme = wanted.url.tls ? "https" : "http";
  request.head.authority = wanted.url.Authority();
  const size_t mark = wanted.url.target.find('?');
  request.head.path = wanted.url.target.substr(0, mark);
  if (mark != std::string::npos) request.head.query = wanted.url.target.substr(mark + 1);
  request.head.headers = wanted.headers;
  if (!wanted.body.empty()) request.body = {BodyLength::Kind::kKnown, wanted.body.size()};
  return request;
}

Fetch::Fetch(Gate& gate, const policy::FetchWait& wanted, const policy::Facts& cause,
             std::function<void()> over)
    : gate_(gate),
      body_(wanted.body),
      over_(std::move(over)),
      flow_(gate, FlowFor(wanted, cause)),
      deadline_(gate.loop,
                [this] {
                  exchange_->OnDeadline();
                  Pump();
                }) {
  flow_.tls.encrypted = wanted.url.tls;
  GuestSide& side = *this;
  exchange_.emplace(flow_, side, deadline_, RequestFor(wanted));
  timer_ = gate.loop.After(wanted.timeout, [this] { End("no answer in time"); });
  Resume();
}

void Fetch::Pump() {
  exchange_->Pump();
  if (result_.body.size() > policy::kMaxScriptBody) return End("the answer is longer than 1 MiB");
  if (!exchange_->finished()) return;
  const auto failure = exchange_->failure();
  End(failure ? *failure : "");
}

void Fetch::End(std::string error) {
  timer_ = {};
  again_ = {};
  if (!error.empty()) result_ = {};
  result_.error = std::move(error);
  const auto over = over_;
  over();  // May destroy this.
}

MessageEvent Fetch::ReadBody(size_t max) {
  if (sent_ == body_.size()) return {MessageEvent::Kind::kEnd, {}};
  const std::string_view piece = std::string_view(body_).substr(sent_, max);
  sent_ += piece.size();
  return {MessageEvent::Kind::kBody, piece};
}

size_t Fetch::Room() {
  const size_t most = policy::kMaxScriptBody + kMinRoom;
  return most - std::min(most, result_.body.size());
}

void Fetch::WriteHead(const ResponseHead& head, BodyLength) {
  result_.status = head.status;
  result_.headers = head.headers;
}

void Fetch::Resume() {
  again_ = gate_.loop.Post([this] { Pump(); });
}

}  // namespace sallyport::mitm
