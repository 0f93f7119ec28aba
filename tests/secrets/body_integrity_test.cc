#include "secrets/body_integrity.h"

#include "tests/secrets/body_fixture.h"

namespace sallyport::secrets {
namespace {

const std::string kValue = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB";

struct IntegrityStore {
  IntegrityStore() {
    SecretSpec spec = BodySpec("KEY", SecretSpec::Body::kJson);
    spec.foreign = SecretSpec::Foreign::kPass;
    AddTo(store, std::move(spec), kValue);
  }
  Store store;
};

RequestHead With(std::vector<HeaderField> fields, const char* type = "application/json") {
  RequestHead head = PostOf(type);
  for (HeaderField& field : fields) head.headers.fields().push_back(std::move(field));
  return head;
}

TEST_CASE("digests of a body that may change go, and others stay") {
  const IntegrityStore integrity;
  const std::vector<HeaderField> digests = {{"Content-MD5", "x"},
                                            {"digest", "sha-256=x"},
                                            {"Content-Digest", "sha-256=:x:"},
                                            {"repr-digest", "sha-256=:x:"},
                                            {"X-Amz-Checksum-Crc32", "x"},
                                            {"x-goog-hash", "md5=x"}};
  RequestHead changed = With(digests);
  changed.headers.Add("x-note", "stays");
  CHECK_FALSE(integrity.store.Examine(TargetOf(), changed).refusal);
  integrity.store.Substitute(TargetOf(), changed);
  CHECK(changed.headers.fields().size() == 2);  // Its type and x-note.
  RequestHead other_type = With(digests, "image/png");
  integrity.store.Substitute(TargetOf(), other_type);
  CHECK(other_type.headers.fields().size() == 1 + digests.size());
  RequestHead other_host = With(digests);
  integrity.store.Substitute(TargetOf("other.test"), other_host);
  CHECK(other_host.headers.fields().size() == 1 + digests.size());
}

TEST_CASE("a request whose body is signed is refused where its body may change, with the reason") {
  const IntegrityStore integrity;
  for (const HeaderField& field : std::vector<HeaderField>{
           {"x-amz-content-sha256",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
           {"x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
           {"authorization", "AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=x"},
           {"content-encoding", "aws-chunked"},
           {"X-Bz-Content-Sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
           {"Signature-Input", "sig1=(\"@method\" \"content-digest\");created=1"},
           {"Signature", "keyId=\"k\",headers=\"(request-target) digest\",signature=\"x\""},
           {"Authorization", "Signature keyId=\"k\",headers=\"Digest\""},
           {"X-Hub-Signature-256", "sha256=x"}}) {
    CAPTURE(field.name, field.value);
    const RequestHead head = With({field});
    const Examination examination = integrity.store.Examine(TargetOf(), head);
    REQUIRE(examination.refusal);
    CHECK(examination.refusal->reason == Reason::kSecretWrongPlace);
    CHECK(examination.refusal->detail.find("the request carries") != std::string::npos);
    CHECK_FALSE(integrity.store.Examine(TargetOf(), With({field}, "image/png")).refusal);
    CHECK_FALSE(integrity.store.Examine(TargetOf("other.test"), head).refusal);
  }
}

TEST_CASE("a signature that leaves the body out does not stand in the way") {
  for (const std::vector<HeaderField>& fields : std::vector<std::vector<HeaderField>>{
           {{"x-amz-content-sha256", "UNSIGNED-PAYLOAD"},
            {"authorization", "AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=x"}},
           {{"x-bz-content-sha1", "do_not_verify"}},
           {{"signature-input", "sig1=(\"@method\" \"@path\")"}, {"signature", "sig1=:x:"}}}) {
    CHECK_FALSE(BodyIntegrityConflict(With(fields).headers));
  }
  CHECK(BodyIntegrityConflict(
      With({{"x-amz-content-sha256", "UNSIGNED-PAYLOAD"},
            {"authorization", "AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-checksum-crc32"}})
          .headers));
  CHECK(BodyIntegrityConflict(With({{"x-amz-content-sha256", "UNSIGNED-PAYLOAD"},
                                    {"x-amz-content-sha256", "UNSIGNED-PAYLOAD"}})
                                  .headers));
}

}  // namespace
}  // namespace sallyport::secrets
