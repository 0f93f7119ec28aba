#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address_class.h"
#include "base/host_name.h"
#include "base/http_message.h"
#include "base/path_glob.h"
#include "policy/rarely.h"
#include "policy/rule_budget.h"
#include "policy/wait.h"

namespace sallyport::policy {

/// A set of ports. An empty one stands for every port.
class PortSet {
 public:
  PortSet() = default;
  /// FIRST <= LAST.
  void Add(uint16_t first, uint16_t last);

  bool is_all() const { return near_count_ == 0; }
  bool Contains(uint16_t port) const;
  /// Whether every port of OTHER lies within one range of this set.
  bool Covers(const PortSet& other) const;
  bool Intersects(const PortSet& other) const;
  /// Calls VISIT(first, last) for each range, in the order of the file; none for every port.
  template <class Visit>
  void ForEachRange(Visit&& visit) const {
    Any([&visit](const Range& range) {
      visit(range.first, range.last);
      return false;
    });
  }
  /// "80, 443, 8000-8010".
  std::string ToString() const;

 private:
  struct Range {
    uint16_t first = 0;
    uint16_t last = 0;
  };
  /// Whether TEST holds for some range.
  template <class Test>
  bool Any(Test&& test) const {
    for (size_t i = 0; i < near_count_; ++i) {
      if (test(near_[i])) return true;
    }
    for (const Range& range : more_) {
      if (test(range)) return true;
    }
    return false;
  }

  // Most rules have one or two: these are where the rule is.
  std::array<Range, 3> near_;
  uint8_t near_count_ = 0;
  std::vector<Range> more_;
};

/// What a request must carry in a header for a rule to match.
struct HeaderCondition {
  std::string name;
  std::vector<std::string> values;  ///< One of these; empty: any value will do.
};

/// One `allow`, `deny` or `ask` of a policy, compiled.
struct Rule {
  enum class Kind : uint8_t { kHttp, kTcp, kUdp, kIcmp, kDns };
  enum class Effect : uint8_t {
    kAllow,
    kDeny,
    kAsk,  ///< Allowed if the user says so.
  };
  /// What becomes of TLS on its flows: ended here, so that requests are seen, or relayed unread.
  enum class Tls : uint8_t { kIntercept, kPassthrough };

  Kind kind = Kind::kTcp;
  Effect effect = Effect::kDeny;
  Tls tls = Tls::kIntercept;
  int line = 0;
  PortSet ports;  ///< Of icmp and dns rules: every port, as they have none.
  std::vector<std::string> methods;      ///< Empty: all.
  std::vector<PathGlob> paths;           ///< Empty: all.
  std::vector<HeaderCondition> headers;  ///< All of them must hold.
  std::string id;                        ///< "policy.lua:12", or its `name`.
  AddressFilter resolves;                ///< What the addresses of its hosts may be.
  std::vector<HostPattern> hosts;   ///< Empty: no flow with a name.
  std::optional<AddressFilter> ip;  ///< Nothing: no flow without a name.
  std::string reason;
  RuleBudgetPtr budget;  ///< Null: none.
  struct Rare {
    std::optional<Authority> to;
    std::optional<std::string> otherwise;
    std::vector<uint16_t> types;
    // Of rules that ask:
    std::string message;                         ///< What the user is asked.
    std::chrono::milliseconds wait = kAskLimit;  ///< For his answer.
    size_t show_body = 0;                        ///< Bytes of a request's body that he is shown.
    std::string place;                           ///< "policy.lua:12".
  };
  Rarely<Rare> rare;

  /// Whether what it matches is granted, perhaps after a question.
  bool allows() const { return effect != Effect::kDeny; }
  bool asks() const { return effect == Effect::kAsk; }
  /// What the addresses may be of flows with a name, or without one, that it grants.
  const AddressFilter& FilterFor(bool has_name) const { return has_name || !ip ? resolves : *ip; }
  /// Whether it matches requests of any kind.
  bool matches_every_request() const { return methods.empty() && paths.empty() && headers.empty(); }
  /// Whether it speaks of flows to NAME. `any` in an `allow` is every public name: none of those that
  /// IsSpecialName() tells.
  bool MatchesName(const HostName& name) const;
  /// Whether it speaks of a flow to ADDRESS that has no name. A `deny` also looks at what an
  /// address embeds, so that no other spelling of it escapes; an `allow` leaves out the special
  /// addresses in a prefix that is wider than their range.
  bool MatchesAddress(const IpAddress& address) const;
  /// Whether it speaks of this request. PATH without the query. Of several fields of one name, an
  /// `allow` wants all to hold, a `deny` any; and for a `deny` a field holds, too, where a member of its
  /// list does (RFC 9110, 5.6.1), in upper or lower case.
  bool MatchesRequest(std::string_view method, std::string_view path, const Headers& headers) const;

 private:
  bool MatchesHeader(const HeaderCondition& condition, const Headers& fields) const;
};

/// What RULE, which asks, puts to the user.
AskWait QuestionOf(const Rule& rule);

/// "http", "tcp", "udp", "icmp", "dns".
std::string_view ToString(Rule::Kind kind);
std::string_view ToString(Rule::Effect effect);

/// "host", "host:port".
std::string ToString(const Authority& authority);

}  // namespace sallyport::policy
