#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/host_name.h"
#include "policy/path_shapes.h"

namespace sallyport::policy {

/// Something that a program did and that was allowed, as an audit log tells it.
struct Observation {
  enum class Kind {
    kName,       ///< A name was looked up, and answered.
    kTcp,        ///< Bytes that were relayed unread.
    kUdp,        ///< Datagrams.
    kPassedTls,  ///< TLS that was relayed unread, its name seen (tls = "passthrough").
    kRequest,    ///< An HTTP request.
  };
  Kind kind = Kind::kName;
  Host host = IpAddress();
  uint16_t port = 0;   ///< Not for kName.
  uint16_t type = 1;   ///< Of kName: the DNS record type; A and AAAA are one.
  std::string method;  ///< Of a request.
  std::string path;    ///< Of a request, without its query.
  PathShapes::Length path_length = PathShapes::Length::kWhole;
  std::vector<std::string> secrets;  ///< Names of those that were put in.
  uint64_t count = 1;
};

/// The rules of a policy file that allow what was observed, and little more: few and readable, in a
/// stable order, whatever the order of the observations. One `allow.http` a host, with its methods
/// and paths taken together (path_shapes.h), or two where what it reads (GET, HEAD, OPTIONS) has
/// other paths than what it writes, `allow.tcp` and `allow.udp` by host and port, and one
/// `allow.dns` for the names that were only looked up, and one for each that had other records. No
/// rule opens addresses that are not public, or declares a secret. Does no I/O.
class LearntRules {
 public:
  /// Hosts with rules of their own; what comes beyond is left out and counted. With the paths of
  /// each (PathShapes::kMaxNodes) 300 MB at most, of a program that makes up all of it.
  static constexpr size_t kMaxHosts = 500;
  /// So many hosts below one name, itself no public suffix, become a wildcard; for HTTP only.
  static constexpr size_t kManyHosts = 4;

  /// False where no rule is written for it; unwritten() says why.
  bool Add(const Observation& observation);

  /// Rules, with comments: `-- rare: …` on what was seen once, `-- wide: …` on a wildcard.
  std::string ToText() const;
  /// What could not be written: "udp 10.0.0.1:53: its address is private", at most kMaxUnwritten.
  const std::set<std::string>& unwritten() const { return unwritten_; }
  static constexpr size_t kMaxUnwritten = 20;

 private:
  struct Requests {
    std::set<std::string> methods;
    PathShapes paths;
    uint64_t count = 0;
  };
  struct Web {
    std::set<uint16_t> ports;         // Of requests.
    std::set<uint16_t> passed_ports;  // Of TLS that was passed through.
    Requests reads;
    Requests writes;
    std::set<std::string> secrets;
    uint64_t passed = 0;           // Connections whose TLS was passed through.
    std::set<std::string> merged;  // Of a wildcard: the hosts.

    bool passes() const;
    std::set<uint16_t> all_ports() const;
  };
  struct Raw {
    std::set<uint16_t> ports;
    uint64_t flows = 0;
  };
  // By the host as rules write it. A name can't be taken for an address, nor for a wildcard.
  using Webs = std::map<std::string, Web>;
  using Raws = std::map<std::string, Raw>;

  void Skip(const Observation& observation, const char* why);
  bool MayAdd(const Observation& observation);
  static void MergeInto(const Requests& from, Requests& into);
  static void MergeInto(const Web& from, Web& into);
  Webs Widened() const;
  bool MayWiden(const HostName& zone, const std::vector<std::string>& hosts) const;
  Raws WithoutWeb(const Raws& raws, const Webs& webs, bool udp) const;
  std::string NamesOnly(const Webs& webs) const;
  static std::string WebRules(const std::string& host, const Web& web);
  static std::string RequestRule(const std::string& host, const Web& web, const Requests& requests);

  Webs webs_;
  Raws tcp_;
  Raws udp_;
  std::map<std::string, std::set<uint16_t>> names_;  // With their types beside A and AAAA.
  std::set<std::string> hosts_;  // All that have rules.
  std::set<std::string> unwritten_;
};

}  // namespace sallyport::policy
