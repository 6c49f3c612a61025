#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.verify_report, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_report
short_description: Sum up the comparison of all hosts of a play
version_added: 1.0.0
description:
  - Collects what M(inferops.ascend.verify) found on each host, for one table and one file.
options:
  registered:
    description: Name of the variable in which each host has the result of M(inferops.ascend.verify).
    type: str
    required: true
  output:
    description:
      - File on the controller for RV(data) as JSON, by C(vars/schemas/verify.schema.json) of this collection. It is
        written in check mode too.
    type: path
  failures:
    description:
      - RV(failures) of an earlier call. With it, the task ends this host as it was found, unreachable or failed, and
        does nothing else.
    type: dict
    default: {}
    version_added: 1.0.0
extends_documentation_fragment:
  - inferops.ascend.attributes.action
seealso:
  - module: inferops.ascend.verify
"""

EXAMPLES = r"""
- name: Sum up the comparison
  inferops.ascend.verify_report:
    registered: found
  run_once: true
"""

RETURN = r"""
data:
  description: C(ok), C(hosts) and C(services) as sums, C(groups) with each service over several hosts as
      one, and C(results) with the report of each host.
  returned: success
  type: dict
lines:
  description: The same as a table of text lines.
  returned: success
  type: list
  elements: str
failures:
  description: For each host on which something is wrong, that in a line.
  returned: success
  type: dict
"""
