#!/usr/bin/env bash
# Boot systemd in namespaces of its own and run a script in it as a service.
#
#     boot.sh FOLDER SCRIPT
#
# FOLDER has units, bin, default and lake; nothing of the machine but it is
# written to: the rest is in overlays that end with the namespaces.  SCRIPT,
# run as root, leaves in FOLDER what it found.
set -euo pipefail

inside() {
    local place
    mount --make-rprivate /
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 none /run
    for place in etc srv var usr/local; do
        mkdir -p "/run/over/$place" "/run/work/$place"
        mount -t overlay none "/$place" -o \
            "lowerdir=/$place,upperdir=/run/over/$place,workdir=/run/work/$place"
    done
    mount -t cgroup2 none /sys/fs/cgroup
    cp "$1"/bin/* /usr/local/bin/
    cp "$1/default" /etc/default/mr-daily
    echo 'mr:x:64999:64999::/nonexistent:/usr/sbin/nologin' >>/etc/passwd
    echo 'mr:x:64999:' >>/etc/group
    grep -q ^systemd-journal: /etc/group ||
        echo 'systemd-journal:x:64998:' >>/etc/group
    # As tmpfiles.d has it.
    mkdir -p /run/log/journal
    chgrp systemd-journal /run/log/journal
    chmod 2755 /run/log/journal
    mkdir /srv/lake
    mount --bind "$1/lake" /srv/lake
    units "$@"
    exec env -i container=mr PATH="$PATH" /lib/systemd/systemd --system \
        --unit=outside.target --log-target=journal --show-status=no
}

# units FOLDER SCRIPT: The machine's own are hidden; what is needed of them is
# there, and the journal.
units() {
    local name kept=/run/kept
    mkdir "$kept" /run/empty
    cp /lib/systemd/system/systemd-journald{.service,.socket,-dev-log.socket} \
        "$kept"
    for name in sysinit basic sockets timers shutdown remote-fs time-sync \
        -.mount; do
        [ "$name" = -.mount ] || printf '[Unit]\nDefaultDependencies=no\n' \
            >"$kept/$name.target"
    done
    cp "$1"/units/* "$kept"
    cat >"$kept/outside.target" <<END
[Unit]
DefaultDependencies=no
Wants=systemd-journald.socket script.service
END
    cat >"$kept/script.service" <<END
[Unit]
DefaultDependencies=no
After=systemd-journald.socket
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
StandardOutput=file:$1/said
StandardError=file:$1/said
ExecStart=/bin/bash $2 $1
END
    mount --bind "$kept" /lib/systemd/system
    mount --bind /run/empty /etc/systemd/system
}

if [ "${3-}" = inside ]; then
    inside "$@"
else
    exec timeout -k 5 60 unshare --kill-child --fork --pid --mount --net \
        --uts --ipc --cgroup "$0" "$1" "$2" inside
fi
