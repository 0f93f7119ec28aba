#include "mitm/http2/shared_upstreams.h"

#include <algorithm>
#include <utility>

#include "mitm/limits.h"

// Everything that changes at a place is noted, and served later from the loop: connections call
// from inside exchanges, and what is served calls exchanges. Only serving removes connections and
// places.

namespace sallyport::mitm::http2 {
namespace {

using Connected = UpstreamPool::Connected;

Connected SharedConnection(UpstreamConnection& connection, const std::string& key) {
  auto made = std::make_unique<mitm::UpstreamConnection>();
  made->shared = &connection;
  made->peer = connection.peer();
  made->key = key;
  made->protocol = Protocol::kHttp2;
  return {.connection = std::move(made), .refusal = {}, .address = connection.peer().address};
}

}  // namespace

SharedUpstreams::SharedUpstreams(Loop& loop, Dial dial)
    : loop_(loop), dial_(std::move(dial)), learnt_(kMaxLearntProtocols) {}

SharedUpstreams::~SharedUpstreams() = default;

std::optional<Protocol> SharedUpstreams::Learnt(const std::string& key) {
  const Protocol* found = learnt_.Find(key);
  if (found == nullptr) return std::nullopt;
  return *found;
}

size_t SharedUpstreams::connections() const {
  size_t count = 0;
  for (const auto& [key, place] : places_) count += place->connections.size();
  return count;
}

UpstreamConnection* SharedUpstreams::RoomIn(Place& place) {
  for (const auto& connection : place.connections) {
    if (connection->HasRoom()) return connection.get();
  }
  return nullptr;
}

std::unique_ptr<mitm::UpstreamConnection> SharedUpstreams::Take(const std::string& key) {
  const auto found = places_.find(key);
  if (found == places_.end() || !found->second->waiting.empty()) return nullptr;
  UpstreamConnection* connection = RoomIn(*found->second);
  if (connection == nullptr) return nullptr;
  return SharedConnection(*connection, key).connection;
}

Pending SharedUpstreams::Open(const UpstreamTarget& target, const std::string& key, Done done) {
  Place& place = PlaceOf(target, key);
  const uint64_t id = next_id_++;
  place.waiting.push_back(
      {.id = id,
       .done = std::move(done),
       .deadline = loop_.After(kUpstreamRoomTimeout, [this, key, id] { OnLate(key, id); }),
       .dialing = {}});
  if (Learnt(key) == Protocol::kHttp1) ConnectAlone(place, std::prev(place.waiting.end()));
  ServeSoon(place);
  return Pending([this, key, id] { Cancel(key, id); });
}

SharedUpstreams::Place& SharedUpstreams::PlaceOf(const UpstreamTarget& target,
                                                 const std::string& key) {
  auto& place = places_[key];
  if (!place) place = std::make_unique<Place>(*this, target, key);
  return *place;
}

void SharedUpstreams::ServeSoon(Place& place) {
  if (std::exchange(place.noted, true)) return;
  noted_.push_back(&place);
  if (!serving_) serving_ = loop_.Post([this] { ServeNoted(); });
}

void SharedUpstreams::ServeNoted() {
  serving_ = {};
  for (Place* place : std::exchange(noted_, {})) {
    place->noted = false;
    Serve(*place);
    if (place->empty() && !place->noted) places_.erase(places_.find(place->key));
  }
}

void SharedUpstreams::Serve(Place& place) {
  place.connections.remove_if([](const auto& connection) { return connection->over(); });
  while (!place.waiting.empty()) {
    UpstreamConnection* connection = RoomIn(place);
    if (connection == nullptr) break;
    Deliver(place.waiting, place.waiting.begin(), SharedConnection(*connection, place.key));
  }
  if (place.waiting.empty()) {
    place.dialing = {};  // Nobody is left who wants it.
    place.is_dialing = false;
    return;
  }
  const bool settling = std::any_of(place.connections.begin(), place.connections.end(),
                                    [](const auto& connection) { return connection->settling(); });
  if (!place.is_dialing && !settling && place.connections.size() < kMaxSharedPerTarget) {
    StartDial(place);
  }
}

void SharedUpstreams::Deliver(Waiters& from, Waiters::iterator waiter, Connected connected) {
  const Done done = std::move(waiter->done);
  from.erase(waiter);
  done(std::move(connected));
}

void SharedUpstreams::Cancel(const std::string& key, uint64_t id) {
  const auto found = places_.find(key);
  if (found == places_.end()) return;
  Place& place = *found->second;
  for (Waiters* waiters : {&place.waiting, &place.alone, &place.failing}) {
    waiters->remove_if([id](const Waiter& waiter) { return waiter.id == id; });
  }
  ServeSoon(place);
}

void SharedUpstreams::OnLate(const std::string& key, uint64_t id) {
  const auto found = places_.find(key);
  if (found == places_.end()) return;
  Place& place = *found->second;
  for (Waiters* waiters : {&place.waiting, &place.alone}) {
    const auto waiter = std::find_if(waiters->begin(), waiters->end(),
                                     [id](const Waiter& other) { return other.id == id; });
    if (waiter == waiters->end()) continue;
    ServeSoon(place);
    return Deliver(*waiters, waiter,
                   {.connection = nullptr,
                    .refusal = {.reason = Reason::kLimit,
                                .status = 503,
                                .detail = "the server takes no more requests at the same time",
                                .rule = {},
                                .how_to_allow = {}},
                    .address = {}});
  }
}

void SharedUpstreams::StartDial(Place& place) {
  place.is_dialing = true;
  place.dialing = dial_(place.target, place.key, [this, &place](Connected connected) {
    OnDialed(place, std::move(connected));
  });
}

void SharedUpstreams::OnDialed(Place& place, Connected connected) {
  const Pending attempt = std::move(place.dialing);
  place.is_dialing = false;
  ServeSoon(place);
  if (!connected.connection) return Refuse(place, connected.refusal, connected.address);
  connected = Adopt(place, std::move(connected));
  if (connected.connection->shared != nullptr) return;  // Serving hands it out.
  while (place.waiting.size() > 1) ConnectAlone(place, std::prev(place.waiting.end()));
  if (!place.waiting.empty()) {
    Deliver(place.waiting, place.waiting.begin(), std::move(connected));
  }
}

/// WAITER, of those that wait, gets a connection of its own.
void SharedUpstreams::ConnectAlone(Place& place, Waiters::iterator waiter) {
  place.alone.splice(place.alone.begin(), place.waiting, waiter);
  waiter->dialing = dial_(place.target, place.key, [this, &place, waiter](Connected connected) {
    const Pending attempt = std::move(waiter->dialing);
    ServeSoon(place);
    Deliver(place.alone, waiter, Adopt(place, std::move(connected)));
  });
}

void SharedUpstreams::Refuse(Place& place, const Refusal& refusal,
                             std::optional<IpAddress> address) {
  place.failing.splice(place.failing.end(), place.waiting);
  while (!place.failing.empty()) {
    Deliver(place.failing, place.failing.begin(),
            {.connection = nullptr, .refusal = refusal, .address = address});
  }
}

Connected SharedUpstreams::Adopt(Place& place, Connected connected) {
  if (!connected.connection) return connected;
  learnt_.Put(place.key, connected.connection->protocol);
  if (connected.connection->protocol == Protocol::kHttp1) return connected;
  if (connections() >= kMaxSharedIdle) RetireOneIdle();
  place.connections.push_back(std::make_unique<UpstreamConnection>(
      loop_, std::move(connected.connection->stream), connected.connection->peer, place));
  return SharedConnection(*place.connections.back(), place.key);
}

void SharedUpstreams::RetireOneIdle() {
  for (const auto& [key, place] : places_) {
    for (const auto& connection : place->connections) {
      if (connection->exchanges() == 0) return connection->Retire();
    }
  }
}

}  // namespace sallyport::mitm::http2
