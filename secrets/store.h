#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_filter.h"
#include "base/host_name.h"
#include "base/http_message.h"
#include "base/reason.h"
#include "base/result.h"
#include "base/secret_spec.h"
#include "secrets/answer_filter.h"
#include "secrets/secret.h"

namespace sallyport::secrets {

/// Where a request is about to go: the identity that was checked, not what the guest claims.
struct RequestTarget {
  /// The name that DNS, SNI and authority agree on; none for a literal address.
  std::optional<HostName> host;
  uint16_t port = 0;
  bool encrypted = false;  ///< TLS, and the upstream's certificate will be verified for `host`.
};

/// What a request would use, or why it may not go.
struct Examination {
  std::vector<std::string> used;   ///< Names of secrets that Substitute() will put in.
  std::vector<std::string> inert;  ///< Names of secrets whose placeholder stays as it is.
  std::optional<Refusal> refusal;  ///< Set: the request must not be forwarded.
  bool terminate = false;          ///< on_violation = "terminate" was hit.
};

struct Plan;

/// What Examine() decided of a request's head, kept so that Substitute() does not decide it again.
/// Good for that very head: who changes it afterwards forgets this. What the store's secrets have
/// become meanwhile is noticed by the store.
class PreparedRequest {
 public:
  PreparedRequest();
  PreparedRequest(PreparedRequest&&) noexcept;
  PreparedRequest& operator=(PreparedRequest&&) noexcept;
  ~PreparedRequest();

 private:
  friend class Store;
  std::unique_ptr<const Plan> plan_;
  uint64_t generation_ = 0;  // Of the store.
  size_t fields_ = 0;        // Of the head.
};

/// A secret as people see it.
struct SecretSummary {
  std::string name;
  std::string hosts;        ///< "api.example.com, *.example.org"
  std::string unavailable;  ///< Why there is no value; empty while there is one.
};

/// Puts values into the body of one request. Its Feed() and Finish() fail with kDenied where the
/// request must go no further: found().refusal says why, and the message says it, too.
///
/// Pause() gives what may have begun a placeholder, unless it has the whole anchor and so is one.
/// Where it was one all the same, its value can't be put in any more, and the request is denied. So
/// a body should have paused for longer than anybody takes to write a placeholder; one that is only
/// looked at loses nothing by a pause.
class BodyFilter : public ByteFilter {
 public:
  /// What was met so far: names that were put in, names whose placeholder stays as it is.
  const Examination& found() const { return found_; }

  /// Whether bytes are held back that may begin a placeholder.
  virtual bool holds() const = 0;

  /// Whether nothing is put in, whatever comes.
  bool only_looks() const { return only_looks_; }

 protected:
  explicit BodyFilter(bool only_looks) : only_looks_(only_looks) {}
  Examination found_;

 private:
  const bool only_looks_;
};

/// Every secret of one sandbox: declarations, placeholders and values.
class Store {
 public:
  Store();
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Declares a secret with its value, and makes its placeholder: the value's public prefix
  /// ("ghp_", "sk-ant-", "AKIA"), this sandbox's random anchor, random characters of the value's
  /// alphabet up to its length, never fewer than 96 random bits; so that no placeholder contains
  /// another. kInvalid for a value that `scrub` or the spec refuse (messages never show the value),
  /// and for a spec that can't hold beside the others: a name declared twice, or two secrets that
  /// would inject one field into one request.
  Status Add(SecretSpec spec, Secret value);

  /// Declares a secret whose value could not be had: its placeholder exists, and its use is
  /// refused with kSecretUnavailable and WHY.
  Status AddUnavailable(SecretSpec spec, std::string why);

  /// The placeholder of NAME, or null.
  const std::string* PlaceholderOf(std::string_view name) const;

  /// Variables for the guest: (name, placeholder) of every secret with `expose`.
  std::vector<std::pair<std::string, std::string>> GuestEnvironment() const;

  bool empty() const;

  /// All secrets, in the order of their declaration.
  std::vector<SecretSummary> List() const;

  /// Whether some secret names a host that this one is: such a host's requests need Examine.
  bool Binds(const HostName& host) const;

  /// Decides what REQUEST may carry to TARGET: finds placeholders in the head (Basic decoded),
  /// checks hosts, methods, paths, ports and places, foreign credentials, what to inject, and
  /// whether a body that may change is signed.
  /// Nothing is changed. Takes the request as the guest and the hooks left it. PREPARED, if not
  /// null, is for Substitute().
  Examination Examine(const RequestTarget& target, const RequestHead& request,
                      PreparedRequest* prepared = nullptr) const;

  /// Decides what TRAILERS of REQUEST, which Examine() allowed, may carry to TARGET: no value is put
  /// into any. A placeholder there is a violation; a credential that is not ours is refused, or
  /// removed from TRAILERS, by the strictest bound secret. A placeholder is no credential.
  Examination ExamineTrailers(const RequestTarget& target, const RequestHead& request,
                              Headers& trailers) const;

  /// Puts the values in, each spelled for its place, and takes away the digests of a body that may
  /// change: call only after Examine() allowed REQUEST for the same TARGET and the
  /// upstream was verified. The caller wipes the head (WipeHead) once it is serialised and sent.
  /// PREPARED comes from Examine(), for the head of which REQUEST is a copy; an empty one, or one
  /// older than a change of the store, costs the decision once more. Returns the refusal that this
  /// comes to since a secret was revoked, say: then REQUEST is unchanged, and must not be
  /// forwarded.
  std::optional<Refusal> Substitute(const RequestTarget& target, RequestHead& request,
                                    const PreparedRequest& prepared = {}) const;

  /// What REQUEST's body to TARGET must pass on its way out, once Examine() allowed REQUEST: puts
  /// values in where a secret's `body` allows, and finds what may not stand there. REQUEST is as
  /// Examine() saw it, without values. Null when no secret asks for it: the body passes as it is.
  /// Refers to nothing of REQUEST; the store outlives it. The bytes fed must be free of content
  /// codings. A value that is rotated meanwhile is put in as it is then, one that is revoked ends
  /// the body with an error.
  std::unique_ptr<BodyFilter> BodySubstituter(const RequestTarget& target,
                                              const RequestHead& request) const;

  /// Whether what BodySubstituter() gives for the same arguments puts out exactly as many bytes as
  /// it is fed, whatever they are: the body's length may be announced as it was. True for none.
  bool KeepsBodyLength(const RequestTarget& target, const RequestHead& request) const;

  /// What a response's body, free of content codings, must pass on its way to the guest: replaces
  /// every value in any of its renderings (see rendering.h) by its placeholder, in as many bytes
  /// where LENGTHS are to be kept. Null when no secret is to be scrubbed. Needs the store no
  /// longer; while that is there, values that it gets are found from then on.
  std::unique_ptr<AnswerFilter> Scrubber(
      AnswerFilter::Lengths lengths = AnswerFilter::Lengths::kMayChange) const;

  /// The same for a response's fields or trailers; a field goes whose name has a value in it, and
  /// what held a value is wiped. Returns whether something changed.
  bool Scrub(Headers& fields) const;

  /// Whether Scrubber() would be other than null.
  bool scrubs() const;

  /// Gives NAME another value, from the next request on, also where it had none any more; its
  /// placeholder stays, whatever the length. The old value is still scrubbed, until 256 later ones
  /// of this store have gone (ScrubBook::kMaxRetired). kNotFound, or as Add(), without a change.
  Status Rotate(std::string_view name, Secret value);

  /// From now on, until Rotate(), the use of NAME is refused (kSecretUnavailable, WHY): its value has
  /// expired. Its values are still scrubbed. kNotFound.
  Status MakeUnavailable(std::string_view name, std::string why);

  /// From now on, until Rotate(), the use of NAME is refused (kSecretUnavailable); its values are
  /// still scrubbed, as after Rotate(). kNotFound.
  Status Revoke(std::string_view name);

  /// Makes SPECS, which a policy that was loaded anew declares, the declarations of this store; VALUES
  /// has a value for each that is new, or gets another one. All of them, or on an error (as of
  /// Add(); and kNotFound for a new one without a value) nothing. What is declared still keeps its
  /// placeholder and, without one in VALUES, its value; `scrub` can't change then. What is not
  /// declared any more is revoked, and belongs to no host.
  Status Redeclare(std::vector<SecretSpec> specs, std::map<std::string, Secret> values);

  /// TEXT with every rendering of a value replaced, as Scrubber() does, also of secrets that are
  /// not scrubbed (unless shorter than 8 bytes): for messages and logs.
  std::string Redact(std::string_view text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Overwrites every value in the head's fields and target before they are freed.
void WipeHead(RequestHead& head);

}  // namespace sallyport::secrets
