#!/bin/sh
# Copies the extension into a PostgreSQL, or takes it out again:
#   ./install.sh [/path/to/pg_config]
#   ./install.sh --remove [/path/to/pg_config]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
remove=no
if [ "${1-}" = --remove ]; then
    remove=yes
    shift
fi
pg_config=${1-pg_config}
major=@MAJOR@

found=$("$pg_config" --version) || { echo "install.sh: no $pg_config; name it: ./install.sh /path/to/pg_config" >&2; exit 1; }
case $found in
    "PostgreSQL $major" | "PostgreSQL $major"[!0-9]*) ;;
    *) echo "install.sh: these files are for PostgreSQL $major, and $pg_config is of $found" >&2; exit 1 ;;
esac
lib=$("$pg_config" --pkglibdir)
extension=$("$pg_config" --sharedir)/extension

if [ $remove = yes ]; then
    rm -f "$lib/cache_sync.so" "$extension/cache_sync.control" "$extension"/cache_sync--*.sql
    echo "Removed cache_sync from $found."
    exit 0
fi
# Under a new name first: servers that run keep the library that they have.
install -m 644 "$here/lib/cache_sync.so" "$lib/.cache_sync.so.new"
mv "$lib/.cache_sync.so.new" "$lib/cache_sync.so"
install -m 644 "$here"/extension/cache_sync* "$extension/"
echo "Installed cache_sync @VERSION@ in $found. Add it to shared_preload_libraries, restart, and run"
echo "CREATE EXTENSION cache_sync (or, where an earlier version was: ALTER EXTENSION cache_sync UPDATE)."
