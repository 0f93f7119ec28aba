"""A private certificate authority made with the openssl command."""

import pathlib
import subprocess


def _openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """Certificates lie as NAME.pem (with the key as NAME.key) in FOLDER; its own is ca.pem."""

    def __init__(self, folder, name="Test Root"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self.folder / "ca.pem"
        self._key("ca")
        _openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", f"/CN={name}", "-days", "30",
                 "-addext", "basicConstraints=critical,CA:TRUE",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", "ca.pem",
                 cwd=self.folder)
        (self.folder / "index.txt").touch()
        (self.folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndir=.\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n"
            "certificate=ca.pem\nprivate_key=ca.key\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
            "copy_extensions=none\n[p]\ncommonName=supplied\n")

    def _key(self, stem):
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{stem}.key",
                 cwd=self.folder)

    def issue(self, stem, names, start="20240101000000Z", end="20491231235959Z",
              purpose="serverAuth"):
        """A leaf for NAMES; returns (certificate, key)."""
        self._key(stem)
        alternatives = ",".join(f"DNS:{name}" for name in names)
        (self.folder / f"{stem}.ext").write_text(
            f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage={purpose}\n"
            f"subjectAltName={alternatives}\nauthorityKeyIdentifier=keyid\n"
            f"subjectKeyIdentifier=hash\n")
        _openssl("req", "-new", "-key", f"{stem}.key", "-subj", f"/CN={names[0][:60]}",
                 "-out", f"{stem}.csr", cwd=self.folder)
        _openssl("ca", "-batch", "-config", "ca.cnf", "-in", f"{stem}.csr", "-out", f"{stem}.pem",
                 "-notext", "-extfile", f"{stem}.ext", "-startdate", start, "-enddate", end,
                 cwd=self.folder)
        return self.folder / f"{stem}.pem", self.folder / f"{stem}.key"

    def self_signed(self, stem, name):
        """A certificate that no authority vouches for."""
        self._key(stem)
        _openssl("req", "-x509", "-new", "-key", f"{stem}.key", "-subj", f"/CN={name}",
                 "-addext", f"subjectAltName=DNS:{name}", "-days", "30", "-out", f"{stem}.pem",
                 cwd=self.folder)
        return self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
