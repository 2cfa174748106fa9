"""SeaweedFS closed to everybody without credentials: from a folder to its security.toml, its command line and its environment.

By default its filer and its gRPC ports serve anyone; see docs of `weed scaffold -config=security`."""

from __future__ import annotations

import datetime
import secrets
from pathlib import Path

from lab.providers.embedded.layout import own_folder
from lab.providers.embedded.ports import LOOPBACK
from lab.rundir import write_secret

PARTS = ("master", "volume", "filer", "s3", "admin")
GRPC_NAMES = ("volume", "master", "filer", "s3", "admin", "worker", "mq", "msg_broker", "msg_agent", "client", "iam")
JWT_KEYS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")


def lock_down(home: Path) -> None:
    """Writes $HOME/.seaweedfs: random JWT keys, and one node certificate of a throw-away CA that every gRPC connection must show."""
    own_folder(home, 0o700)
    folder = home / ".seaweedfs"
    own_folder(folder, 0o700)
    authority, certificate, key = _certificates()
    for name, text in (("ca.crt", authority), ("node.crt", certificate), ("node.key", key)):
        write_secret(folder / name, text)
    lines = [f'[{name}]\nkey = "{secrets.token_hex(32)}"' for name in JWT_KEYS]
    lines += [f'[grpc]\nca = "{folder}/ca.crt"']
    lines += [f'[grpc.{name}]\ncert = "{folder}/node.crt"\nkey = "{folder}/node.key"' for name in GRPC_NAMES]
    write_secret(folder / "security.toml", "\n".join(lines) + "\n")


def arguments(data: Path, run: Path, numbers: list[int]) -> list[str]:
    """`numbers` are ten ports: HTTP and gRPC of each part. Unset gRPC ports would be HTTP + 10000, which passes 65535."""
    given = [
        flag
        for part, http, grpc in zip(PARTS, numbers[::2], numbers[1::2], strict=True)
        for flag in (f"-{part}.port={http}", f"-{part}.port.grpc={grpc}")
    ]
    return [
        *("-logtostderr", "mini", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", f"-dir={data}"),
        *given,
        *("-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-volume.preStopSeconds=0", "-disableHttp", f"-filer.localSocket={run}/filer.sock", f"-s3.localSocket={run}/s3.sock"),
    ]


def leaves(numbers: list[int]) -> tuple[str, ...]:
    """Sockets that it always makes below /tmp (they ask for the certificate, too) and that a kill leaves there."""
    return tuple(f"/tmp/seaweedfs-{part}-grpc-{grpc}.sock" for part, grpc in zip(PARTS, numbers[1::2], strict=True))


def _certificates() -> tuple[str, str, str]:
    """PEM texts: the CA's certificate, the node's, the node's key. The CA's key is forgotten."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)
    authority_key, node_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("lab throw-away CA", "lab node")]

    def certificate(name: x509.Name, key: ec.EllipticCurvePublicKey, is_authority: bool) -> str:
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode()

    pem = node_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return certificate(names[0], authority_key.public_key(), True), certificate(names[1], node_key.public_key(), False), pem
