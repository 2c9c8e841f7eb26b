#!/bin/sh
# Installs the packages that a task needs:  require_tools.sh build|test|lint|aarch64
#
# As root with apt-get, missing packages are installed; otherwise they are listed and the task
# fails. CMake and Ninja are not included: they come from PyPI if the system's are too old.
set -eu
task=${1:?build, test, lint or aarch64}
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
if [ "$task" = aarch64 ]; then
  need g++-aarch64-linux-gnu command -v aarch64-linux-gnu-g++
  need qemu-user command -v qemu-aarch64
  need googletest test -f /usr/src/googletest/googletest/CMakeLists.txt
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
  echo "Python 3.10 or newer is required, but $python is $("$python" --version); set PYTHON to a newer one" >&2
  exit 1
fi
