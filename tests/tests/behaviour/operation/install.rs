//! docs/install.md: its commands do what they say.

use cache_sync_cluster::{workspace_root, write_scripts};
use cache_sync_tests::document::{blocks_in, read};
use cache_sync_tests::{Database, output, start, unsynced};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

const DOCUMENT: &str = "docs/install.md";

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The shell commands that make it from its sources, in a place where `pg_config` names directories of the test's own and `cargo` only notes how it was
/// called: what it would have built is there already.
#[test]
fn copies_what_the_extension_is_made_of() {
    let cluster = start(unsynced());
    let dir = cluster.socket_dir().join("install");
    let (bin, lib, share) = (dir.join("bin"), dir.join("lib"), dir.join("share"));
    for made in [&bin, &lib, &share.join("extension"), &dir.join("target/extension")] {
        fs::create_dir_all(made).unwrap();
    }
    symlink(workspace_root().join("pg_ext"), dir.join("pg_ext")).unwrap();
    let library = cluster.tree().lib.join("cache_sync.so");
    symlink(&library, dir.join("target/extension/libcache_sync.so")).unwrap();
    write_scripts(&dir.join("target/extension/sql")).unwrap();
    let answer = |of: &str, dir: &Path| format!("{of}) echo {} ;;", dir.display());
    let answers = format!("{} {}", answer("--pkglibdir", &lib), answer("--sharedir", &share));
    program(&bin.join("pg_config"), &format!("case \"$1\" in {answers} esac"));
    program(&bin.join("cargo"), "echo \"$PGRX_PG_CONFIG_PATH\" >> called; echo \"$@\" >> called");
    program(&bin.join("sudo"), "exec \"$@\"");

    let blocks = blocks_in(&read(DOCUMENT), "sh");
    let commands =
        blocks.iter().find(|block| block.contains("PGRX_PG_CONFIG_PATH")).expect("it is made from its sources");
    let asked = "pg_config=/usr/lib/postgresql/15/bin/pg_config ";
    assert!(commands.starts_with(asked), "{commands}");
    let commands = &commands.replacen(asked, &format!("pg_config={} ", bin.join("pg_config").display()), 1);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    output(Command::new("sh").args(["-euc", commands]).current_dir(&dir).env("PATH", path));

    let extension = cluster.tree().share.join("extension");
    // The scripts of earlier versions, which tests install, are no part of this one.
    let earlier = names(&workspace_root().join("tests/fixtures"));
    let ours: BTreeSet<_> = names(&extension).into_iter().filter(|name| name.starts_with("cache_sync")).collect();
    let ours = &ours - &earlier;
    assert!(ours.contains("cache_sync.control") && ours.len() > 2, "{ours:?}");
    assert_eq!(names(&share.join("extension")), ours, "the files that CREATE EXTENSION reads");
    assert_eq!(names(&lib), BTreeSet::from(["cache_sync.so".to_owned()]));
    assert!(fs::read(lib.join("cache_sync.so")).unwrap() == fs::read(library).unwrap());

    let called = fs::read_to_string(dir.join("called")).unwrap();
    let [pg_config, arguments, _, scripts] = called.lines().collect::<Vec<_>>()[..] else { panic!("{called}") };
    assert_eq!(Path::new(pg_config), bin.join("pg_config"));
    assert_eq!(scripts, "xtask sql target/extension/sql");
    let selection = arguments.strip_prefix("build --profile extension ").expect("it builds what users run");
    // Without building: are there such a package and features?
    let tree = ["tree", "--quiet", "--offline", "--depth", "0"].into_iter().chain(selection.split(' '));
    let tree = output(Command::new(env!("CARGO")).args(tree).current_dir(workspace_root()));
    assert!(tree.starts_with("cache-sync-pg v"), "{tree}");
}

#[test]
fn its_statements_work_one_after_the_other() {
    let cluster = start(unsynced());
    let db = Database::empty_in(&cluster);
    db.psql(
        "CREATE ROLE my_app; CREATE ROLE my_migrations;
         CREATE TABLE users (id bigint PRIMARY KEY, name text, logins int); INSERT INTO users VALUES (1, 'Ann', 5)",
    );
    let before = db.schema();
    let blocks = blocks_in(&read(DOCUMENT), "sql");
    let said: Vec<_> = blocks.iter().map(|block| db.psql(block)).collect();
    assert_eq!(said, ["t\ntrue", "", "sessions||0\ndead letters||0", "", "", "", ""], "{blocks:?}");
    assert_eq!(db.schema(), before, "uninstalling leaves everything as it was");
    assert_eq!(db.psql("SELECT * FROM users"), "1|Ann|5");

    // The same up to the uninstalling, to see what is there in between.
    let uninstalling = blocks.iter().position(|block| block.contains("DROP EXTENSION")).unwrap();
    blocks[..uninstalling].iter().for_each(|block| drop(db.psql(block)));
    assert_eq!(
        db.psql("SELECT tbl, versioned, rules FROM cache_sync.tables"),
        "users|t|{\"name\": \"lww\", \"logins\": \"add\"}"
    );
    assert_eq!(db.psql("SELECT pg_has_role('my_app', 'cache_sync_user', 'USAGE'), pg_has_role('my_migrations', 'cache_sync_admin', 'USAGE')"), "t|t");
}

/// The function for Alembic, called as Alembic calls it.
#[test]
fn alembic_leaves_the_columns_alone() {
    let [python] = &blocks_in(&read(DOCUMENT), "python")[..] else { panic!("there is one block of Python") };
    let checks = "
class context:
    configure = staticmethod(lambda **options: options['include_object'])
connection = target_metadata = None
";
    let asked = "
said = [include_object(None, name, type_, reflected, other) for name, type_, reflected, other in [
    ('cs_version', 'column', True, None), ('cs_clock', 'column', True, None),
    ('cs_version', 'column', False, None), ('cs_clock', 'column', True, object()), ('name', 'column', True, None), ('cs_clock', 'table', True, None)]]
assert said == [False, False, True, True, True, True], said
";
    output(Command::new("python3").args(["-c", &format!("{checks}{python}{asked}")]));
}
