#!/bin/sh
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# NPU ids 24-31 and physical ids 4-7, 0-3 under the logic ids 0-7. Card 2 is ill, and somebody trains
# on card 5: the last line printed is the process id.
set -eu
printf '%s\n' 'import time' 'time.sleep(99999)' >/opt/train.py
systemd-run --quiet --unit train python3 /opt/train.py --token s3cret
pid=$(systemctl show --property MainPID --value train)
for card in 0 1 2 3 4 5 6 7; do
    ascend-sim card "$card" npu_id=$((card + 24)) phy_id=$(((card + 4) % 8)) >&2
done
ascend-sim card 2 health=Alarm >&2
ascend-sim card 5 "processes=[{\"pid\": $pid, \"name\": \"python3\", \"memory_mb\": 50000}]" >&2
echo "$pid"
