#!/usr/bin/env bats
# Situations with several machines, shares and disks that fail.
# shellcheck disable=SC2154

load helper
