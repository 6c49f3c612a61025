# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Environment variables as systemd reads them, in a unit and in a file of variables.

The rules are those of systemd.exec(5), systemd.syntax(7) and systemd.unit(5): `Environment=` takes
C escapes between double quotes and expands specifiers (`%`) afterwards, `$` means nothing there;
`EnvironmentFile=` takes a POSIX shell's double quotes, where a backslash goes before `"`, `\\`,
`` ` `` and `$` only, and newlines are literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .errors import AscendError
from .values import bad_character, kind_of, plain

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The part between `@` and `.service`, which is the name of a file too.
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_WORD = re.compile(r"[A-Za-z0-9/_][A-Za-z0-9._/+:@-]*")

# Variables that the role sets, and what a user writes instead.
MANAGED = {
    "ASCEND_RT_VISIBLE_DEVICES": "the service's `cards`",
    "HCCL_IF_BASE_PORT": "the placement; its base is a role variable",
    "VLLM_API_KEY": "the service's `api_key`",
    "INFEROPS_CARDS": "the service's `cards`",
    "INFEROPS_PROGRAM": "the role; the engine is vllm_service_executable",
    "INFEROPS_IMAGE": "the role; the image is vllm_runtime_image",
    "INFEROPS_VERSION": "the role; the version is vllm_service_engine_version",
    "INFEROPS_GUARD": "the role; a service over several hosts has it",
    "INFEROPS_GROUP_SECRET": "vllm_service_cluster_secret",
    "INFEROPS_DIGEST": "the role, to see whether a service runs what is written",
    "INFEROPS_SECRET_DIGEST": "the role, to see whether a service runs with the secrets written",
}

# The kernel takes at most 32 pages for one NAME=value of a process, its final NUL included
# (MAX_ARG_STRLEN, execve(2)); a service with a longer one cannot be started.
LENGTH_MAX = 32 * 4096 - 1


def _checked(name: object, value: object) -> tuple[str, str]:
    """Name and value of a variable as exact texts. Errors never show the value."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise AscendError(
            f"environment variable {name!r}: a name is made of ASCII letters, digits and `_`, and"
            " does not begin with a digit."
        )
    if isinstance(value, bool):
        raise AscendError(
            f"environment variable {name} is a boolean, and programs differ in how they spell one."
            ' Write the text that is meant between quotes: "1", "true", "True".'
        )
    if value is None or not isinstance(value, (str, int, float)):
        raise AscendError(
            f"environment variable {name} is {kind_of(value)}; a text or a number is needed."
        )
    text = str(plain(value, f"environment variable {name}"))
    char = bad_character(text)
    if char:
        raise AscendError(
            f"environment variable {name} has the character {char} in its value, which systemd"
            " does not accept. Remove it, or pass the value in a file."
        )
    if len(f"{name}={text}".encode()) > LENGTH_MAX:
        raise AscendError(
            f"environment variable {name} is longer than {LENGTH_MAX} bytes with its name, which"
            " the kernel passes to no process. Pass the value in a file."
        )
    return "".join([name]), text


def _variables(mapping: object, what: str) -> dict[str, str]:
    """A user's mapping of variables, checked, by name; null leaves a variable out."""
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping):
        raise AscendError(
            f"{what} is {kind_of(mapping)}; a mapping of names to values is needed,"
            " {OMP_NUM_THREADS: 10}."
        )
    pairs = [(name, value) for name, value in mapping.items() if value is not None]
    return dict(sorted(_checked(name, value) for name, value in pairs))


def _reject_managed(names: Iterable[str], what: str) -> None:
    for name in names:
        if name in MANAGED:
            raise AscendError(f"{what} may not set {name}. It is set by {MANAGED[name]}.")


def unit_word(value: object) -> str:
    """A path or name that can be written in a unit without any quoting.

    Raises AscendError for what systemd or the shell that a unit starts could read in another way.
    """
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise AscendError(
            f"{value!r} is not valid in a systemd unit as a path or name. Use letters, digits and"
            " . _ / + : @ - only."
        )
    return "".join([value])


def escaped(text: str) -> str:
    """A text as it is written between double quotes in a unit: C escapes, and `%` doubled."""
    for char, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("%", "%%")):
        text = text.replace(char, written)
    return text


def environment_line(name: object, value: object) -> str:
    """A line `Environment="NAME=value"` for a unit, without its newline.

    `value` is a string or a number. Raises AscendError that names the variable, never the value,
    for an invalid name, a boolean, a null, and a character that systemd does not accept.
    """
    key, text = _checked(name, value)
    return f'Environment="{key}={escaped(text)}"'


def environment_file(mapping: object) -> str:
    """The text of a file for `EnvironmentFile=`, sorted by name; empty for no variables.

    Variables that the role manages are accepted, for the role writes them with this. Raises
    AscendError as `environment_line` does.
    """
    text = ""
    for name, value in _variables(mapping, "the environment").items():
        quoted = re.sub(r'(["\\`$])', r"\\\1", value)
        text += f'{name}="{quoted}"\n'
    return text


def service_environment(service: Mapping[str, object]) -> list[str]:
    """The lines for a service's `env`, sorted by name.

    Raises AscendError for a variable that the role manages and for what `environment_line` rejects.
    """
    what = f"service {service.get('name')}, env"
    variables = _variables(service.get("env"), what)
    _reject_managed(variables, what)
    return [environment_line(name, value) for name, value in variables.items()]


def service_secrets(service: Mapping[str, object]) -> dict[str, str]:
    """A service's secret variables: its `secret_env`, and `api_key` as VLLM_API_KEY.

    For `environment_file`, into a file that only root reads. A null `api_key` is none; an empty one
    is rejected, because it would open the server to everybody.
    Raises AscendError for a variable that the role manages and for one that is in `env` too.
    """
    what = f"service {service.get('name')}, secret_env"
    variables = _variables(service.get("secret_env"), what)
    _reject_managed(variables, what)
    for name in variables:
        env = service.get("env")
        if isinstance(env, Mapping) and env.get(name) is not None:
            raise AscendError(
                f"service {service.get('name')}: {name} is in env and in secret_env. Leave it"
                " in one of them."
            )
    key = service.get("api_key")
    if key is not None:
        if not isinstance(key, str):
            raise AscendError(
                f"service {service.get('name')}: api_key is {kind_of(key)}; a text is needed: write"
                " it between quotes."
            )
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise AscendError(
                f"service {service.get('name')}: api_key is empty, or has a character that no client"
                " can send in a header (a space, the end of a line). Remove it; leave api_key out"
                " where everybody may use the server."
            )
        _checked("VLLM_API_KEY", key)
        variables["VLLM_API_KEY"] = "".join([key])
    return dict(sorted(variables.items()))
