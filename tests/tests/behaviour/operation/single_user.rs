//! A server that is repaired in single-user mode (`postgres --single`) has no dynamic shared memory, where the ring lies if the library
//! is not preloaded. Attached tables can be written there all the same: nobody else is there to be told.

use cache_sync_tests::{Database, notifies_without_preloading, start, unsynced};
use std::io::Write;
use std::process::Stdio;

#[test]
fn attached_tables_can_be_written_by_the_only_process() {
    for preload in [true, false] {
        let cluster = start(unsynced().preload(preload));
        let db = Database::with_extension_in(&cluster);
        db.psql("CREATE TABLE t (id int PRIMARY KEY, v int); SELECT cache_sync.attach('t', versioned => true)");
        let has_ring = preload || !notifies_without_preloading(&cluster);
        db.psql("INSERT INTO t VALUES (1, 0), (2, 0)");
        cluster.stop("fast").unwrap();
        let mut single = cluster.beside(&cluster.tree().program("postgres"));
        single.args(["--single", "-D"]).arg(cluster.data_dir()).arg(db.name());
        let mut single = single.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut statements = "UPDATE t SET v = 1 WHERE id = 1\nDELETE FROM t WHERE id = 2\n\
                              SELECT outcome FROM cache_sync.upsert('t', '{\"id\": 3, \"v\": 3}')\n"
            .to_owned();
        if has_ring {
            statements += "SELECT feed_position AS head FROM cache_sync.feed_head()\n";
        }
        single.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
        let output = single.wait_with_output().unwrap();
        let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && !log.contains("ERROR"), "preloaded {preload}: {out}{log}");
        assert!(out.contains("outcome = \"applied\""), "preloaded {preload}: {out}{log}");
        assert_eq!(out.contains("head = \"3\""), has_ring, "preloaded {preload}: {out}{log}");
        cluster.launch().unwrap();
        assert_eq!(db.psql("SELECT id, v FROM t ORDER BY id"), "1|1\n3|3");
    }
}
