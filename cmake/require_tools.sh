#!/bin/sh
# Sees to it that what a task needs is installed:  require_tools.sh build|test|lint
#
# Where this runs as root beside apt-get, what is missing gets installed; elsewhere it is listed and
# the task ends. CMake and Ninja are not among it: they come from PyPI where the system's are old.
set -eu
task=${1:?build, test or lint}
python=${PYTHON:-python3}
missing=

need() { # need PACKAGE COMMAND...: the package is missing unless the command succeeds
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}
header() { echo "#include <$1>" | ${CXX:-g++} -E -x c++ - >/dev/null 2>&1; }
library() { echo 'int main() {}' | ${CXX:-g++} -x c++ - -o /dev/null "-l$1" >/dev/null 2>&1; }
venv() { "$python" -c 'import ensurepip, venv'; }

need python3 "$python" --version
need python3-venv venv
if [ "$task" != lint ]; then
  need g++ header vector
fi
if [ "$task" = test ]; then
  need libgtest-dev header gtest/gtest.h
  need libopenblas-dev library openblas
fi

if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing:$missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
elif [ -n "$missing" ]; then
  echo "This needs packages that are not installed. On Debian or Ubuntu:" >&2
  echo "  sudo apt-get install$missing" >&2
  exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
  echo "Python 3.10 or newer is needed, $python is $("$python" --version); name another with PYTHON=" >&2
  exit 1
fi
