# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user writes into `env` and `args` is taken literally, or rejected where it meant something else.

systemd expands nothing in a value and vLLM reads options from a file, so what a shell would do with
`$NAME`, quotes or a line of options does not happen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from .._base.errors import AscendError
from .._base.systemd import MANAGED
from .file_names import relative_option, relative_variable
from .options import Option

# Lists the variables that look like something else and are meant as they are written.
AS_WRITTEN = "vllm_service_env_as_written"

# A word of a name, at its end or with PASSWORD anywhere: HF_TOKEN, AWS_SECRET_ACCESS_KEY, MY_APIKEY.
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|(?:API)?KEY|SECRET|PASSPHRASE|CREDENTIALS?)$|PASSWORD|PASSWD", re.IGNORECASE
)
# These name a place or a number of something, whatever comes before.
_NO_SECRET_NAME = re.compile(r"_(?:FILE|PATH|DIR|LENGTH|SIZE|ID)$", re.IGNORECASE)
# A switch or a small number, such as the id of a token.
_NO_SECRET = re.compile(r"[0-9]{0,6}|true|false|yes|no|on|off", re.IGNORECASE)
_URL_CREDENTIALS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@?#]*:[^/\s@]+@")
_EXPANSION = re.compile(r"\$(?:[A-Za-z_]|[{(])")
# Options behind a value, or a line that goes on.
_SHELL_LINE = re.compile(r"\s--[A-Za-z]|\\\s*$")
_ENV_OPTION = re.compile(r"(?s)(?:--env[= ]|-e ?)([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_QUOTED = re.compile(r"(?s)(?P<quote>['\"]).*(?P=quote)")


def check_env(env: object, what: str, as_written: Collection[str] = ()) -> None:
    """Reject variables that are secrets, and values that a shell would change.

    what: names the mapping in errors, which never show a value. as_written: names of variables that
    are taken as they are.

    Raises AscendError.
    """
    if not isinstance(env, Mapping):
        return  # reported where the variables are read
    for name, value in env.items():
        if name in as_written or name in MANAGED or not isinstance(value, (str, int, float)):
            continue
        problem = _problem(str(name), str(value))
        if problem:
            raise AscendError(
                f"{what}: {name} {problem} If the value is meant as it is written, add {name} to"
                f" {AS_WRITTEN}."
            )


def env_of_options(options: Iterable[object]) -> dict[str, str]:
    """The variables that options of podman or docker set, `--env=NAME=VALUE` or `-e NAME=VALUE`."""
    found: dict[str, str] = {}
    before = ""
    for option in map(str, options):
        text = f"-e {option}" if before in ("-e", "--env") else option
        pair = _ENV_OPTION.fullmatch(text)
        if pair:
            found[pair[1]] = pair[2]
        before = option
    return found


def _problem(name: str, value: str) -> str | None:
    """What is wrong with a variable and the way out, behind its name."""
    named = _SECRET_NAME.search(name) and not _NO_SECRET_NAME.search(name)
    if named and not _NO_SECRET.fullmatch(value.strip()):
        return (
            "looks like a secret, and env is written to a file that everybody on the host can read."
            " Write it in the service's secret_env."
        )
    if _URL_CREDENTIALS.search(value):
        return (
            "has a user and a password in an address, and env is written to a file that everybody on"
            " the host can read. Write it in the service's secret_env."
        )
    if _EXPANSION.search(value):
        way = "Write the complete value."
        if name == "LD_LIBRARY_PATH":
            way = "Add the directories to vllm_service_library_path, or write the complete value."
        return f"refers to another variable with $, and nothing expands it. {way}"
    if value != value.strip():
        return "has a blank or the end of a line before or after its value. Remove it."
    if _QUOTED.fullmatch(value) and len(value) > 1:
        return "has quotes around its value, which would become a part of it. Remove them."
    if relative_variable(name, value):
        return "names a file by a path that depends on where its process runs. Write the absolute path."
    if value.endswith("\\"):
        return "ends with a backslash, as a line of a shell that goes on. Remove it."
    return None


def check_option(option: Option, value: str, label: str, alone: bool) -> None:
    """Reject a text of `args` that would reach the engine as something else than it looks like.

    alone: it is not an item of a list. Raises AscendError, beginning with `label`.
    """
    # In JSON outer blanks do not count, and in a template they do.
    if not value.strip().startswith(("{", "[")) and option.name != "chat-template":
        _check_text(option, value, label, alone)
    if relative_option(option.name, value):
        raise AscendError(
            f"{label} is {value!r}, which depends on where the engine runs. Write the absolute path."
        )


def _check_text(option: Option, value: str, label: str, alone: bool) -> None:
    if value != value.strip():
        raise AscendError(
            f"{label} is {value!r}, with a blank or the end of a line before or after it, which vLLM"
            " takes for a part of the value. Remove it."
        )
    if _SHELL_LINE.search(value):
        raise AscendError(
            f"{label} is {value!r}, which looks like a line for a shell. Write each option of vLLM"
            " as a key of args, without dashes, and its value alone."
        )
    if _QUOTED.fullmatch(value) and len(value) > 1:
        raise AscendError(
            f"{label} is {value!r}, with quotes in it, which vLLM takes for a part of the value."
            " Remove one pair of them."
        )
    if alone and option.many and re.search(r"\s", value):
        raise AscendError(
            f"{label} is {value!r}, one text with blanks in it, and the option takes several values."
            " Write a list, with one item for each."
        )
