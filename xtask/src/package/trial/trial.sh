# In a new Debian that has PostgreSQL: installs our files, uses the extension, upgrades one, and takes everything out again.
# Arguments: the major version. Below /given are what to install (`package`, or `tarball/`), the version before's script, and the SQL
# with what it must print.
major=$1
say() { echo "ok: $*"; }
fail() { echo "failed: $*" >&2; exit 1; }
files() { find /usr /etc /opt | LC_ALL=C sort; }
sql() { runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d "$1" -f "$2"; }
holds() { [ "$(sql "$1" "$2" 2>&1 | tee /tmp/said)" = "$(cat "$3")" ] || { diff /tmp/said "$3" >&2; fail "$2 prints something else"; }; }
server() { pg_ctlcluster "$major" main "$1" || fail "the server does not $1"; }
share=/usr/share/postgresql/$major/extension
preload=/etc/postgresql/$major/main/conf.d/cache_sync.conf

# The network is the machine's, and there may be other servers.
echo "listen_addresses = ''" > "/etc/postgresql/$major/main/conf.d/trial.conf"
files > /tmp/before

install_it() {
    if [ -d /given/tarball ]; then
        sh /given/tarball/install.sh "/usr/lib/postgresql/$major/bin/pg_config"
    else
        apt-get install -y -qq --no-install-recommends /given/package/*.deb > /tmp/installed 2>&1 || { cat /tmp/installed >&2; fail "apt does not install it"; }
        dpkg --verify "postgresql-$major-cache-sync" || fail "files are not as the package has them"
    fi
}
remove_it() {
    if [ -d /given/tarball ]; then
        sh /given/tarball/install.sh --remove "/usr/lib/postgresql/$major/bin/pg_config"
    else
        apt-get purge -y -qq "postgresql-$major-cache-sync" > /tmp/removed 2>&1 || { cat /tmp/removed >&2; fail "apt does not remove it"; }
        ! dpkg -s "postgresql-$major-cache-sync" > /dev/null 2>&1 || fail "dpkg still knows it"
    fi
}

install_it
say installed
echo "shared_preload_libraries = 'cache_sync'" > "$preload"
server start
runuser -u postgres -- createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8 app
holds app /given/sql/use.sql /given/sql/use.out
say CREATE EXTENSION, attach, upsert, feed, detach, DROP EXTENSION
cp /given/sql/cache_sync--0.1.0.sql "$share/"
holds app /given/sql/upgrade.sql /given/sql/upgrade.out
rm "$share/cache_sync--0.1.0.sql"
say upgrade from 0.1.0
server stop
# Over itself, as an upgrade goes.
if [ -d /given/tarball ]; then
    install_it
else
    dpkg -i /given/package/*.deb > /tmp/installed 2>&1 || { cat /tmp/installed >&2; fail "not over itself"; }
fi
server start
server stop
rm "$preload"
remove_it
server start
server stop
files > /tmp/after
diff /tmp/before /tmp/after > /tmp/left || { cat /tmp/left >&2; fail "something is left"; }
say removed, nothing left
