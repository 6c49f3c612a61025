# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands of this directory measure; the collection of this checkout is importable."""

import os
import sys

sys.path.insert(0, os.environ["ANSIBLE_COLLECTIONS_PATH"])
