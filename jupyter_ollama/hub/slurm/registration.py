"""The address of a job: the job writes it into the shared folder, the front reads it there.

It includes a certificate that the job has made. Ports of a node that are free again can be taken by
any user of the cluster; without the key of this certificate no other process gets tokens of users.
"""

from __future__ import annotations

import json
import os
import ssl
import stat
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

FILE = "address.json"
LOG = "job-{}.log"
_MAX_BYTES = 2**16
_TAIL = 4096
_VALID_DAYS = 366
"""Longer than any time limit of a job."""


@dataclass(frozen=True)
class Address:
    """Where a job listens: its id at Slurm, the URL of its server, and its certificate as PEM."""

    job: int
    url: str
    certificate: str

    def trust(self) -> ssl.SSLContext:
        """Return the settings of TLS by which a client accepts this job and no other server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The certificate is the proof, by whichever name the node is reached.
        context.check_hostname = False
        context.load_verify_locations(cadata=self.certificate)
        return context


def prepare(folder: Path) -> None:
    """Make the shared folder and the file for the address. Raises OSError, PermissionError too.

    The file exists before the job writes it, since network file systems cache that a name is
    missing.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(
            f"{folder} must belong to the user of the endpoint and be closed to others (mode 700)"
        )
    os.close(os.open(folder / FILE, os.O_WRONLY | os.O_CREAT, 0o600))


def write(folder: Path, address: Address) -> None:
    """Write the address of this job. Raises OSError."""
    # In place: a renamed file would be a new name, which caches do not know for a while.
    opened = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        json.dump(asdict(address), file)


def read(folder: Path, job: int) -> Address | None:
    """Return the address that a job has written, None before that."""
    try:
        with (folder / FILE).open(encoding="utf-8") as file:
            address = Address(**json.loads(file.read(_MAX_BYTES)))
            return address if address.job == job else None
    except (OSError, ValueError, TypeError):
        return None


def last_words(folder: Path, job: int) -> str:
    """Return the last line of a job's log, "" if there is none."""
    try:
        with (folder / LOG.format(job)).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def remove_logs(folder: Path, keep: int) -> None:
    """Remove all logs of jobs but the newest."""
    logs = [path for path in folder.glob(LOG.format("*")) if path.is_file()]
    for path in sorted(logs, key=lambda path: path.stat().st_mtime)[: len(logs) - keep]:
        path.unlink(missing_ok=True)


def make_certificate(host: str, folder: Path) -> tuple[Path, Path]:
    """Write a new self-signed certificate and its key; return their paths. Raises OSError."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "job.crt", folder / "job.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return certificate, private
