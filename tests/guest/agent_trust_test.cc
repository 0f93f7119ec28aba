#include <catch2/catch.hpp>

#include "tests/guest/agent_client.h"
#include "tests/guest/test_certificate.h"
#include "tests/guest/test_sandbox.h"

namespace sallyport::guest {
namespace {

const std::string kCa = "-----BEGIN CERTIFICATE-----\nZ2F0ZQ==\n-----END CERTIFICATE-----\n";
const std::string kRoots = "-----BEGIN CERTIFICATE-----\ncm9vdA==\n-----END CERTIFICATE-----";
constexpr const char* kDebian = "/etc/ssl/certs/ca-certificates.crt";
constexpr const char* kRedHat = "/etc/pki/tls/certs/ca-bundle.crt";

const TestSandbox::Options kPlain;

struct Session {
  explicit Session(const TestSandbox::Options& options)
      : sandbox(options), client(std::move(sandbox.connection())) {}
  std::string Content(const std::string& path) { return client.Run({"cat", path}).out; }
  TestSandbox sandbox;
  AgentClient client;
};

std::string FailureOf(const TestSandbox::Options& options, const Trust& trust) {
  Session session(options);
  session.client.SendHello();
  session.client.SendTrust(trust);
  session.client.UntilClosed();
  REQUIRE(session.client.failure());
  CHECK_FALSE(session.client.trusted());
  return session.client.failure()->message;
}

TEST_CASE("the gate's CA joins every bundle that the image has") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{kDebian, kRoots}, {kRedHat, kRoots + "\n"}}});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content(kDebian) == kRoots + "\n" + kCa);
  CHECK(session.Content(kRedHat) == kRoots + "\n" + kCa);
  CHECK(session.Content("/run/sallyport/ca-bundle.pem") == kRoots + "\n" + kCa);
  CHECK(session.Content("/run/sallyport/ca.pem") == kCa);
  CHECK(session.Content("/etc/ssl/certs/0a1b2c3d.0") == kCa);
  CHECK(session.client.Run({"stat", "-c", "%a", "/run/sallyport/ca.pem"}).out == "644\n");
}

TEST_CASE("a bundle that ends with the CA already is left as it is") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{kDebian, kRoots + kCa}, {"/etc/ssl/certs/0a1b2c3d.0", kCa}}});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content(kDebian) == kRoots + kCa);
  CHECK(session.client.Shell("ls /etc/ssl/certs").out == "0a1b2c3d.0\nca-certificates.crt\n");
}

TEST_CASE("a hashed name that is taken leads to the next one") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{"/etc/ssl/certs/0a1b2c3d.0", kRoots}}});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content("/etc/ssl/certs/0a1b2c3d.0") == kRoots);
  CHECK(session.Content("/etc/ssl/certs/0a1b2c3d.1") == kCa);
}

TEST_CASE("in an image without roots the CA is the only one") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {}});
  // Without the newline that PEM ends with.
  session.client.Open({kCa.substr(0, kCa.size() - 1), "0a1b2c3d"});
  CHECK(session.Content("/run/sallyport/ca-bundle.pem") == kCa);
}

TEST_CASE("several names of one bundle add the CA once") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{kDebian, kRoots + "\n"}},
                   .links = {{"/etc/ssl/cert.pem", "certs/ca-certificates.crt"},
                             {"/etc/pki/tls/certs/ca-bundle.crt", kDebian},
                             {"/etc/pki/tls/cert.pem", "certs/ca-bundle.crt"}}});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content(kDebian) == kRoots + "\n" + kCa);
  CHECK(session.Content("/etc/pki/tls/cert.pem") == kRoots + "\n" + kCa);
}

TEST_CASE("Red Hat's layout, where all names lead below /etc/pki, has the CA in each") {
  if (!TestSandbox::Possible()) return;
  const std::string extracted = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
  Session session({.files = {{extracted, kRoots + "\n"}, {"/etc/pki/tls/openssl.cnf", ""}},
                   .links = {{"/etc/pki/tls/cert.pem", extracted},
                             {"/etc/pki/tls/certs/ca-bundle.crt", extracted},
                             {"/etc/ssl/certs", "../pki/tls/certs"}}});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content(extracted) == kRoots + "\n" + kCa);
  CHECK(session.Content("/run/sallyport/ca-bundle.pem") == kRoots + "\n" + kCa);
  CHECK(session.Content("/etc/pki/tls/certs/0a1b2c3d.0") == kCa);
}

TEST_CASE("a bundle file beside the folder, as some images have it, gets the CA") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{"/etc/ssl/cert.pem", kRoots}}});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content("/etc/ssl/cert.pem") == kRoots + "\n" + kCa);
  CHECK(session.Content("/run/sallyport/ca-bundle.pem") == kRoots + "\n" + kCa);
}

TEST_CASE("a name of a bundle that leads nowhere is passed over") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{kRedHat, kRoots}}, .links = {{kDebian, "/nowhere"}}});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content("/run/sallyport/ca-bundle.pem") == kRoots + "\n" + kCa);
  CHECK(session.client.Run({"ls", "/nowhere"}).out.empty());
}

TEST_CASE("where the certificates are read-only the variables lead to a bundle with the CA") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{kDebian, kRoots}}, .read_only = "/etc"});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content(kDebian) == kRoots);
  CHECK(session.Content("/run/sallyport/ca-bundle.pem") == kRoots + "\n" + kCa);
  CHECK(session.client.Shell("cat $SSL_CERT_FILE").out == kRoots + "\n" + kCa);
}

// A store without entries: magic, version, number, SHA-1.
std::string EmptyJavaStore() {
  return std::string("\xfe\xed\xfe\xed\0\0\0\2\0\0\0\0", 12) + std::string(20, 'x');
}

TEST_CASE("a Java's trust store gets the CA, and no variable is needed") {
  if (!TestSandbox::Possible()) return;
  Session session(
      {.files = {{kDebian, kRoots}, {"/opt/java/openjdk/lib/security/cacerts", EmptyJavaStore()}},
       .links = {{"/etc/pki/java/cacerts", "/opt/java/openjdk/lib/security/cacerts"}}});
  session.client.Open({kCa, "0a1b2c3d"});
  const std::string store = session.Content("/opt/java/openjdk/lib/security/cacerts");
  CHECK(store.substr(8, 4) == std::string("\0\0\0\1", 4));
  CHECK(store.substr(store.size() - 24, 4) == "gate");
  CHECK(session.client.Run({"env"}).out.find("JAVA_TOOL_OPTIONS") == std::string::npos);
  CHECK(session.client.Run({"ls", "/run/sallyport"}).out == "ca-bundle.pem\nca.pem\n");
}

TEST_CASE("a Java's store of another format is left, and a variable names one with all roots") {
  if (!TestSandbox::Possible()) return;
  Session session(
      {.files = {{kDebian, kRoots}, {"/opt/java/openjdk/lib/security/cacerts", "PKCS #12"}}});
  session.client.Open({kCa, "0a1b2c3d"});
  CHECK(session.Content("/opt/java/openjdk/lib/security/cacerts") == "PKCS #12");
  const std::string store = session.Content("/run/sallyport/cacerts.jks");
  CHECK(store.substr(0, 12) == std::string("\xfe\xed\xfe\xed\0\0\0\2\0\0\0\2", 12));
  CHECK(store.find("root") != std::string::npos);
  CHECK(store.find("gate") != std::string::npos);
  CHECK(session.client.Shell("echo $JAVA_TOOL_OPTIONS").out ==
        "-Djavax.net.ssl.trustStore=/run/sallyport/cacerts.jks "
        "-Djavax.net.ssl.trustStorePassword=changeit\n");
}

TEST_CASE("a home gets an NSS database that has the CA, once") {
  if (!TestSandbox::Possible()) return;
  Session session({});
  session.client.Open({kTestCa, "0a1b2c3d"});
  session.client.Run({"true"});
  CHECK(session.client.Shell("cd ~/.pki; ls; ls nssdb; head -c 15 nssdb/*").out ==
        "nssdb\ncert9.db\nkey4.db\n"
        "==> nssdb/cert9.db <==\nSQLite format 3\n==> nssdb/key4.db <==\nSQLite format 3");
  CHECK(session.Content("/root/.pki/nssdb/cert9.db").find("Test Gate") != std::string::npos);
  session.client.Shell("rm ~/.pki/nssdb/*");
  CHECK(session.client.Shell("ls ~/.pki/nssdb").out.empty());
}

TEST_CASE("the home of a program's own environment gets an NSS database") {
  if (!TestSandbox::Possible()) return;
  Session session({});
  session.client.Open({kTestCa, "0a1b2c3d"});
  session.client.RunExec({.argv = {"true"}, .env = {{"HOME", "/srv/new"}}});
  CHECK(session.client.Shell("ls /srv/new/.pki/nssdb").out == "cert9.db\nkey4.db\n");
}

TEST_CASE("an NSS database that is there stays as it is, and is not put in the shade") {
  if (!TestSandbox::Possible()) return;
  for (const std::string folder : {"/root/.pki/nssdb", "/root/.local/share/pki/nssdb"}) {
    Session session({.files = {{folder + "/cert9.db", "mine"}}});
    session.client.Open({kTestCa, "0a1b2c3d"});
    const std::vector<std::pair<std::string, std::string>> home = {{"HOME", "/root"}};
    session.client.RunExec({.argv = {"true"}, .env = home});
    CHECK(session.client.Shell("find /root -type f").out == folder + "/cert9.db\n");
    CHECK(session.Content(folder + "/cert9.db") == "mine");
  }
}

TEST_CASE("a home that is mounted, or can't be written, gets no NSS database") {
  if (!TestSandbox::Possible()) return;
  for (const TestSandbox::Options& options :
       {TestSandbox::Options{.mounted = "/root"}, TestSandbox::Options{.read_only = "/root"}}) {
    Session session(options);
    session.client.Open({kTestCa, "0a1b2c3d"});
    for (const char* home : {"/root", "/root/below/it", "relative", ""}) {
      session.client.RunExec({.argv = {"true"}, .env = {{"HOME", home}}});
    }
    CHECK(session.client.Shell("find /root").out == "/root\n");
  }
}

TEST_CASE("Firefox is told of the CA, unless the image has policies for it") {
  if (!TestSandbox::Possible()) return;
  constexpr const char* kPolicies = "/etc/firefox/policies/policies.json";
  Session session({});
  session.client.Open({kCa, "0a1b2c3d"});
  session.client.Run({"true"});
  CHECK(session.Content(kPolicies) ==
        R"({"policies": {"Certificates": {"Install": ["/run/sallyport/ca.pem"]}}})"
        "\n");
  CHECK(session.client.Shell("cat $PLAYWRIGHT_FIREFOX_POLICIES_JSON").out ==
        session.Content(kPolicies));
  Session other({.files = {{kPolicies, "{}"}}});
  other.client.Open({kCa, "0a1b2c3d"});
  other.client.Run({"true"});
  CHECK(other.Content(kPolicies) == "{}");
  Session opt({.files = {{"/opt/firefox/distribution/policies.json", "{}"}}});
  opt.client.Open({kCa, "0a1b2c3d"});
  opt.client.Run({"true"});
  CHECK(opt.Content(kPolicies).empty());
}

TEST_CASE("programs are told of the CA by their environment") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{kDebian, kRoots}}});
  session.client.Open({kCa, "0a1b2c3d"});
  const std::string env = session.client.Run({"env"}).out;
  CHECK(env.find("\nSSL_CERT_FILE=/run/sallyport/ca-bundle.pem\n") != std::string::npos);
  CHECK(env.find("\nNODE_EXTRA_CA_CERTS=/run/sallyport/ca.pem\n") != std::string::npos);
  const Stream own = session.client.RunExec(
      {.argv = {"sh", "-c", "echo $SSL_CERT_FILE"}, .env = {{"SSL_CERT_FILE", "/mine"}}});
  CHECK(own.out == "/mine\n");
}

TEST_CASE("without a gate's CA nothing is written and no variable set") {
  if (!TestSandbox::Possible()) return;
  Session session({.files = {{kDebian, kRoots}}});
  session.client.Open({});
  CHECK(session.Content(kDebian) == kRoots);
  CHECK(session.client.Run({"env"}).out.find("CERT") == std::string::npos);
  CHECK(session.client.Shell("ls -A /run /root").out == "/root:\n\n/run:\n");
}

TEST_CASE("a bundle that can't be extended is an error") {
  if (!TestSandbox::Possible()) return;
  // A FIFO must not be waited for either.
  const std::string message = FailureOf({.fifo = kDebian}, {kCa, "0a1b2c3d"});
  CHECK(message.find(kDebian) != std::string::npos);
}

TEST_CASE("a CA that would become another file's name or content is refused") {
  if (!TestSandbox::Possible()) return;
  FailureOf(kPlain, {kCa, "../../x"});
  FailureOf(kPlain, {kCa, "0A1B2C3D"});
  FailureOf(kPlain, {kCa, ""});
  FailureOf(kPlain, {"not PEM", "0a1b2c3d"});
}

}  // namespace
}  // namespace sallyport::guest
