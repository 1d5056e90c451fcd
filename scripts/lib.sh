# shellcheck shell=bash
# Shared by the scripts beside it; sourced, never run.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc 2>/dev/null || echo 2)

# What a build needs, what the demo needs besides, and what the tests need.
# README.md tells what each is for.
# shellcheck disable=SC2034
{
packages_build=(gcc libc6-dev make autoconf automake pkg-config libzstd-dev
    zlib1g-dev libxxhash-dev libarchive-dev libyaml-dev libisal-dev)
packages_check=(libcmocka-dev bats shellcheck mandoc clang-format python3 tzdata
    zstd gzip zip xxhash valgrind clang libomp-dev libclang-rt-dev llvm
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user postgresql
    sshfs openssh-sftp-server e2fsprogs mount)
packages_engines=(parallel openssh-client openssh-server sshfs iproute2
    slurm-client slurmctld slurmd munge openmpi-bin systemd awscli rclone fuse3)
packages_bench=(python3 time)
}

# die TEXT: Give up.
die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

# need_packages NAME...: Install what is missing.  Elsewhere than on Debian,
# say what would have been looked for and go on.
need_packages() {
    local name missing=() sudo=()
    if ! command -v dpkg-query >/dev/null; then
        printf 'no dpkg here; taking it that these are there: %s\n' "$*" >&2
        return
    fi
    for name; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null |
            grep -q '^install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "these packages are missing: ${missing[*]}; install them as root"
        sudo=(sudo)
    fi
    printf 'installing %s\n' "${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get -qq update
    "${sudo[@]}" apt-get -qq install -y --no-install-recommends \
        "${missing[@]}" </dev/null >/dev/null
}

# build FOLDER ARGUMENT... -- TARGET...: Make the targets in FOLDER,
# configuring it with the arguments where that has not been done.
build() {
    local folder=$1 arguments=() wanted target
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        arguments+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    if [ ! -e "$top/configure" ] || [ ! -e "$top/Makefile.in" ] ||
        [ "$top/configure.ac" -nt "$top/configure" ] ||
        [ "$top/Makefile.am" -nt "$top/Makefile.in" ]; then
        "$top/scripts/bootstrap.sh" || return
    fi
    mkdir -p "$folder" || return
    wanted=${arguments[*]-}
    if [ ! -e "$folder/config.status" ] ||
        [ "$top/configure" -nt "$folder/config.status" ] ||
        [ "$(cat "$folder/configured-as" 2>/dev/null)" != "$wanted" ]; then
        (cd "$folder" && "$top/configure" -q "${arguments[@]}") || return
        printf '%s\n' "$wanted" >"$folder/configured-as"
    fi
    # One after the other: automake's "all" is a make of its own, which would
    # build the same objects beside another target.  No test is run.
    for target; do
        make -s -C "$folder" -j "$jobs" V=1 "$target" TESTS= || return
    done
}
