# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificate that a gateway makes itself where nobody gives it one."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import tempfile
from typing import Sequence

from .._base.errors import HostError
from .._base.files import read_text
from .._base.process import find, run

FILE = "tls.pem"
DAYS = 3650
_PUBLIC = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.S)


def missing(path: str, names: Sequence[str]) -> bool:
    """Whether one has to be made. names: of the host; none where it is given, or not needed."""
    return bool(names) and read_text(path) is None


def public(pem: str | None) -> str:
    """The certificates in a file, without the key."""
    return "".join(_PUBLIC.findall(pem or ""))


def make(names: Sequence[str]) -> str:
    """A self-signed certificate for host names and addresses, with its key, in PEM. Raises HostError."""
    program = find("openssl")
    if not program:
        raise HostError("there is no openssl on this host. Install the package openssl.")
    folder = tempfile.mkdtemp(prefix=".vllm-gateway-")
    try:
        key, certificate = os.path.join(folder, "key"), os.path.join(folder, "certificate")
        command = [
            *(program, "req", "-x509", "-nodes", "-days", str(DAYS)),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-subj", f"/CN={names[0][:64]}"),
            *("-addext", "subjectAltName=" + ",".join(map(_entry, names))),
            *("-keyout", key, "-out", certificate),
        ]
        done = run(command, 60)
        if done.status:
            raise HostError(f"openssl makes no certificate for {', '.join(names)}: {done.errors}")
        return (read_text(certificate) or "") + (read_text(key) or "")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _entry(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
