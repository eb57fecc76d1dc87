#!/bin/sh
# format.sh - every C file is as clang-format leaves it.
set -eu
bad=$(git ls-files '*.c' '*.h' | while read -r f; do
    [ -e "$f" ] && ! clang-format --dry-run -Werror "$f" >/dev/null 2>&1 && echo "$f"
    true
done)
if [ -n "$bad" ]; then
    echo "format: run clang-format -i on:" $bad
    exit 1
fi
echo "format: all files are formatted"
