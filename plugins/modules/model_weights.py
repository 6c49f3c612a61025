#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module inferops.ascend.model_weights."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_weights
short_description: Ensure that the weights of services are complete on a host
version_added: 0.2.0
description:
  - Checks whether the directory of each service's weights has a complete model. That is its
    C(config.json), a tokenizer, and every shard of the index with the length that its own header
    promises. Weights are not read for that, so a directory of hundreds of GB takes milliseconds.
  - What is missing is downloaded from where O(source), O(models) or the service's own C(weights) name,
    into a directory C(NAME.part) beside the wanted one, and switched into place when it is complete and
    every checksum that the source gives has been found right. An interrupted run is
    continued. Services that share a directory share the work.
  - The model's own C(config.json) is compared with each service before the weights are fetched.
  - A directory that was made by hand is never changed. Where it is not complete, the task fails and lists
    what is missing.
  - The work is done by a process of its own on the host, which is asked each O(interval) seconds how
    far it is. It continues where the controller or the connection goes away; the next run finds what
    it downloaded, or waits for it.
options:
  services:
    description:
      - Services as the lookup P(inferops.ascend.model#lookup) gives them. Of each C(name), C(model),
        C(path), C(huggingface), C(modelscope), C(weights), C(kind), C(max_model_len),
        C(tensor_parallel_size), C(args), C(env) and C(state) are read.
      - C(weights) is a source, or a mapping with C(source), C(id) and C(revision) on a hub,
        C(location) for rsync, nfs and an archive on the host or at an address, C(src) for an archive
        on the controller, C(sha256) of an archive, C(skip) and C(verify).
      - By default those of C(vllm_service_instances), or C(vllm_weights_services) where that is set.
    type: list
    elements: dict
  tables:
    description:
      - Model tables of one's own, as in the option C(tables) of the lookup
        P(inferops.ascend.model#lookup), so that the facts of their models are known. By
        default those of the role C(vllm_service).
    type: list
    elements: str
    version_added: 1.0.0
  weights_dir:
    description:
      - Directory on the host under which models lie by hub id. A service's C(path) goes before.
        By default C(vllm_weights_dir), else C(vllm_service_weights_dir).
    type: path
  source:
    description:
      - Where weights come from for services that do not name a source.
      - V(local) fetches nothing, V(huggingface) and V(modelscope) are the hubs, V(rsync) and
        V(nfs) copy from O(location), V(nfs) being a share that is mounted on the host.
      - V(archive) is a tar file, which only a service's C(weights) or O(models) can name. A service
        with a C(path) is V(local) unless one of them names another source.
    type: str
    choices: [local, huggingface, modelscope, rsync, nfs, archive]
    default: local
  models:
    description:
      - Sources or mappings as in a service's C(weights), by the name of a model or service, or by
        hub id.
    type: dict
    default: {}
  location:
    description:
      - What V(rsync) or V(nfs) takes hub ids below, such as C(/mnt/models), C(store:/models) or
        C(rsync://store/models).
    type: str
    default: ""
  endpoints:
    description:
      - Addresses of C(huggingface) and C(modelscope), such as those of mirrors.
    type: dict
    default: {}
  huggingface_token:
    description:
      - Token for models that are not for everybody.
    type: str
  modelscope_token:
    description:
      - Token for models that are not for everybody.
    type: str
  skip:
    description:
      - Patterns of files not to fetch, beside those that the engine never reads.
    type: list
    elements: str
    default: []
  verify:
    description:
      - Hash a directory that was made by hand once, and compare it with the hub's checksums. What was
        found right is not hashed again until its size or time changes.
    type: bool
    default: false
  checks:
    description:
      - V(error), V(warning) or V(ignore) for C(heads), C(context), C(quantization), C(kind) and
        C(model), which are what a model's C(config.json) is compared with a service by.
    type: dict
    default: {}
  env:
    description:
      - Environment of every service; of it C(VLLM_ALLOW_LONG_MAX_MODEL_LEN) is read. By default
        C(vllm_weights_env), else C(vllm_service_env).
    type: dict
  packages:
    description:
      - Where the hubs' own clients are installed, each into an environment of its own, when a hub is
        asked for the first time, and where their packages come from. By default
        C(vllm_weights_packages), else what the role C(vllm_runtime) installs from.
    type: dict
    version_added: 1.0.0
    suboptions:
      directory:
        description:
          - Directory of the environments C(huggingface) and C(modelscope).
        type: path
        default: /opt/vllm/tools
      index_url:
        description:
          - Package index.
        type: str
        default: ""
      extra_index_urls:
        description:
          - More package indexes.
        type: list
        elements: str
        default: []
      wheels:
        description:
          - Directory of wheels on the host.
        type: str
        default: ""
      offline:
        description:
          - Take wheels alone and ask no index.
        type: bool
        default: false
      environment:
        description:
          - Environment of the installation, such as a proxy.
        type: dict
        default: {}
  user:
    description:
      - Account of the services, which has to be able to read the weights. By default
        C(vllm_weights_user), else C(vllm_service_user). When empty, a user with no other rights than those
        of O(groups).
    type: str
  groups:
    description:
      - Groups that it is in, beside those that the host knows of. By default C(vllm_weights_groups), else
        C(vllm_service_groups).
    type: list
    elements: str
  connections:
    description:
      - Files of a model that are fetched at once.
    type: int
    default: 4
  interval:
    description:
      - Seconds between two checks of how far a fetch is.
    type: float
    default: 10
  progress:
    description:
      - Show how far a fetch is.
    type: bool
    default: true
  phase:
    description:
      - Filled in by the action plugin, which runs the module more than once.
    type: str
    choices: [check, start, follow]
    default: check
  jobs:
    description:
      - Filled in by the action plugin.
    type: list
    elements: dict
    default: []
  addresses:
    description:
      - Filled in by the action plugin with addresses that are secret.
    type: dict
    default: {}
  run:
    description:
      - Filled in by the action plugin.
    type: str
    default: ""
  patience:
    description:
      - Filled in by the action plugin.
    type: float
    default: 0
extends_documentation_fragment:
  - inferops.ascend.attributes
attributes:
  diff_mode:
    description: Returns what has changed, in diff mode.
  platform:
    description: Target systems.
notes:
  - Needs to run as root.
  - Proxies are taken from C(http_proxy), C(https_proxy) and C(no_proxy), which C(environment) of the
    play sets.
  - V(rsync) needs the program on the host, and a connection that asks for nothing.
"""

EXAMPLES = r"""
- name: Check that the weights are there and complete
  inferops.ascend.model_weights:
  become: true

- name: Download them from ModelScope, one of them from a share
  inferops.ascend.model_weights:
    services: "{{ query('inferops.ascend.model', vllm_service_instances) }}"
    source: modelscope
    models:
      Qwen2.5-72B: {source: nfs, location: /mnt/models/Qwen2.5-72B-Instruct}
  become: true
"""

RETURN = r"""
weights:
  description:
    - One entry for each directory, with C(directory), C(model), C(services), C(source), C(state),
      C(fetched), C(bytes), C(missing), C(files) and C(commit).
  returned: when the host was asked
  type: list
  elements: dict
"""

import grp
import os
import pwd
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base import disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._weights import check
from ansible_collections.inferops.ascend.plugins.module_utils._weights import run as weights_run
from ansible_collections.inferops.ascend.plugins.module_utils._weights.check import Account
from ansible_collections.inferops.ascend.plugins.module_utils._weights.hubs import Clients, Packages
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Job


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "dict"},
            "tables": {"type": "list", "elements": "str"},
            "weights_dir": {"type": "path"},
            "source": {
                "type": "str",
                "choices": ["local", "huggingface", "modelscope", "rsync", "nfs", "archive"],
                "default": "local",
            },
            "models": {"type": "dict", "default": {}},
            "location": {"type": "str", "default": ""},
            "endpoints": {"type": "dict", "default": {}},
            "huggingface_token": {"type": "str", "no_log": True},
            "modelscope_token": {"type": "str", "no_log": True},
            "skip": {"type": "list", "elements": "str", "default": []},
            "verify": {"type": "bool", "default": False},
            "checks": {"type": "dict", "default": {}},
            "env": {"type": "dict"},
            "packages": {
                "type": "dict",
                "options": {
                    "directory": {"type": "path", "default": "/opt/vllm/tools"},
                    "index_url": {"type": "str", "default": "", "no_log": True},
                    "extra_index_urls": {
                        "type": "list",
                        "elements": "str",
                        "default": [],
                        "no_log": True,
                    },
                    "wheels": {"type": "str", "default": ""},
                    "offline": {"type": "bool", "default": False},
                    "environment": {"type": "dict", "default": {}, "no_log": True},
                },
            },
            "user": {"type": "str"},
            "groups": {"type": "list", "elements": "str"},
            "connections": {"type": "int", "default": 4},
            "interval": {"type": "float", "default": 10},
            "progress": {"type": "bool", "default": True},
            "phase": {"type": "str", "choices": ["check", "start", "follow"], "default": "check"},
            "jobs": {"type": "list", "elements": "dict", "default": []},
            "addresses": {"type": "dict", "default": {}, "no_log": True},
            "run": {"type": "str", "default": ""},
            "patience": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    # Weights and tools are for other users to read, whatever umask root works with.
    os.umask(0o022)
    given = module.params
    named = {key: value for key, value in (given["packages"] or {}).items() if value is not None}
    clients = Clients(Packages(**named), keep=not module.check_mode)
    try:
        if given["phase"] == "follow":
            state = weights_run.follow(given["run"], given["patience"])
            module.exit_json(changed=False, **state._asdict())
        jobs = [_job(each, given) for each in given["jobs"]]
        account = _account(given["user"] or "", given["groups"] or [])
        records = [check.check(job, account, clients) for job in jobs]
        if given["phase"] == "check":
            module.exit_json(
                changed=False,
                records=[record._asdict() for record in records],
                room=check.room(records),
            )
        for job, record in zip(jobs, records):
            if record.world_writable and record.ours:
                _tighten(job.directory)
        pending = [job for job, record in zip(jobs, records) if record.state in ("fetch", "verify")]
        run = weights_run.start(pending, clients, given["connections"]) if pending else ""
    except (HostError, OSError) as error:
        module.fail_json(msg=disk.message(error))
    finally:
        clients.close()
    module.exit_json(changed=True, run=run)


def _job(given: dict, params: dict) -> Job:
    token = params.get("{}_token".format(given.get("source"))) or ""
    fields = {key: value for key, value in given.items() if key != "skip"}
    address = (params.get("addresses") or {}).get(given["directory"])
    if address:
        fields["location"] = address
    return Job(skip=tuple(given.get("skip") or ()), token=token, **fields)


def _account(name: str, groups: list) -> Account:
    gids = []
    for group in groups:
        try:
            gids.append(grp.getgrnam(group).gr_gid)
        except KeyError:
            continue
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        # Where each service has a user to itself, what counts are the groups that all have in common.
        return Account(name or "the user of a service", None, gids)
    return Account(name, entry.pw_uid, gids + os.getgrouplist(name, entry.pw_gid))


def _tighten(directory: str) -> None:
    for at, _directories, names in os.walk(directory):
        for path in [at] + [os.path.join(at, name) for name in names]:
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            if mode & stat.S_IWOTH and not os.path.islink(path):
                os.chmod(path, mode & ~stat.S_IWOTH)


if __name__ == "__main__":
    main()
