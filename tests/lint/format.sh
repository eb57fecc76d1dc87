#!/bin/sh
# format.sh - every C file is as clang-format leaves it.
set -eu
if ! git ls-files -z '*.c' '*.h' | xargs -0 clang-format --dry-run -Werror 2>build/format.log; then
    echo "format: run clang-format -i on:" $(sed -n 's/:[0-9]*:[0-9]*: error.*//p' build/format.log | sort -u)
    exit 1
fi
echo "format: all files are formatted"
