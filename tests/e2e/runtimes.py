#!/usr/bin/env python3
"""The HTTP clients that node and Java bring along, over HTTP/1.1 and HTTP/2, with a secret."""

import shutil
import subprocess

from harness import World, main, skip, test
from harness.secrecy import unseen

VALUE = "tok_R3alValueForRuntimes0123456789abcdefgh"
POLICY = """
allow.http { host = { "whoami.example.test", "mirror.example.test" } }
secret "TOKEN" { from = env "TOKEN", hosts = { "mirror.example.test", "whoami.example.test" } }
"""

# Speaks both protocols. Answers each piece as it comes, with what VALUE begins with behind it, and
# trailers.
SERVER = """
const [address, certificate, key, value] = process.argv.slice(1);
const fs = require('fs');
const options = {cert: fs.readFileSync(certificate), key: fs.readFileSync(key), allowHTTP1: true};
const server = require('http2').createSecureServer(options, (request, response) => {
  const right = request.headers.authorization === 'Bearer ' + value ? 'right' : 'wrong';
  response.writeHead(200, {'x-right': right, 'x-version': request.httpVersion, 'trailer': 'x-end'});
  request.on('data', piece => response.write(piece.toString() + 'tok_R3a'));
  request.on('end', () => { response.addTrailers({'x-end': 'kept'}); response.end(); });
});
server.listen(443, address, () => console.log('ready'));
"""


def server(world):
    if hasattr(world, "mirror"):
        return
    if not shutil.which("node", path="/usr/bin:/bin:/usr/local/bin"):
        skip("no node")
    subprocess.run(["ip", "addr", "replace", "11.0.0.90/32", "dev", "lo"], check=True)
    world.dns.zone["mirror.example.test"] = ["11.0.0.90"]
    certificate, key = world.ca.issue("mirror", ["mirror.example.test"])
    world.mirror = subprocess.Popen(
        ["node", "-e", SERVER, "11.0.0.90", str(certificate), str(key), VALUE],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert world.mirror.stdout.readline() == b"ready\n"


def run(world, command, **more):
    got = world.run(command, policy=POLICY, env={"TOKEN": VALUE}, timeout=90, **more).expect(0)
    unseen(got, VALUE)
    return got.text


# Each piece is sent once the answer to the one before has come.
FETCH = """
let go;
const body = new ReadableStream({ start(controller) { go = controller; } });
const text = new TextEncoder(), back = new TextDecoder();
(async () => {
  go.enqueue(text.encode('piece 0'));
  const answer = await fetch('https://mirror.example.test/', {method: 'POST', body, duplex: 'half',
    headers: {authorization: 'Bearer ' + process.env.TOKEN}});
  console.log(answer.status, answer.headers.get('x-right'), answer.headers.get('x-version'));
  let got = '', pieces = 0;
  for await (const piece of answer.body) {
    got += back.decode(piece);
    if (!got.endsWith('tok_R3a')) continue;
    if (++pieces == 20) go.close(); else go.enqueue(text.encode('piece ' + pieces));
  }
  console.log(pieces, got.split('tok_R3a')[19]);
})();
"""

HTTP2 = """
const session = require('http2').connect('https://mirror.example.test');
const stream = session.request({':method': 'POST', ':path': '/',
                                authorization: 'Bearer ' + process.env.TOKEN});
let got = '', pieces = 0;
stream.on('response', head => console.log(head[':status'], head['x-right'], head['x-version']));
stream.on('trailers', trailers => console.log(trailers['x-end']));
stream.on('data', piece => {
  got += piece.toString();
  if (!got.endsWith('tok_R3a')) return;
  if (++pieces == 20) stream.end(); else stream.write('piece ' + pieces);
});
stream.on('end', () => { console.log(pieces, got.split('tok_R3a')[19]); session.close(); });
stream.write('piece 0');
"""


@test("node's fetch streams both ways at once, with a secret")
def _(world):
    server(world)
    assert run(world, ["node", "-e", FETCH]) == "200 right 1.1\n20 piece 19\n"


@test("node's http2 client streams both ways at once, with a secret and trailers")
def _(world):
    server(world)
    lines = run(world, ["node", "-e", HTTP2]).splitlines()
    assert sorted(lines) == ["20 piece 19", "200 right 2.0", "kept"], lines


@test("node's https gets a page, and a refusal as one")
def _(world):
    server(world)
    code = """
for (const path of ['whoami.example.test/hello', 'evil.example.test/'])
  require('https').get('https://' + path, answer => answer.resume().on('end', () =>
    console.log(answer.statusCode, path)));
"""
    assert sorted(run(world, ["node", "-e", code]).splitlines()) == [
        "200 whoami.example.test/hello", "403 evil.example.test/"]


JAVA = """
import java.net.*;
import java.net.http.*;
public class Client {
  public static void main(String[] arguments) throws Exception {
    var to = "https://mirror.example.test/";
    var credential = "Bearer " + System.getenv("TOKEN");
    var client = HttpClient.newHttpClient();
    var body = "x".repeat(300000);
    for (var version : HttpClient.Version.values()) {
      var request = HttpRequest.newBuilder(URI.create(to)).version(version)
          .header("Authorization", credential).POST(HttpRequest.BodyPublishers.ofString(body));
      var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
      System.out.println(answer.version() + " " + answer.statusCode() + " "
          + answer.headers().firstValue("x-right").get() + " "
          + answer.body().replace("tok_R3a", "").equals(body));
    }
    var old = (HttpURLConnection) new URL(to).openConnection();
    old.setRequestProperty("Authorization", credential);
    old.setDoOutput(true);
    old.setChunkedStreamingMode(1000);
    old.getOutputStream().write(body.getBytes());
    old.getOutputStream().close();
    System.out.println(old.getResponseCode() + " " + old.getHeaderField("x-right") + " "
        + new String(old.getInputStream().readAllBytes()).replace("tok_R3a", "").equals(body));
    var denied = HttpRequest.newBuilder(URI.create("https://evil.example.test/"));
    System.out.println(client.send(denied.build(), HttpResponse.BodyHandlers.ofString()).statusCode());
  }
}
"""


@test("Java's HttpClient speaks HTTP/1.1 and HTTP/2, HttpURLConnection HTTP/1.1, with a secret")
def _(world):
    if not shutil.which("javac", path="/usr/bin:/bin"):
        skip("no java that compiles")
    server(world)
    source = world.folder_for(0) / "Client.java"
    source.write_text(JAVA)
    lines = run(world, ["java", "/Client.java"],
                options=["-v", f"{source}:/Client.java:ro"]).splitlines()
    assert lines == ["HTTP_1_1 200 right true", "HTTP_2 200 right true", "200 right true",
                     "403"], lines


@test("nothing is left behind")
def _(world):
    if hasattr(world, "mirror"):
        world.mirror.terminate()
        world.mirror.wait()
        world.mirror.stdout.close()
    world.nothing_left()


main(World)
