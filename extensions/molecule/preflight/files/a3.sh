#!/bin/sh
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Die 9 is ill; the memory of die 5 is in use and no process shows.
set -eu
ascend-sim card 5 memory_idle=40000
ascend-sim card 9 health=Alarm
