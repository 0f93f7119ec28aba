#include "runtime/api/trust_probes.h"

#include <array>

namespace sallyport {
namespace {

constexpr const char* kSystemRoots = "the system's roots";
constexpr const char* kKeepVariables = "keep the sandbox's variables";
constexpr const char* kNssDatabase = "the NSS database in $HOME/.pki/nssdb";
// Where a database is, or the home is mounted, it stays as it is.
constexpr const char* kNssFix =
    "-e HOME=/root, or d=$HOME/.pki/nssdb; [ -e $d ] || d=$HOME/.local/share/pki/nssdb; "
    "certutil -d sql:$d -A -n sallyport -t C,, -i /run/sallyport/ca.pem";

constexpr auto kProbes = std::to_array<TrustProbe>({
    {"curl", "curl", R"(curl -sS -o /dev/null -w 'status %{http_code}\n' "$url")", "^status 403",
     nullptr, "CURL_CA_BUNDLE, or the system's roots", kKeepVariables},
    {"wget", "wget", R"(wget -O /dev/null "$url")", "403 Forbidden", nullptr, kSystemRoots,
     "wget --ca-certificate=/run/sallyport/ca-bundle.pem"},
    {"git", "git", R"(GIT_TERMINAL_PROMPT=0 git ls-remote "$url")", "error: 403", nullptr,
     "GIT_SSL_CAINFO, or the system's roots", "git config --global --unset http.sslCAInfo"},
    {"openssl", "openssl",
     R"(printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$host" |
openssl s_client -quiet -verify_return_error -verify_hostname "$host" -servername "$host" -connect "$host:443")",
     "^HTTP/1.1 403", nullptr, "SSL_CERT_FILE, or the system's roots", kKeepVariables},
    {"python", "python3",
     R"(python3 -c 'import os, urllib.request as u; u.urlopen(os.environ["url"])')",
     "HTTP Error 403", "No module named", "SSL_CERT_FILE, or the system's roots", kKeepVariables},
    {"pip", "pip3",
     R"(pip3 download --no-deps --retries 0 --disable-pip-version-check "${url}x-1-py3-none-any.whl")",
     "HTTP error 403", "No module named", "PIP_CERT",
     "pip reads its own roots (certifi): keep PIP_CERT, or pip --cert "
     "/run/sallyport/ca-bundle.pem"},
    {"uv", "uv", R"(uv --no-config pip install --target uv-target --index-url "$url" x)", "403",
     "No virtual environment|No interpreter", "UV_NATIVE_TLS, UV_SYSTEM_CERTS or SSL_CERT_FILE",
     kKeepVariables},
    {"node", "node",
     R"(node -e 'require("https").get(process.env.url, r => { console.log("status", r.statusCode); r.resume(); })
.on("error", e => console.log(e.message))')",
     "^status 403", nullptr, "NODE_EXTRA_CA_CERTS",
     "its roots are compiled in: keep NODE_EXTRA_CA_CERTS, or node --use-openssl-ca"},
    {"npm", "npm", R"(npm view x --registry "$url" --fetch-retries 0)", "403 Forbidden", nullptr,
     "NPM_CONFIG_CAFILE", "keep NPM_CONFIG_CAFILE, or npm --cafile /run/sallyport/ca-bundle.pem"},
    {"pnpm", "pnpm", R"(pnpm view x --registry "$url")", "403", nullptr, "NODE_EXTRA_CA_CERTS",
     "keep NODE_EXTRA_CA_CERTS"},
    {"yarn", "yarn", R"(yarn info x --registry "$url" --non-interactive)", "403",
     "packageManager|[Uu]nknown [Ss]yntax",
     "NODE_EXTRA_CA_CERTS; from version 2 on YARN_HTTPS_CA_FILE_PATH, too", kKeepVariables},
    {"bun", "bun", R"(bun -e 'console.log("status", (await fetch(process.env.url)).status)')",
     "^status 403", nullptr, "NODE_EXTRA_CA_CERTS",
     "its roots are compiled in: keep NODE_EXTRA_CA_CERTS"},
    {"deno", "deno",
     R"(deno eval 'console.log("status", (await fetch(Deno.env.get("url"))).status)')",
     "^status 403", nullptr, "DENO_CERT, DENO_TLS_CA_STORE", kKeepVariables},
    {"go", "go",
     R"(cat >probe.go <<'END'
package main
import ("fmt"; "net/http"; "os")
func main() {
  answer, err := http.Get(os.Getenv("url"))
  if err != nil { fmt.Println(err); return }
  fmt.Println("status", answer.StatusCode)
}
END
GOTOOLCHAIN=local GOFLAGS= go run probe.go)",
     "^status 403", "could not import|cannot find|not in std",
     "SSL_CERT_FILE, or the system's roots", kKeepVariables},
    {"cargo", "cargo", R"(cargo search --index "sparse+$url" x)", "403",
     "rustup (could not|default)|no such command", "CARGO_HTTP_CAINFO, or the system's roots",
     kKeepVariables},
    {"java", "java",
     R"(cat >Probe.java <<'END'
public class Probe {
  public static void main(String[] arguments) {
    try {
      var connection = (java.net.HttpURLConnection) new java.net.URL(System.getenv("url")).openConnection();
      System.out.println("status " + connection.getResponseCode());
    } catch (Exception failed) {
      System.out.println(failed);  // Its trace would name the compiler that ran this.
    }
  }
}
END
java Probe.java)",
     "^status 403", "compiler|ClassNotFound|Could not find or load|invalid flag",
     "its trust store, or JAVA_TOOL_OPTIONS",
     "keytool -importcert -noprompt -cacerts -storepass changeit -alias sallyport -file "
     "/run/sallyport/ca.pem"},
    {"ruby", "ruby",
     R"(ruby -rnet/http -e 'puts "status " + Net::HTTP.get_response(URI(ENV["url"])).code')",
     "^status 403", "cannot load such file", "SSL_CERT_FILE, or the system's roots",
     kKeepVariables},
    {"perl", "perl",
     R"(perl -MHTTP::Tiny -e '$r = HTTP::Tiny->new(verify_SSL => 1)->get($ENV{url}); print "status $r->{status} $r->{content}"')",
     "^status 403", "must be installed|Can't locate", "SSL_CERT_FILE, or the system's roots",
     kKeepVariables},
    {"php", "php",
     R"(php -r '$c = stream_context_create(["http" => ["ignore_errors" => true]]);
file_get_contents(getenv("url"), false, $c); echo $http_response_header[0] ?? "";')",
     "^HTTP/1.1 403", "wrapper \"https\"", "SSL_CERT_FILE, or the system's roots",
     "set openssl.cafile in php.ini to /run/sallyport/ca-bundle.pem"},
    {"aws", "aws", R"(aws s3 ls --endpoint-url "$url" --no-sign-request)", "403|Forbidden",
     "No module named", "AWS_CA_BUNDLE", "it reads its own roots: keep AWS_CA_BUNDLE"},
    {"gcloud", "gcloud", nullptr, nullptr, nullptr,
     "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE, as it documents",
     "keep the sandbox's variables, or gcloud config set core/custom_ca_certs_file "
     "/run/sallyport/ca-bundle.pem"},
    {"dotnet", "dotnet", nullptr, nullptr, nullptr,
     "SSL_CERT_FILE and SSL_CERT_DIR, as it documents", kKeepVariables},
    {"docker", "docker", nullptr, nullptr, nullptr, "the roots of its daemon, which is elsewhere",
     "give the daemon /run/sallyport/ca.pem in /etc/docker/certs.d"},
    {"podman", "podman", nullptr, nullptr, nullptr,
     "SSL_CERT_FILE, or the system's roots, as Go does",
     "keep the sandbox's variables; a container needs /run/sallyport/ca.pem itself"},
    {"chromium", "chromium",
     R"(HOME=$home chromium --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" --dump-dom "$url")",
     "urn:sallyport:", nullptr, kNssDatabase, kNssFix},
    {"chrome", "google-chrome",
     R"(HOME=$home google-chrome --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" --dump-dom "$url")",
     "urn:sallyport:", nullptr, kNssDatabase, kNssFix},
    // It prints no page, but logs the head of each answer, and stays for a while after that. What
    // it asks for without TLS is off.
    {"firefox", "firefox",
     R"(mkdir profile && printf 'user_pref("network.%s-service.enabled", false);\n' captive-portal connectivity >profile/user.js
MOZ_LOG=nsHttp:3 firefox --headless --profile "$PWD/profile" --screenshot "$PWD/page.png" "$url" >log 2>&1 &
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  sleep 1
  grep -a -m 1 -o 'HTTP/[0-9.]* 403' log && break
done
kill $!)",
     "^HTTP/[0-9.]+ 403", nullptr, "/etc/firefox/policies/policies.json",
     R"(add {"Certificates": {"Install": ["/run/sallyport/ca.pem"]}} to the policies that it has)"},
    {"nss", "tstclnt", nullptr, nullptr, nullptr, kNssDatabase, "-d sql:$HOME/.pki/nssdb"},
    {"playwright", "playwright", nullptr, nullptr, nullptr,
     "Chromium: the NSS database in $HOME/.pki/nssdb; Firefox: PLAYWRIGHT_FIREFOX_POLICIES_JSON; "
     "WebKit: the system's roots",
     "keep the sandbox's variables, and the HOME that it starts with"},
});

// Both modes at once, each in a folder of its own: most of the time is a program's start. `env -i`
// is for what the image's files alone achieve.
constexpr const char* kPrologue = R"(
d=/tmp/sallyport-trust-check
mkdir -p $d/env $d/bare && cd $d || exit 1
limit=
command -v timeout >/dev/null && limit='timeout 60'
verdict() {
  if grep -Eq -e "$2" "$1.out"; then echo yes
  elif [ -n "$3" ] && grep -Eq -e "$3" "$1.out"; then echo '?'
  else echo no; fi
}
said() { grep -v '^[[:space:]]*$' "$1.out" | tail -n 1 | tr -d '\000-\037\177' | cut -c 1-300; }
found() { command -v "$1" >/dev/null; }
untried() { found "$2" && printf '%s\t?\t?\t\n' "$1"; }
probe() {
  found "$2" || return 0
  (cd env && HOME=$d/env exec $limit sh -c "$3") >env.out 2>&1 </dev/null &
  (cd bare && exec env -i PATH="$PATH" HOME=$d/bare home="$home" url="$url" host="$host" \
    $limit sh -c "$3") \
    >bare.out 2>&1 </dev/null &
  wait
  with=$(verdict env "$4" "$5")
  without=$(verdict bare "$4" "$5")
  line=
  [ "$without" = yes ] || line=$(said bare)
  [ "$with" = yes ] || line=$(said env)
  printf '%s\t%s\t%s\t%s\n' "$1" "$with" "$without" "$line"
}
)";

std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace

std::span<const TrustProbe> TrustProbes() {
  return kProbes;
}

std::string TrustScript(std::span<const TrustProbe> probes) {
  const std::string host(kProbedHost);
  std::string script =
      "export host=" + host + " url=https://" + host + "/ home=\"$HOME\"" + kPrologue;
  for (const TrustProbe& probe : probes) {
    const std::string names = " " + Quoted(probe.name) + " " + Quoted(probe.program);
    if (probe.command == nullptr) {
      script += "untried" + names + "\n";
      continue;
    }
    const char* cannot = probe.cannot == nullptr ? "" : probe.cannot;
    script += "probe" + names + " " + Quoted(probe.command) + " " + Quoted(probe.trusted) + " " +
              Quoted(cannot) + "\n";
  }
  return script + "echo end\n";
}

}  // namespace sallyport
