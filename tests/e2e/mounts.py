#!/usr/bin/env python3
"""What a sandbox may write to is nothing that the host runs, obeys or takes for a value: such a start is refused, or
the guest finds it read-only."""

import os
import shutil
import subprocess

from harness import PLAIN, ROOT, World, main, test

VALUE = "ghp_TheValueOfThisToken000000000000001"
HOW = "move it elsewhere, mount a folder that does not hold it, or mount read-only"


def put(path, text, user=ROOT, mode=0o644):
    """A file of USER's; the folders that lead to it are made."""
    missing = [p for p in [path.parent, *path.parent.parents] if not p.exists()]
    for folder in reversed(missing):
        folder.mkdir()
        os.chown(folder, user, user)
    path.write_text(text)
    os.chown(path, user, user)
    path.chmod(mode)
    return path


def mounting(source, mode="rw", more=""):
    return f'sandbox {{ mounts = {{ {{ "{source}", "/w", mode = "{mode}" }} }} }}\n{more}'


def secret(source):
    return f'secret "T" {{ from = {source}, hosts = "whoami.example.test" }}\n'


def start(world, file, command="echo started", user=ROOT, **more):
    return world.run(command, user=user, options=["-f", str(file)], **more)


def refused(got, *words):
    assert got.code == 125 and "started" not in got.text, got
    for word in (*words, HOW):
        assert word in got.errors, got


@test("a policy in a folder that the sandbox may write to is refused, and told where to go")
def _(world):
    for user in (ROOT, PLAIN):
        project = world.folder_for(user)
        for place in ("policy.lua", "cfg/policy.lua"):
            file = put(project / place, mounting(project), user)
            refused(start(world, file, user=user), f"the policy {file} lies in {project}")
        # The example of the documents: the folder beside the policy is the sandbox's.
        put(project / "work/input", "", user)
        file = put(project / "policy.lua", mounting("./work"), user)
        assert start(world, file, "ls /w", user).expect(0).text == "input\n"
        file = put(project / "policy.lua", mounting(project, "ro"), user)
        got = start(world, file, "cat /w/policy.lua; cat /w/work/input && echo seen", user)
        assert got.text == "seen\n", got


@test("a link to the policy is as good as the policy: who may replace it may not be the sandbox")
def _(world):
    folder = world.folder_for(ROOT)
    real = put(folder / "conf/real.lua", mounting(folder / "project"))
    put(folder / "project/file", "")
    os.symlink("../conf/real.lua", folder / "project/policy.lua")
    refused(start(world, folder / "project/policy.lua"), "project/policy.lua lies in")
    os.symlink("project", folder / "link")
    refused(start(world, folder / "link/policy.lua"))
    (folder / "project/sub").mkdir()
    refused(start(world, folder / "project/sub/../../conf/real.lua"))
    assert start(world, folder / "project/../conf/real.lua").expect(0).text == "started\n"
    assert start(world, real).expect(0).text == "started\n"


@test("a folder that the host has at two paths is one folder")
def _(world):
    folder = world.folder_for(ROOT)
    file = put(folder / "project/cfg/policy.lua", mounting(folder / "again"))
    again = folder / "again"
    again.mkdir()
    subprocess.run(["mount", "--bind", folder / "project", again], check=True)
    try:
        refused(start(world, file), "policy.lua lies in")
        other = put(folder / "elsewhere/policy.lua", mounting(folder / "outer"))
        (folder / "outer/inner").mkdir(parents=True)
        subprocess.run(["mount", "--bind", folder / "elsewhere", folder / "outer/inner"], check=True)
        refused(start(world, other), "elsewhere/policy.lua lies in")
    finally:
        subprocess.run(["umount", again])
        subprocess.run(["umount", folder / "outer/inner"])


@test("a command whose program, interpreter or argument the sandbox may replace is not run at all")
def _(world):
    folder = world.folder_for(ROOT)
    project = folder / "project"
    ran = f"touch {folder}/ran; echo {VALUE}"
    put(project / "tok.sh", f"#!/bin/sh\n{ran}\n", mode=0o755)
    put(project / "data", VALUE + "\n")
    os.symlink("/bin/sh", project / "shell")
    os.symlink("project/tok.sh", folder / "tok")
    for place, line in (("direct", f"#!{project}/shell"), ("by-env", f"#!/usr/bin/env -S {project}/shell"),
                        ("by-path", "#!/usr/bin/env planted")):
        put(folder / place, f"{line}\n{ran}\n", mode=0o755)
    environments = {"PATH": f"/usr/bin:/bin:{project}"}
    put(project / "planted", f"#!/bin/sh\n{ran}\n", mode=0o755)
    for source, env in (('command { "./project/tok.sh" }', {}), ('command { "./tok" }', {}),
                        (f'command {{ "{project}/tok.sh" }}', {}), ('command { "./direct" }', {}),
                        ('command { "./by-env" }', {}), ('command { "./by-path" }', environments),
                        ('command { "cat", "project/data" }', {}),
                        (f'command {{ "cat", "--file={project}/data" }}', {}),
                        ('command { "git", "-C", "project", "status" }', {}),
                        (f'command {{ "echo", "{VALUE}" }}', environments),
                        (f'command {{ "echo", "{VALUE}" }}', {"PATH": "project/bin:/usr/bin"}),
                        ('oauth2 { token_url = "https://whoami.example.test/t", client_id = "x",'
                         ' client_secret = command { "./tok" } }', {})):
        file = put(folder / "policy.lua", mounting(project, more=secret(source)))
        refused(start(world, file, env=env), "policy.lua:2: secret T: command")
        assert not (folder / "ran").exists(), source
    # The same from where the sandbox can't reach.
    put(folder / "own/tok.sh", f"#!/bin/sh\n{ran}\n", mode=0o755)
    file = put(folder / "policy.lua", mounting(project, more=secret('command { "./own/tok.sh" }')))
    assert start(world, file).expect(0).text == "started\n" and (folder / "ran").exists()
    file = put(folder / "policy.lua", mounting(project, "ro", secret('command { "./project/tok.sh" }')))
    assert start(world, file).expect(0).text == "started\n"


@test("the file of a secret, a key or certificates that the sandbox may replace is refused, by a link too")
def _(world):
    folder = world.folder_for(ROOT)
    project = folder / "project"
    put(project / "token", VALUE + "\n")
    put(folder / "token", VALUE + "\n")
    os.symlink("../token", project / "link")
    shutil.copy(world.ca.ca, project / "ca.pem")
    for more in (secret('file "project/token"'), secret('file "project/link"'),
                 'upstream { ca = "project/ca.pem" }\n', 'upstream { proxy = file "project/token" }\n',
                 'upstream "whoami.example.test" { ca = "project/ca.pem" }\n'):
        refused(start(world, put(folder / "policy.lua", mounting(project, more=more))), str(project))
    file = put(folder / "policy.lua", mounting(project))
    refused(world.run("echo started", options=["-f", str(file), "--upstream-ca", f"{project}/ca.pem"]),
            "the certificates")


@test("the state folder and the audit log are not the sandbox's to replace")
def _(world):
    home = world.home(PLAIN)
    file = put(world.folder_for(PLAIN) / "policy.lua", mounting(home), PLAIN)
    refused(start(world, file, user=PLAIN), "the state folder", str(home))
    folder = world.folder_for(ROOT)
    refused(world.run("echo started", options=["-v", f"{folder}:/w"], audit=folder / "audit.jsonl"),
            "the audit log")


@test("a value is not taken from a folder that the sandbox is shown: a file that replaces it would be seen")
def _(world):
    folder = world.folder_for(ROOT)
    put(folder / "project/token", VALUE + "\n")
    file = put(folder / "policy.lua", mounting("project", "ro", secret('file "project/token"')))
    got = start(world, file)
    assert got.code == 125 and "would be seen" in got.errors and "started" not in got.text, got


@test("a template, or another mount, is not what a link of the sandbox's says")
def _(world):
    folder = world.folder_for(ROOT)
    put(folder / "private/key", VALUE + "\n")
    put(folder / "project/data/file", "fine\n")
    put(folder / "project/config", "plain\n")
    for mounts, options in (('{ "project", "/w", mode = "rw" }, { "project/data", "/data" }', []),
                            ('{ "project", "/w", mode = "rw" }', ["-v", f"{folder}/project/data:/data:ro"])):
        file = put(folder / "policy.lua", f"sandbox {{ mounts = {{ {mounts} }} }}\n")
        options = ["-f", str(file), *options]
        got = world.run("cat /data/file; mv /w/data /w/old; ln -s ../private /w/data", options=options)
        assert got.expect(0).text == "fine\n", got
        refused(world.run("echo started; cat /data/key", options=options), "the mount's source")
        (folder / "project/data").unlink()
        (folder / "project/old").rename(folder / "project/data")
    file = put(folder / "policy.lua", 'sandbox { mounts = { { "project", "/w", mode = "rw" },\n'
               '{ "project/config", "/etc/config", template = true } } }\n')
    refused(start(world, file), "the template")


@test("a reload takes no text from where the sandbox may write, whatever was there at the start")
def _(world):
    folder = world.folder_for(ROOT)
    project = folder / "project"
    put(project / "file", "")
    file = put(folder / "policy.lua", mounting(project))
    running = world.start(["sh", "-c", "echo ready; read line"], options=["-f", str(file)])
    try:
        assert running.process.stdout.readline() == b"ready\n"
        sandbox = next(w for w in world.sandboxctl("ls").text.split() if w.startswith("sp-"))
        evil = put(project / "policy.lua", mounting(project, more="allow.http { host = any }\n"))
        os.symlink("project/policy.lua", folder / "by-link.lua")
        os.symlink("../policy.lua", project / "back.lua")
        command = put(folder / "command.lua", mounting(project, more=secret('command { "./project/x" }')))
        value = put(folder / "value.lua", mounting(project, more=secret('file "project/file"')))
        for other in (evil, folder / "by-link.lua", project / "back.lua", command, value):
            got = world.sandboxctl("policy", "reload", sandbox, str(other))
            assert got.code == 1 and "nothing was changed" in got.errors and HOW in got.errors, got
        assert world.sandboxctl("policy", "reload", sandbox).expect(0)
    finally:
        running.finish(b"\n")


def git(folder, *words):
    settings = ["-c", "user.name=x", "-c", "user.email=x@example.test", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True,
                   env={"PATH": os.environ["PATH"], "HOME": str(folder)})


# Every way to make the host's git run something by what lies in the folder already.
PLANT = """cd /w
for g in .git .git/modules/lib nested/.git; do
  printf '[core]\\n\\tfsmonitor = touch %s; false\\n' "$1" >>$g/config && echo wrote $g/config
  printf '#!/bin/sh\\ntouch %s\\n' "$1" >$g/hooks/post-index-change && chmod +x $g/hooks/post-index-change
  mv $g $g.old && echo moved $g
done 2>/dev/null
mkdir evil; git init -q evil/git; printf '[core]\\n\\tfsmonitor = touch %s; false\\n' "$1" >>evil/git/.git/config
echo "gitdir: ../evil/git/.git" >lib/.git && echo wrote lib/.git
mv nested other && echo moved nested
echo ../../evil/git/.git >.git/worktrees/side/commondir && echo wrote commondir
echo changed >file; git -c safe.directory='*' add file && echo added
"""


@test("git on the host runs nothing of what the guest plants in the repositories that were there")
def _(world):
    for user in (ROOT, PLAIN):
        folder = world.folder_for(user)
        project = folder / "project"
        for name in ("library", "project", "project/nested"):
            (folder / name).mkdir()
            git(folder / name, "init", "-q")
            put(folder / name / "file", "one\n")
            git(folder / name, "add", "file")
            git(folder / name, "commit", "-q", "-m", "one")
        git(project, "submodule", "add", "-q", str(folder / "library"), "lib")
        git(project, "worktree", "add", "-q", str(folder / "side"))
        subprocess.run(["chown", "-R", f"{user}:{user}", folder], check=True)
        file = put(folder / "policy.lua", mounting(project), user)
        got = start(world, file, ["sh", "-c", PLANT, "sh", str(folder / "planted")], user)
        assert got.text == "added\n", got  # Who works there can commit as ever.
        assert "is a git work tree that the sandbox may write to" in got.errors, got
        shutil.rmtree(project / "evil")
        for place in (project, project / "lib", project / "nested", folder / "side"):
            subprocess.run(["git", "-c", "safe.directory=*", "status"], cwd=place, check=True,
                           capture_output=True)
        assert not (folder / "planted").exists()


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
