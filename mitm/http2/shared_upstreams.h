#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/pending.h"
#include "mitm/http2/upstream_connection.h"
#include "mitm/lru_cache.h"
#include "mitm/upstream_pool.h"

namespace sallyport::mitm::http2 {

/// HTTP/2 connections to servers, each shared by all exchanges whose target's key agrees; and the
/// memory of who speaks HTTP/2. Part of UpstreamPool.
///
/// Requests that find no room wait together: for one attempt to connect, for SETTINGS, or for an
/// exchange to end. A server that speaks HTTP/1.1 after all gives its connection to the first of
/// them, and the others get one each.
class SharedUpstreams {
 public:
  using Connected = UpstreamPool::Connected;
  using Done = std::function<void(Connected)>;
  /// Connects, offering both protocols.
  using Dial = std::function<Pending(const UpstreamTarget&, const std::string& key, Done)>;

  SharedUpstreams(Loop& loop, Dial dial);
  ~SharedUpstreams();

  /// A connection with room for an exchange that nobody waits for, or null.
  std::unique_ptr<mitm::UpstreamConnection> Take(const std::string& key);
  /// Finds or makes a connection. kLimit when there is no room in time.
  Pending Open(const UpstreamTarget& target, const std::string& key, Done done);
  std::optional<Protocol> Learnt(const std::string& key);

  size_t connections() const;

 private:
  struct Waiter {
    uint64_t id;
    Done done;
    Loop::Handle deadline;
    Pending dialing;  // Where it connects for itself.
  };
  using Waiters = std::list<Waiter>;

  /// What there is for one target.
  struct Place final : UpstreamConnection::Owner {
    Place(SharedUpstreams& shared, UpstreamTarget to, std::string its_key)
        : owner(shared), target(std::move(to)), key(std::move(its_key)) {}
    void OnUpstreamChanged() override { owner.ServeSoon(*this); }

    SharedUpstreams& owner;
    const UpstreamTarget target;
    const std::string key;
    std::list<std::unique_ptr<UpstreamConnection>> connections;
    Waiters waiting;  // In this order.
    Waiters alone;    // Those that connect for themselves.
    Waiters failing;  // About to be told.
    Pending dialing;
    bool is_dialing = false;
    bool noted = false;  // It is in noted_.

    bool empty() const {
      return connections.empty() && waiting.empty() && alone.empty() && failing.empty();
    }
  };

  Place& PlaceOf(const UpstreamTarget& target, const std::string& key);
  void ServeSoon(Place& place);
  void ServeNoted();
  void Serve(Place& place);
  void Cancel(const std::string& key, uint64_t id);
  void OnLate(const std::string& key, uint64_t id);
  void StartDial(Place& place);
  void OnDialed(Place& place, Connected connected);
  void ConnectAlone(Place& place, Waiters::iterator waiter);
  void Refuse(Place& place, const Refusal& refusal, std::optional<IpAddress> address);
  /// CONNECTED, its connection shared if it speaks HTTP/2; remembers what it speaks.
  Connected Adopt(Place& place, Connected connected);
  void RetireOneIdle();
  static void Deliver(Waiters& from, Waiters::iterator waiter, Connected connected);
  static UpstreamConnection* RoomIn(Place& place);

  Loop& loop_;
  const Dial dial_;
  LruCache<Protocol> learnt_;
  std::map<std::string, std::unique_ptr<Place>> places_;
  std::vector<Place*> noted_;  // Places where something changed.
  Loop::Handle serving_;
  uint64_t next_id_ = 0;
};

}  // namespace sallyport::mitm::http2
