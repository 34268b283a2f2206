"""Everything over TLS with certificates on both sides."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from distributed import Client, wait
from distributed.security import Security

import tasks
import wire

DAY_COUNT = "2"


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def make_authority(directory, name):
    directory.mkdir(exist_ok=True)
    openssl(
        directory,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAY_COUNT, "-subj", f"/CN={name}"),
        *("-keyout", f"{name}-key.pem", "-out", f"{name}.pem"),
    )


def make_certificate(directory, authority, name):
    # An extension makes it version 3; the native scheduler refuses certificates of version 1.
    (directory / "extensions").write_text("basicConstraints=CA:FALSE\n")
    openssl(
        directory,
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
        *("-keyout", f"{name}-key.pem", "-out", f"{name}.csr"),
    )
    openssl(
        directory,
        *("x509", "-req", "-days", DAY_COUNT, "-in", f"{name}.csr", "-out", f"{name}.pem", "-CAcreateserial"),
        *("-CA", f"{authority}.pem", "-CAkey", f"{authority}-key.pem", "-extfile", "extensions"),
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("needs the program openssl to make certificates")
    directory = tmp_path_factory.mktemp("certificates")
    make_authority(directory, "ca")
    make_certificate(directory, "ca", "peer")
    make_authority(directory, "other-ca")
    make_certificate(directory, "other-ca", "stranger")
    return directory


def security(directory, authority="ca", name="peer"):
    return Security(
        tls_ca_file=str(directory / f"{authority}.pem"),
        tls_client_cert=str(directory / f"{name}.pem"),
        tls_client_key=str(directory / f"{name}-key.pem"),
        require_encryption=True,
    )


@pytest.fixture
def encrypted(new_cluster, certificates):
    flags = [
        *("--tls-ca-file", str(certificates / "ca.pem"), "--tls-cert", str(certificates / "peer.pem")),
        *("--tls-key", str(certificates / "peer-key.pem")),
    ]
    return new_cluster(
        workers={"one": ["--nthreads", "1"], "two": ["--nthreads", "1"]},
        scheduler_args=[*flags, "--protocol", "tls"],
        worker_args=[*flags, "--protocol", "tls"],
        security=security(certificates),
    )


@pytest.mark.limit(90)
def test_work_over_tls(encrypted, certificates):
    assert encrypted.address.startswith("tls://")
    with encrypted.client() as client:
        futures = client.map(tasks.increment, range(200))
        wait(futures)
        assert client.gather(futures) == list(range(1, 201))
        assert client.gather(futures[:5], direct=True) == [1, 2, 3, 4, 5]
        assert all(address.startswith("tls://") for address in client.nthreads())
        data = client.scatter({"big": b"x" * 3_000_000}, broadcast=True)["big"]
        assert client.submit(len, data).result() == 3_000_000
        with pytest.raises(ValueError, match="over tls"):
            client.submit(tasks.fail, "over tls").result()
        assert set(client.run(lambda: 1).values()) == {1}
    # Somebody without a certificate of this authority is not let in, and somebody who does not encrypt neither.
    with pytest.raises(OSError):
        Client(encrypted.address, security=security(certificates, "other-ca", "stranger"), timeout=2)
    with wire.connect(encrypted.host_and_port) as connection:
        connection.sendall(wire.frames_of(wire.HANDSHAKE))
        with pytest.raises((EOFError, ConnectionError, ValueError, MemoryError)):
            wire.read_message(connection)
    with encrypted.client() as client:
        assert client.submit(tasks.increment, 1).result() == 2
