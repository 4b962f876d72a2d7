#!/bin/sh
# Whether the server takes connections, its library is of the extension's version, and there is a feed. By TCP: the server that makes a
# new cluster listens on its socket only.
user=${POSTGRES_USER:-postgres}
said=$(PGPASSWORD="${POSTGRES_PASSWORD-}" psql -h 127.0.0.1 -U "$user" -d "${POSTGRES_DB:-$user}" -XqAt \
    -c "SELECT library = script AND cache_sync.status() ->> 'feed_kind' = 'stream' FROM cache_sync.versions()")
[ "$said" = t ]
