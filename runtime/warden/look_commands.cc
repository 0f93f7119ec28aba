#include "runtime/warden/look_commands.h"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace sallyport::runtime {
namespace {

using netstack::FlowView;

// Of the rows of a reply, which is one packet.
constexpr size_t kMaxRows = kMaxControlPacket / 2;

std::optional<uint64_t> ParseNumber(const std::string& text) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

std::string ToText(FlowView::State state) {
  switch (state) {
    case FlowView::State::kDeciding:
      return "deciding";
    case FlowView::State::kOpen:
      return "open";
    case FlowView::State::kClosing:
      return "closing";
  }
  return "open";
}

std::string Milliseconds(Clock::duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

/// With six digits behind the point.
std::string Seconds(Clock::duration time) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
  const std::string fraction = std::to_string(1'000'000 + micros % 1'000'000);
  return std::to_string(micros / 1'000'000) + "." + fraction.substr(1);
}
std::string Seconds(const timeval& time) {
  return Seconds(std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec));
}

/// Pings have no port.
std::string WhereTo(const Endpoint& peer, const FlowView& view) {
  return view.info.transport == Transport::kIcmp ? peer.address.ToString() : peer.ToString();
}

/// The rows of `stats`. Labels are words of our own, so that none needs escaping.
class Rows {
 public:
  void Add(std::string name, std::string labels, uint64_t value) {
    AddText(std::move(name), std::move(labels), std::to_string(value));
  }
  void AddText(std::string name, std::string labels, std::string value) {
    bytes_ += name.size() + labels.size() + value.size() + 16;
    if (bytes_ > kMaxRows) return;  // There are not half as many words.
    rows_.push_back({std::move(name), std::move(labels), std::move(value)});
  }
  std::vector<std::vector<std::string>> Take() { return std::move(rows_); }

 private:
  std::vector<std::vector<std::string>> rows_;
  size_t bytes_ = 0;
};

std::string Label(std::string_view key, std::string_view value) {
  return std::string(key) + "=\"" + std::string(value) + "\"";
}

void AddNetwork(Rows& rows, const netstack::StackStats& stats) {
  const std::string tcp = Label("transport", "tcp");
  const std::string udp = Label("transport", "udp");
  const std::string icmp = Label("transport", "icmp");
  rows.Add("sallyport_frames_total", Label("direction", "from_guest"), stats.frames_in);
  rows.Add("sallyport_frames_total", Label("direction", "to_guest"), stats.frames_out);
  rows.Add("sallyport_flow_bytes_total", Label("direction", "from_guest"), stats.bytes_from_guest);
  rows.Add("sallyport_flow_bytes_total", Label("direction", "to_guest"), stats.bytes_to_guest);
  rows.Add("sallyport_flows_begun_total", tcp, stats.tcp_decided);
  rows.Add("sallyport_flows_begun_total", udp, stats.udp_decided);
  rows.Add("sallyport_flows_begun_total", icmp, stats.echo_decided);
  rows.Add("sallyport_flows_refused_total", tcp, stats.tcp_refused);
  rows.Add("sallyport_flows_refused_total", udp, stats.udp_refused);
  rows.Add("sallyport_flows_refused_total", icmp, stats.echo_refused);
  rows.Add("sallyport_flows", tcp, stats.tcp_flows);
  rows.Add("sallyport_flows", udp, stats.udp_flows);
  rows.Add("sallyport_flows", icmp, stats.echo_flows);
  rows.Add("sallyport_flow_buffered_bytes", "", stats.buffered_bytes);
  rows.Add("sallyport_link_up", "", stats.link_failed ? 0 : 1);
  for (size_t i = 0; i < netstack::kDropReasons; ++i) {
    const auto reason = static_cast<netstack::Drop>(i);
    rows.Add("sallyport_drops_total", Label("reason", ToString(reason)), stats.dropped(reason));
  }
}

void AddDecisions(Rows& rows, const AuditLog::Counts& counts) {
  for (const auto& [kind, number] : counts) {
    if (kind.transport == "control") continue;  // A command, and no decision.
    rows.Add("sallyport_decisions_total",
             Label("transport", kind.transport) + "," +
                 Label("direction", kind.direction.empty() ? "out" : kind.direction) + "," +
                 Label("verdict", kind.allowed ? "allow" : "deny") + "," +
                 Label("reason", ToString(kind.reason)),
             number);
  }
}

void AddPorts(Rows& rows, const PublishedPorts& ports) {
  size_t open = 0;
  const auto listed = ports.List();
  for (const auto& port : listed) open += port.open;
  rows.Add("sallyport_published_ports", "", listed.size());
  rows.Add("sallyport_published_clients", "", open);
}

void AddProcess(Rows& rows) {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return;
  rows.AddText("sallyport_cpu_seconds_total", Label("mode", "user"), Seconds(usage.ru_utime));
  rows.AddText("sallyport_cpu_seconds_total", Label("mode", "system"), Seconds(usage.ru_stime));
  rows.Add("sallyport_peak_resident_bytes", "", static_cast<uint64_t>(usage.ru_maxrss) * 1024);
  const auto heap = mallinfo2();
  rows.Add("sallyport_heap_bytes", "", heap.uordblks + heap.hblkhd);
}

}  // namespace

/// One line of `flows`, before it is text.
struct LookCommands::Flow {
  uint64_t id = 0;
  std::string direction;
  Transport transport = Transport::kTcp;
  std::string name;
  std::string destination;
  std::string rule;
  std::string state;
  uint64_t up = 0;
  uint64_t down = 0;
  Clock::duration age{};
};

ControlReply LookCommands::Run(const ControlRequest& request) const {
  const auto& arguments = request.arguments;
  if (request.verb == "stats" && arguments.empty()) return Stats();
  if (request.verb == "flows" && arguments.size() <= 1) {
    const auto after = arguments.empty() ? std::optional<uint64_t>(0) : ParseNumber(arguments[0]);
    if (after) return Flows(*after);
  }
  return {.done = false, .text = "this sandbox does not know " + request.verb, .rows = {}};
}

ControlReply LookCommands::Flows(uint64_t after) const {
  ControlReply reply{.done = true, .text = "", .rows = {}};
  size_t bytes = 0;
  for (const Flow& flow : FlowsBehind(after)) {
    auto row = RowOf(flow);
    for (const std::string& field : row) bytes += field.size() + 4;
    if (bytes > kMaxRows) {
      reply.text = "more";
      break;
    }
    reply.rows.push_back(std::move(row));
  }
  return reply;
}

/// The numbers of all, then the rest for those few that a reply takes: there may be twenty
/// thousand.
std::vector<LookCommands::Flow> LookCommands::FlowsBehind(uint64_t after) const {
  constexpr size_t kLeastRow = 64;  // Of bytes: what is cut off here would not have fitted.
  std::vector<FlowView> views;
  if (services_.stack != nullptr) {
    services_.stack->ForEachFlow([&](const FlowView& view) {
      if (view.info.id > after) views.push_back(view);
    });
  }
  const auto by_id = [](const FlowView& a, const FlowView& b) { return a.info.id < b.info.id; };
  const size_t most = std::min(views.size(), kMaxRows / kLeastRow);
  std::partial_sort(views.begin(), views.begin() + static_cast<ptrdiff_t>(most), views.end(),
                    by_id);
  const bool all = most == views.size();
  views.resize(most);
  std::vector<Flow> flows;
  for (const FlowView& view : views) {
    const auto note = services_.gate->NoteOf(view.info.id);
    const Endpoint& target = view.info.destination;
    flows.push_back(
        {.id = view.info.id,
         .direction = "out",
         .transport = view.info.transport,
         .name = note.name,
         .destination = WhereTo({note.address.value_or(target.address), target.port}, view),
         .rule = note.rule,
         .state = ToText(view.state),
         .up = view.stats.bytes_up,
         .down = view.stats.bytes_down,
         .age = view.stats.duration});
  }
  if (!all) return flows;
  // Their numbers begin far behind those of the guest's own.
  services_.ports.ForEach([&](const Inbound& inbound) {
    const Inbound::Facts& facts = inbound.facts();
    if (facts.stream <= after) return;
    flows.push_back({.id = facts.stream,
                     .direction = "in",
                     .transport = facts.port.transport,
                     .name = facts.client.ToString(),
                     .destination = "port " + std::to_string(facts.port.guest),
                     .rule = "port " + facts.port.host.ToString(),
                     .state = inbound.state() == Inbound::State::kOpen ? "open" : "dialling",
                     .up = inbound.bytes_up(),
                     .down = inbound.bytes_down(),
                     .age = services_.loop.now() - inbound.began()});
  });
  return flows;
}

std::vector<std::string> LookCommands::RowOf(const Flow& flow) const {
  return {std::to_string(flow.id),
          flow.direction,
          std::string(ToString(flow.transport)),
          flow.name,
          flow.destination,
          flow.rule,
          flow.state,
          std::to_string(flow.up),
          std::to_string(flow.down),
          Milliseconds(flow.age)};
}

ControlReply LookCommands::Stats() const {
  Rows rows;
  rows.AddText("sallyport_uptime_seconds", "", Seconds(services_.loop.now() - began_));
  rows.Add("sallyport_policy_generation", "", services_.engine.generation());
  rows.Add("sallyport_audit_healthy", "", services_.audit.healthy() ? 1 : 0);
  rows.Add("sallyport_approvals_open", "", services_.approvals.open().size());
  AddPorts(rows, services_.ports);
  if (services_.interceptor != nullptr) {
    rows.Add("sallyport_http_connections", "", services_.interceptor->connections());
  }
  AddProcess(rows);
  if (services_.stack != nullptr) AddNetwork(rows, services_.stack->stats());
  AddDecisions(rows, services_.audit.counts());
  return {.done = true, .text = "", .rows = rows.Take()};
}

}  // namespace sallyport::runtime
