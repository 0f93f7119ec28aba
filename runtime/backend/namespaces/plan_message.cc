#include "guest/protocol/cbor_sequence.h"
#include "runtime/backend/namespaces/plan.h"

namespace sallyport::runtime {

using guest::CborSequence;
using guest::CborWriter;

namespace {

constexpr size_t kPlanFields = 5;
constexpr size_t kMountFields = 8;

void WriteTexts(CborWriter& out, const std::vector<std::string>& texts) {
  out.Array(texts.size());
  for (const std::string& text : texts) out.Text(text);
}

void WriteMount(CborWriter& out, const Plan::Mount& mount) {
  out.Array(kMountFields);
  out.Text(mount.source);
  out.Text(mount.target);
  out.Bool(mount.writable);
  out.Bool(mount.directory);
  out.Int(mount.owner);
  out.Int(mount.group);
  WriteTexts(out, mount.hidden);
  WriteTexts(out, mount.host_runs);
}

Plan::Mount ReadMount(CborSequence& in) {
  Plan::Mount mount;
  in.Expect(kMountFields);
  mount.source = in.Text();
  mount.target = in.Text();
  mount.writable = in.Bool();
  mount.directory = in.Bool();
  mount.owner = static_cast<uid_t>(in.Int());
  mount.group = static_cast<gid_t>(in.Int());
  mount.hidden = in.Texts();
  mount.host_runs = in.Texts();
  return mount;
}

}  // namespace

std::string EncodePlan(const Plan& plan) {
  CborWriter out;
  out.Array(kPlanFields);
  out.Text(plan.hostname);
  out.Bool(plan.network);
  out.Text(plan.agent_path);
  out.Array(plan.mounts.size());
  for (const Plan::Mount& mount : plan.mounts) WriteMount(out, mount);
  WriteTexts(out, plan.masked);
  return out.Take();
}

Result<Plan> DecodePlan(std::string_view bytes) {
  CborSequence in(bytes);
  Plan plan;
  in.Expect(kPlanFields);
  plan.hostname = in.Text();
  plan.network = in.Bool();
  plan.agent_path = in.Text();
  for (size_t left = in.Array(); left > 0 && in.ok(); --left) plan.mounts.push_back(ReadMount(in));
  plan.masked = in.Texts();
  auto done = in.Finish();
  if (!done) return tl::unexpected(std::move(done).error().In("the plan of the sandbox"));
  return plan;
}

}  // namespace sallyport::runtime
