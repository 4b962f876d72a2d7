//! PostgreSQL's own regression tests on three servers: without the library, with it preloaded, and with every suitable table
//! attached as it is created. What they print must be the same, or the difference is told.

mod comparison;
mod source;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use cache_sync_cluster::{Options, Profile, Tree, Variant, setup, setup_tools};
use cache_sync_kit::{CommandLine, Result, write_json};

use comparison::Comparison;
use suite::Suite;

const LINE: CommandLine<'_> =
    CommandLine { valued: &["--json"], alone: &[], usage: "usage: cargo xtask regress [--json FILE]" };
/// Attaches what can be attached; what cannot is left alone.
const ATTACH_ALL: &str = "CREATE EXTENSION cache_sync; CREATE SCHEMA attaching;
    CREATE FUNCTION attaching.attach_all() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp SET client_min_messages = error AS $$
    DECLARE made record;
    BEGIN
        FOR made IN SELECT objid FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' LOOP
            BEGIN
                PERFORM cache_sync.attach(made.objid::regclass);
            EXCEPTION WHEN OTHERS THEN NULL;
            END;
        END LOOP;
    END $$;
    CREATE EVENT TRIGGER attaching ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
        EXECUTE FUNCTION attaching.attach_all()";
const TRIGGERS: &str = "psql, or a query of the catalog, shows the extension's triggers";
const BECOMES_PARTITION: &str = "a table that is attached by itself is refused as a partition of an attached one: it must be \
     detached first";
const INHERITS: &str = "a table that is attached is refused as a parent or child by INHERITS: what is written to children would not be \
     told";
const OBJECTS: &str = "it looks at all objects of the database, the extension's too";
/// Why a test prints something else once every table is attached.
const EXPLAINED: [(&str, &str); 21] = [
    (
        "alter_table",
        "psql shows the triggers; pg_locks shows the extension's tables, which a DDL command reads and writes",
    ),
    ("cluster", INHERITS),
    ("constraints", BECOMES_PARTITION),
    (
        "create_table_like",
        "psql shows the triggers; some of its tables would inherit, which is refused of attached ones",
    ),
    (
        "event_trigger",
        "its own event triggers are told of the triggers that are made for new partitions, and it lists all of them",
    ),
    ("foreign_key", BECOMES_PARTITION),
    ("generated", TRIGGERS),
    ("indexing", TRIGGERS),
    ("inherit", INHERITS),
    ("opr_sanity", OBJECTS),
    ("publication", BECOMES_PARTITION),
    ("replica_identity", TRIGGERS),
    ("rowsecurity", TRIGGERS),
    ("rules", INHERITS),
    ("stats_ext", "it lists tables that create_table_like cannot drop, as their children were refused"),
    ("triggers", TRIGGERS),
    ("truncate", INHERITS),
    ("type_sanity", OBJECTS),
    ("typed_table", TRIGGERS),
    ("union", INHERITS),
    ("update", BECOMES_PARTITION),
];

/// Runs the tests and compares.
///
/// # Errors
/// The tests cannot be had or run.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let json: Option<PathBuf> = LINE.parse(args)?.maybe("--json")?;
    let postgres = setup()?;
    setup_tools()?;
    Tree::build(&postgres, Variant::Plain, Profile::from_env())?;
    let suite = Suite::get(&postgres)?;
    let bare = suite.run("without the library", Options::default().preload(false), "")?;
    let preloaded = suite.run("preloaded", Options::default(), "")?;
    let attached = suite.run("preloaded, every suitable table attached", Options::default(), ATTACH_ALL)?;
    println!("\n{} tests", bare.len());
    let differences = suite.differences_dir()?;
    let by_preloading =
        Comparison { name: "preloaded against without", explained: &[], dir: &differences }.tell(&bare, &preloaded)?;
    let by_attaching = Comparison { name: "attached against preloaded", explained: &EXPLAINED, dir: &differences }
        .tell(&preloaded, &attached)?;
    println!("Whole differences are in {}.", differences.display());
    if let Some(file) = json {
        let figures = serde_json::json!({"tests": bare.len(), "differ_by_preloading": by_preloading, "differ_by_attaching": by_attaching});
        write_json(&file, &figures)?;
    }
    let is_explained = by_attaching.iter().all(|difference| !difference["why"].is_null());
    Ok(if by_preloading.is_empty() && is_explained { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
