//! Dumps, and what is restored from them.

use std::path::{Path, PathBuf};

use crate::{Database, output};

/// Dumps the database with these options of pg_dump into a file of this name's own.
pub fn dump(db: &Database<'_>, name: &str, options: &[&str]) -> PathBuf {
    let file = db.cluster().data_dir().with_file_name(format!("{}.{name}", db.name()));
    output(db.client("pg_dump").args(options).arg("--file").arg(&file));
    file
}

/// Restores an archive with these options of pg_restore.
pub fn restore(db: &Database<'_>, archive: &Path, options: &[&str]) {
    output(db.client("pg_restore").args(["--exit-on-error", "--dbname", db.name()]).args(options).arg(archive));
}

/// Runs a script that must not fail.
pub fn run_script(db: &Database<'_>, script: &Path) {
    output(db.client("psql").args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(script));
}

/// Another database of the cluster, restored from a script of this one.
pub fn restored<'c>(db: &Database<'c>) -> Database<'c> {
    let restored = Database::empty_in(db.cluster());
    run_script(&restored, &dump(db, "sql", &[]));
    restored
}
