#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::runtime {

/// The descriptor a warden is born with, besides 2 (stderr): a byte stream to its owner, which first
/// brings a LaunchMessage, then frames (guest/protocol/frame.h).
constexpr int kControlFd = 3;
constexpr int kFirstFreeFd = 4;
/// The argument behind which a warden finds the words of a workload that was begun before it was
/// executed; its descriptors are those from kFirstFreeFd on (namespace_backend.h).
constexpr const char* kBegunFlag = "--begun";

/// Ports of the host that lead into one sandbox. Their sockets travel with the launch message; the
/// kernel takes 253 descriptors with one.
constexpr size_t kMaxPublishedPorts = 64;

/// Everything a warden must know to start its sandbox; what it does not hold it can't open later.
struct Launch {
  struct Mount {
    std::string source;
    std::string target;
    bool writable = false;
  };
  struct NamedSecret {  ///< --secret NAME@HOST[,HOST]
    std::string name;
    std::vector<std::string> hosts;
  };

  std::string sandbox;  ///< The sandbox's id, for the audit log and people.
  uint32_t owner = 0;   ///< The user whose sandbox it is.
  std::string policy_text;
  std::string policy_name;
  std::string policy_folder;
  std::vector<NamedSecret> secrets;
  std::string hostname;
  std::vector<Mount> mounts;
  std::vector<std::string> masked;     ///< Host paths that no mount may show.
  /// Path in the sandbox and text, in which ${NAME} stands for the placeholder of a secret.
  std::vector<std::pair<std::string, std::string>> templates;
  bool network = true;
  bool learn = false;  ///< What the policy does not cover is allowed, and marked in the audit log.
  std::vector<std::string> resolvers;  ///< "192.0.2.1:53".
  std::vector<std::pair<std::string, std::string>> extra_roots;  ///< File name and PEM text.
  /// What the policy's upstream blocks about hosts name, but for keys: file name and PEM text.
  std::vector<std::pair<std::string, std::string>> server_files;
  std::string agent_path;
  std::string broker_path;
  std::chrono::milliseconds timeout{0};  ///< 0: none.
  std::vector<uint16_t> ports;  ///< Of the sandbox: where LaunchMessage::ports lead, in their order.
  /// Asked instead of the policy's `approvals.command`, where it is not empty; and where it runs.
  std::vector<std::string> approve_command;
  std::string approve_folder;
  std::string otlp_url;      ///< Of a collector; empty: none.
  std::string otlp_headers;  ///< A variable's name, "@" and an absolute path, or nothing.

  std::string Encode() const;
  /// kInvalid for anything that Encode() did not write.
  static Result<Launch> Decode(std::string_view bytes);
};

/// All that a warden gets to start a sandbox. It is spawned before its owner has put this together,
/// so that both work at the same time.
struct LaunchMessage {
  Launch launch;
  UniqueFd audit;   ///< The audit log, opened for appending.
  UniqueFd values;  ///< The read end of a pipe with variables that sources of secrets need; for the broker alone.
  UniqueFd commands;  ///< Where other commands of the user connect (control_message.h).
  std::vector<UniqueFd> ports = {};  ///< Listening TCP and bound UDP sockets; at most kMaxPublishedPorts.
  UniqueFd capture = {};  ///< The file for the guest's frames (`--pcap`); may be none.
};

/// The first thing an owner says on CONTROL.
Status SendLaunch(int control, const LaunchMessage& message);

/// Waits for it. kNotFound when the owner ended the conversation instead; kInvalid for anything else
/// than SendLaunch() sends.
Result<LaunchMessage> ReceiveLaunch(int control);

/// What a warden says once its sandbox is up (kLaunched).
struct Launched {
  std::string sandbox;
  std::string backend;  ///< "namespace".
  std::string link;     ///< "tap", "packet", "none".
  std::string Encode() const;
  static Result<Launched> Decode(std::string_view bytes);
};

/// Variables on their way to the broker: NAME, NUL, value, NUL, ….
std::string EncodeValues(const std::vector<std::pair<std::string, std::string>>& values);

}  // namespace sallyport::runtime
