#!/usr/bin/env bash
# Make ./configure out of configure.ac and Makefile.am.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p scripts/build-aux
autoreconf --install --force --warnings=all
# autoreconf leaves an unchanged file as it was, and its age with it.
touch aclocal.m4 configure config.h.in Makefile.in
