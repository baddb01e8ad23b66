#!/bin/sh
# machine.sh PROGRAM ARGUMENT...
#
# Runs a program as if on a machine of its own: with its own processes, network, mounts, cgroups and
# temporary folder. All that it starts ends with it, and nothing of it is left, whether it returns or
# is killed, and whichever process of it is killed. Needs root on Linux.
set -eu
name=skycap-$$
folder=$(mktemp -d -t "$name.XXXXXX")

# The cgroups of the containers: one for each controller in version 1, one for all in version 2.
for root in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    [ -e "$root/cgroup.procs" ] || continue
    mkdir "$root/$name" 2> /dev/null || continue
    if [ -e "$root/cpuset.mems" ] && [ ! -e "$root/cgroup.controllers" ]; then
        cat "$root/cpuset.cpus" > "$root/$name/cpuset.cpus"
        cat "$root/cpuset.mems" > "$root/$name/cpuset.mems"
    fi
done

# A process outside removes what is left: when no process holds the pipe any more, all have ended. The
# kernel closes the pipe a moment before the last processes are gone, hence the loop.
mkfifo "$folder/alive"
# shellcheck disable=SC2016
wait_for_the_end='trap "" INT TERM HUP; cat "$1/alive" > /dev/null;'
# shellcheck disable=SC2016
clean='
    for _ in $(seq 100); do
        left=$(find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -name "$2")
        for root in $left; do find "$root" -depth -type d -exec rmdir {} + 2> /dev/null; done
        rm -rf --one-file-system "$1" 2> /dev/null
        [ -z "$left" ] && [ ! -e "$1" ] && exit
        sleep 0.05
    done
'
setsid sh -c "$wait_for_the_end$clean" clean "$folder" "$name" 9>&- &
cleaner=$!
exec 9> "$folder/alive"

# The kubelet writes to these settings: it gets copies.
# shellcheck disable=SC2016
inside='
    for place in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$place"; done
    # All settings but those of the network belong to the whole machine.
    mount --bind /proc/sys /proc/sys
    mount --bind /proc/sys/net /proc/sys/net
    for setting in vm/overcommit_memory kernel/panic kernel/panic_on_oops \
        kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
        copy=/run/$(basename "$setting")
        cat "/proc/sys/$setting" > "$copy"
        mount --bind "$copy" "/proc/sys/$setting"
    done
    mount -o remount,bind,ro /proc/sys
    ip link set lo up
    "$@"
'
export TMPDIR="$folder" SKYCAP_MACHINE="$name"
setpriv --pdeathsig KILL -- unshare --mount --pid --net --fork --kill-child --mount-proc \
    --propagation private -- sh -euc "$inside" inside "$@" <&0 &
machine=$!
# The process for nsenter, by which others enter the machine.
# It may have ended meanwhile.
while kill -0 "$machine" 2> /dev/null && [ ! -s "$folder/pid" ]; do
    cat "/proc/$machine/task/$machine/children" > "$folder/pid" || true
done
trap 'kill -s KILL "$machine"' INT TERM HUP
code=0
wait "$machine" || code=$?
exec 9>&-
# The cleaner may have been killed; then this removes what is left.
wait "$cleaner" || true
sh -c "$clean" clean "$folder" "$name"
exit "$code"
