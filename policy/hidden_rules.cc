#include "policy/hidden_rules.h"

#include <algorithm>
#include <bit>

#include "policy/special_names.h"

// How a rule is looked at. For each of its hosts, groups and prefixes the indexes give the earlier
// rules that have all of it. One that decides everything else of the rule too ends the search.
// Those that decide a part of it are kept, and the rule is cut into cells: a range of ports within
// which no kept rule begins or ends, a method, a path. Each cell goes to the first kept rule that
// decides all of it. Cells that are left over are what the rule is good for.
//
// An IPv4 prefix of which something is left is then halved until no other prefix begins in a part and its
// addresses are of one class, so that all of them have the same rules. The rule is good for nothing where
// it is good for no part. Most often the first part that is looked at shows that it is.

namespace sallyport::policy {
namespace {

using Kind = Rule::Kind;

// What is left of the work that looking for hidden rules may do: a pair of rules costs as many
// steps as they have paths to compare, a cell one for each rule that is kept. Some 30 ms; enough
// for 1,400 rules about one host, each with each.
constexpr size_t kMostSteps = 1'000'000;

std::string NameOf(const Rule& rule) {
  return std::string(ToString(rule.effect)) + "." + std::string(ToString(rule.kind));
}

bool HasMethod(const Rule& rule, const std::string& method) {
  return std::find(rule.methods.begin(), rule.methods.end(), method) != rule.methods.end();
}

bool CoversPath(const std::vector<PathGlob>& wide, const PathGlob& narrow) {
  return wide.empty() || std::any_of(wide.begin(), wide.end(), [&narrow](const PathGlob& glob) {
           return glob.Covers(narrow);
         });
}

bool CoversMethods(const std::vector<std::string>& wide, const std::vector<std::string>& narrow) {
  if (wide.empty()) return true;
  return !narrow.empty() && std::all_of(narrow.begin(), narrow.end(), [&wide](const auto& method) {
    return std::find(wide.begin(), wide.end(), method) != wide.end();
  });
}

bool CoversPaths(const std::vector<PathGlob>& wide, const std::vector<PathGlob>& narrow) {
  if (wide.empty()) return true;
  return !narrow.empty() && std::all_of(narrow.begin(), narrow.end(), [&wide](const auto& path) {
    return CoversPath(wide, path);
  });
}

// Whether what LATER asks of headers implies what EARLIER asks.
bool CoversHeaders(const Rule& earlier, const Rule& later) {
  return std::all_of(earlier.headers.begin(), earlier.headers.end(), [&later](const auto& wide) {
    return std::any_of(later.headers.begin(), later.headers.end(), [&wide](const auto& narrow) {
      if (!EqualsIgnoreCase(wide.name, narrow.name)) return false;
      if (wide.values.empty()) return true;
      return !narrow.values.empty() &&
             std::all_of(narrow.values.begin(), narrow.values.end(), [&wide](const auto& value) {
               return std::find(wide.values.begin(), wide.values.end(), value) != wide.values.end();
             });
    });
  });
}

// What EARLIER decides of requests or flows to ports and hosts that LATER has too.
enum class Reach {
  kNothing,
  kRequests,  ///< Those that its methods, paths and headers speak of.
  kAll,
};

Reach ReachOf(const Rule& earlier, const Rule& later) {
  if (earlier.kind == Kind::kDns || later.kind == Kind::kDns) {
    // A denied lookup ends every use of the name; an allowed use of it needs the lookup.
    if (!earlier.allows()) return earlier.kind == Kind::kDns ? Reach::kAll : Reach::kNothing;
    if (later.kind != Kind::kDns) return Reach::kNothing;
    if (!later.allows()) return Reach::kAll;
    const bool types =
        earlier.kind == Kind::kDns && std::includes(earlier.rare->types.begin(), earlier.rare->types.end(),
                                                    later.rare->types.begin(), later.rare->types.end());
    return types ? Reach::kAll : Reach::kNothing;
  }
  if (earlier.kind == Kind::kHttp && later.kind == Kind::kTcp) {
    return earlier.allows() || earlier.matches_every_request() ? Reach::kAll : Reach::kNothing;
  }
  if (earlier.kind == Kind::kTcp && later.kind == Kind::kHttp) return Reach::kAll;
  if (earlier.kind != later.kind) return Reach::kNothing;
  if (earlier.kind != Kind::kHttp || earlier.rare->otherwise || earlier.matches_every_request())
    return Reach::kAll;
  return CoversHeaders(earlier, later) ? Reach::kRequests : Reach::kNothing;
}

bool PortsMatter(const Rule& earlier, const Rule& later) {
  return earlier.kind != Kind::kDns && later.kind != Kind::kDns;
}

bool DecidesAll(const Rule& earlier, const Rule& later, Reach reach) {
  if (reach == Reach::kNothing) return false;
  if (PortsMatter(earlier, later) && !earlier.ports.Covers(later.ports)) return false;
  return reach == Reach::kAll ||
         (CoversMethods(earlier.methods, later.methods) && CoversPaths(earlier.paths, later.paths));
}

// Whether all that EARLIER speaks of, on a host or address that both name, LATER speaks of too.
bool IsException(const Rule& earlier, const Rule& later) {
  return later.ports.Covers(earlier.ports) && CoversMethods(later.methods, earlier.methods) &&
         CoversPaths(later.paths, earlier.paths) && CoversHeaders(later, earlier);
}

// A rule that decides some of what a later one speaks of.
struct Partial {
  const Rule* rule;
  Reach reach;
  bool is_exception;
};

struct Cell {
  uint16_t first_port;
  uint16_t last_port;
  const std::string* method;  // Null: every one that no kept rule names.
  const PathGlob* path;       // Null: all.
};

bool DecidesCell(const Partial& partial, const Cell& cell) {
  const Rule& rule = *partial.rule;
  if (!rule.ports.Contains(cell.first_port)) return false;  // No range ends within a cell.
  if (partial.reach == Reach::kAll) return true;
  const bool method =
      rule.methods.empty() || (cell.method != nullptr && HasMethod(rule, *cell.method));
  return method &&
         (rule.paths.empty() || (cell.path != nullptr && CoversPath(rule.paths, *cell.path)));
}

std::string DescribeCell(const Cell& cell, const Rule& later, bool one_range) {
  std::string text;
  if (!one_range) {
    text += " for port " + std::to_string(cell.first_port);
    if (cell.last_port != cell.first_port) text += "-" + std::to_string(cell.last_port);
  }
  if (later.methods.size() != 1 && cell.method != nullptr) text += " for " + *cell.method;
  if (later.paths.size() > 1 && cell.path != nullptr) text += " for " + cell.path->text();
  return text;
}

/// One of the hosts, groups or prefixes of a rule; said in words only for a mistake.
struct Item {
  const HostPattern* host = nullptr;
  const Prefix* prefix = nullptr;
  uint16_t group = 0;

  std::string ToString() const {
    if (host != nullptr) return "'" + host->ToString() + "'";
    if (prefix != nullptr) {
      const IpAddress& address = prefix->address();
      const bool single = prefix->length() == (address.is_v4() ? 32 : 128);
      return single ? address.ToString() : prefix->ToString();
    }
    return "the group '" + std::string(sallyport::ToString(static_cast<AddressClass>(group))) + "'";
  }
};

// Looks for what hides one rule for one of its items.
class Search {
 public:
  /// DIAGNOSTICS is null where only hidden_by() is wanted.
  Search(const Rule& later, Item item, size_t& steps_left, Diagnostics* diagnostics)
      : later_(later), item_(item), left_(steps_left), diagnostics_(diagnostics) {}

  bool spent() const { return left_ == 0; }
  /// After Finish(): what leaves nothing of the rule, of several the one to be told of; else null.
  const Rule* hidden_by() const { return hidden_by_; }

  /// EARLIER has the whole host or addresses; IS_SAME: and no more. False when the search is over.
  bool Consider(const Rule& earlier, bool is_same) {
    const size_t cost = 1 + earlier.paths.size() * later_.paths.size() +
                        earlier.methods.size() * later_.methods.size();
    if (!Spend(cost)) return false;
    const Reach reach = ReachOf(earlier, later_);
    if (reach == Reach::kNothing) return true;
    if (partials_.empty() && DecidesAll(earlier, later_, reach)) {
      Report(earlier, "");
      found_ = true;
      hidden_by_ = &earlier;
      return false;
    }
    if (PortsMatter(earlier, later_) && !earlier.ports.Intersects(later_.ports)) return true;
    if (reach == Reach::kRequests && !MayDecideCell(earlier)) return true;
    const bool exception = is_same && IsException(earlier, later_);
    partials_.push_back({&earlier, reach, exception});
    // What decides the rest wholly ends it.
    return !DecidesAll(earlier, later_, reach);
  }

  /// Reports what the kept rules do together. True when nothing was found.
  bool Finish() {
    if (found_ || partials_.empty()) return !found_;
    const auto ranges = CutPorts();
    std::vector<const std::string*> methods = CutMethods();
    std::vector<const PathGlob*> paths;
    for (const PathGlob& path : later_.paths) paths.push_back(&path);
    if (paths.empty()) paths.push_back(nullptr);
    if (!Spend(ranges.size() * methods.size() * paths.size() * partials_.size())) return true;
    for (const auto& [first, last] : ranges) {
      for (const std::string* method : methods) {
        for (const PathGlob* path : paths) Decide({first, last, method, path});
      }
    }
    return Conclude(ranges.size() == 1);
  }

  void Report(const Rule& earlier, const std::string& where) {
    if (diagnostics_ == nullptr) return;
    const std::string by = earlier.id + " (" + NameOf(earlier) + ")";
    if (!earlier.allows() || (later_.allows() && !later_.rare->otherwise)) {
      return diagnostics_->Warning(later_.line, NameOf(later_) + " of " + item_.ToString() +
                                                   " can never apply: " + by + " decides first");
    }
    const std::string refused =
        later_.allows() ? "the 'otherwise' of " + NameOf(later_) : NameOf(later_);
    diagnostics_->Error(later_.line, refused + " has no effect on " + item_.ToString() + where +
                                        ": the earlier rule " + by +
                                        " decides first; put the narrower rule before it");
  }

 private:
  bool Spend(size_t cost) {
    if (cost > left_) {
      left_ = 0;
      return false;
    }
    left_ -= cost;
    return true;
  }

  bool MayDecideCell(const Rule& earlier) const {
    const bool methods =
        earlier.methods.empty() || later_.methods.empty() ||
        std::any_of(later_.methods.begin(), later_.methods.end(),
                    [&earlier](const auto& method) { return HasMethod(earlier, method); });
    const bool paths =
        earlier.paths.empty() ||
        std::any_of(later_.paths.begin(), later_.paths.end(),
                    [&earlier](const auto& path) { return CoversPath(earlier.paths, path); });
    return methods && paths;
  }

  // The ports of the rule, cut where a range of a kept rule begins or ends.
  std::vector<std::pair<uint16_t, uint16_t>> CutPorts() const {
    std::vector<uint32_t> cuts;  // A range begins here.
    const auto cut = [&cuts](uint16_t first, uint16_t last) {
      cuts.push_back(first);
      cuts.push_back(uint32_t{last} + 1);
    };
    cut(1, 65535);
    later_.ports.ForEachRange(cut);
    for (const Partial& partial : partials_) partial.rule->ports.ForEachRange(cut);
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    std::vector<std::pair<uint16_t, uint16_t>> ranges;
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      const auto first = static_cast<uint16_t>(cuts[i]);
      if (later_.ports.Contains(first))
        ranges.emplace_back(first, static_cast<uint16_t>(cuts[i + 1] - 1));
    }
    return ranges;
  }

  std::vector<const std::string*> CutMethods() const {
    std::vector<const std::string*> methods;
    for (const std::string& method : later_.methods) methods.push_back(&method);
    if (!methods.empty()) return methods;
    for (const Partial& partial : partials_) {
      for (const std::string& method : partial.rule->methods) methods.push_back(&method);
    }
    const auto by_text = [](const auto* a, const auto* b) { return *a < *b; };
    const auto same = [](const auto* a, const auto* b) { return *a == *b; };
    std::sort(methods.begin(), methods.end(), by_text);
    methods.erase(std::unique(methods.begin(), methods.end(), same), methods.end());
    methods.push_back(nullptr);
    return methods;
  }

  void Decide(const Cell& cell) {
    const auto by = std::find_if(partials_.begin(), partials_.end(), [&cell](const auto& partial) {
      return DecidesCell(partial, cell);
    });
    if (by == partials_.end()) {
      ++open_;
      return;
    }
    if (!by->rule->allows()) {
      if (denied_by_ == nullptr) denied_by_ = by->rule;
      return;
    }
    if (allowed_by_ == nullptr) allowed_by_ = by->rule;
    if (mistaken_ == nullptr && !by->is_exception) {
      mistaken_ = by->rule;
      mistaken_cell_ = cell;
    }
  }

  bool Conclude(bool one_range) {
    if (open_ == 0) {
      // Behind a `deny` like it, and exceptions from both, it is only superfluous.
      const Rule* by = denied_by_ != nullptr ? denied_by_ : allowed_by_;
      hidden_by_ = mistaken_ != nullptr ? mistaken_ : by;
      Report(*hidden_by_, "");
      return false;
    }
    if (later_.allows() || mistaken_ == nullptr) return true;
    Report(*mistaken_, DescribeCell(mistaken_cell_, later_, one_range));
    return false;
  }

  const Rule& later_;
  const Item item_;
  size_t& left_;
  Diagnostics* const diagnostics_;
  const Rule* hidden_by_ = nullptr;
  std::vector<Partial> partials_;
  bool found_ = false;
  // Of the cells.
  size_t open_ = 0;
  const Rule* denied_by_ = nullptr;
  const Rule* allowed_by_ = nullptr;
  const Rule* mistaken_ = nullptr;
  Cell mistaken_cell_{};
};

// Whether RULE, when it grants, speaks of HOST, which `any` does not for names that are not public.
bool SpeaksOf(const Rule& rule, const HostPattern& host) {
  if (!rule.allows() || !host.name()) return true;
  const std::string& name = host.name()->text();
  if (!IsSpecialName(host.is_wildcard() ? "below." + name : name)) return true;
  return std::any_of(rule.hosts.begin(), rule.hosts.end(), [&host](const HostPattern& pattern) {
    return !pattern.is_any() && pattern.Covers(host);
  });
}

bool Names(const Rule& rule, const HostPattern& host) {
  return std::find(rule.hosts.begin(), rule.hosts.end(), host) != rule.hosts.end() &&
         std::count_if(rule.hosts.begin(), rule.hosts.end(),
                       [&host](const auto& pattern) { return pattern.Covers(host); }) == 1;
}

// Whether a grant of WIDE speaks of some address of PREFIX, which lies within.
bool GrantsSome(const Prefix& wide, const Prefix& prefix) {
  return Grants(wide, prefix.address()) ||
         (ClassesIn(prefix) & static_cast<uint16_t>(AddressClass::kPublic)) != 0;
}

class Finder {
 public:
  Finder(const RuleSet& rules, Diagnostics& diagnostics)
      : set_(rules), rules_(rules.rules()), diagnostics_(diagnostics) {}

  void Run() {
    for (uint32_t number = 0; number < rules_.size() && left_ > 0; ++number) {
      for (const HostPattern& host : rules_[number].hosts) LookAtHost(number, host);
      if (rules_[number].ip) LookAtAddresses(number, *rules_[number].ip);
    }
    if (left_ > 0) return;
    diagnostics_.Warning(0,
                         "so many rules speak of the same hosts or addresses that not all were "
                         "looked at for rules that hide others");
  }

 private:
  void LookAtHost(uint32_t number, const HostPattern& host) {
    Search search(rules_[number], {.host = &host}, left_, &diagnostics_);
    set_.hosts().ForEachCovering(host, [&](uint32_t other) {
      if (other >= number) return false;
      const Rule& earlier = rules_[other];
      return !SpeaksOf(earlier, host) || search.Consider(earlier, Names(earlier, host));
    });
    search.Finish();
  }

  void LookAtAddresses(uint32_t number, const AddressFilter& filter) {
    for (unsigned bit = 0; bit < 16; ++bit) {
      const auto group = static_cast<uint16_t>(1u << bit);
      if ((filter.classes & group) != 0) LookAtGroup(number, group);
    }
    for (const Prefix& prefix : filter.prefixes) LookAtPrefix(number, prefix);
  }

  void LookAtGroup(uint32_t number, uint16_t group) {
    Search search(rules_[number], {.group = group}, left_, &diagnostics_);
    set_.addresses().ForEachCovering(nullptr, group, [&](uint32_t other) {
      return other < number && search.Consider(rules_[other], /*is_same=*/true);
    });
    search.Finish();
  }

  void LookAtPrefix(uint32_t number, const Prefix& prefix) {
    const Rule& later = rules_[number];
    Search search(later, {.prefix = &prefix}, left_, &diagnostics_);
    const uint16_t classes = ClassesIn(prefix);
    const uint16_t group = std::has_single_bit(classes) ? classes : uint16_t{0};
    set_.addresses().ForEachCovering(&prefix, group, [&](uint32_t other) {
      if (other >= number) return false;
      const Rule& earlier = rules_[other];
      bool covers = (earlier.ip->classes & group) != 0;
      bool is_same = !covers;
      for (const Prefix& wide : earlier.ip->prefixes) {
        if (!wide.Contains(prefix) || (earlier.allows() && !GrantsSome(wide, prefix))) continue;
        covers = true;
        is_same = is_same && wide == prefix;
      }
      return !covers || search.Consider(earlier, is_same);
    });
    if (!search.Finish() || search.spent()) return;
    if (!prefix.address().is_v4()) return LookWithin(number, prefix, search);
    if (std::has_single_bit(classes) && !set_.addresses().HasWithin(prefix)) return;
    const Rule* by = nullptr;
    if (IsHidden(number, prefix, prefix, by) && by != nullptr) search.Report(*by, "");
  }

  // Whether earlier rules decide all that the rule says of PART of its IPv4 prefix WHOLE. BY becomes what
  // is to be told of them: an `allow` before a `deny`.
  bool IsHidden(uint32_t number, const Prefix& whole, const Prefix& part, const Rule*& by) {
    if (left_ == 0) return false;
    --left_;
    const bool alike = std::has_single_bit(ClassesIn(part)) && !set_.addresses().HasWithin(part);
    if (alike) return IsHiddenAt(number, whole, part.address(), by);
    constexpr unsigned kBits = 32;  // One address is of one class, so there are two halves.
    const unsigned length = part.length() + 1;
    Prefix first(part.address(), length);
    Prefix second(IpAddress::V4(part.address().v4_number() | 1u << (kBits - length)),
                  length);
    // What no other prefix is in is looked at first: there most rules are good for something.
    if (set_.addresses().HasWithin(first)) std::swap(first, second);
    return IsHidden(number, whole, first, by) && IsHidden(number, whole, second, by);
  }

  bool IsHiddenAt(uint32_t number, const Prefix& whole, const IpAddress& address, const Rule*& by) {
    const Rule& later = rules_[number];
    if (!later.MatchesAddress(address)) return true;
    Search search(later, {.prefix = &whole}, left_, nullptr);
    set_.addresses().ForEachMatch(address, [&](uint32_t other) {
      if (other >= number) return false;
      const Rule& earlier = rules_[other];
      if (!earlier.MatchesAddress(address)) return true;
      const auto& prefixes = earlier.ip->prefixes;
      const bool is_same = std::find(prefixes.begin(), prefixes.end(), whole) != prefixes.end();
      return search.Consider(earlier, is_same);
    });
    search.Finish();
    const Rule* found = search.hidden_by();
    if (found == nullptr || search.spent()) return false;
    if (by == nullptr || (found->allows() && !by->allows())) by = found;
    return true;
  }

  // IPv6 prefixes of earlier rules that fill PREFIX together, each of them deciding all the rest.
  void LookWithin(uint32_t number, const Prefix& prefix, Search& search) {
    const Rule* allowed_by = nullptr;
    const Rule* first = nullptr;
    const bool filled = set_.addresses().IsFilled(prefix, [&](uint32_t other) {
      if (other >= number || left_ == 0) return false;
      --left_;
      const Rule& earlier = rules_[other];
      if (!DecidesAll(earlier, rules_[number], ReachOf(earlier, rules_[number]))) return false;
      if (first == nullptr) first = &earlier;
      if (allowed_by == nullptr && earlier.allows()) allowed_by = &earlier;
      return true;
    });
    if (filled) search.Report(allowed_by != nullptr ? *allowed_by : *first, "");
  }

  const RuleSet& set_;
  const std::vector<Rule>& rules_;
  Diagnostics& diagnostics_;
  size_t left_ = kMostSteps;
};

}  // namespace

void FindHiddenRules(const RuleSet& rules, Diagnostics& diagnostics) {
  Finder(rules, diagnostics).Run();
}

}  // namespace sallyport::policy
