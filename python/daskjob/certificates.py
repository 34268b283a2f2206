"""The certificates of a `distributed.Security`, as the programs' flags name them: in files.

Invariant: what is a text here lies in a directory that only this user can read, for as long as the cluster lives.
"""

from __future__ import annotations

import os
import tempfile

from distributed.security import Security


class Certificates:
    def __init__(self, security: Security | None):
        self.security = security
        self._directory: tempfile.TemporaryDirectory | None = None

    def flags(self, role: str) -> list[str]:
        """For the scheduler or a worker; the client's where the role has none of its own."""
        if self.security is None:
            return []
        found = {"--tls-ca-file": ("ca", self.security.tls_ca_file)}
        for flag, part in (("--tls-cert", "cert"), ("--tls-key", "key")):
            own = getattr(self.security, f"tls_{role}_{part}")
            found[flag] = (f"{role}-{part}", own or getattr(self.security, f"tls_client_{part}"))
        return [word for flag, (name, value) in found.items() if value for word in (flag, self._file(name, value))]

    def _file(self, name: str, value: str) -> str:
        if "\n" not in value:
            return value
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="daskjob-certificates-")
        path = os.path.join(self._directory.name, f"{name}.pem")
        with open(path, "w") as file:
            file.write(value)
        return path

    def remove(self) -> None:
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None
