//! PostgreSQL's own regression tests on three servers: without the library, with it preloaded, and with every suitable table
//! attached as it is created. What they print must be the same, or the difference is told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cache_sync_cluster::{
    Cluster, Error, Options, Postgres, Profile, Result, Tree, Variant, python, setup, setup_tools,
};

use crate::steps::must;

const DATABASE: &str = "regression";
/// What pg_regress sets in a database that it creates itself.
const SETTINGS: &str = "ALTER DATABASE regression SET lc_messages TO 'C'; ALTER DATABASE regression SET lc_monetary TO 'C';
    ALTER DATABASE regression SET lc_numeric TO 'C'; ALTER DATABASE regression SET lc_time TO 'C';
    ALTER DATABASE regression SET bytea_output TO 'hex'; ALTER DATABASE regression SET timezone_abbreviations TO 'Default'";
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
const OBJECTS: &str = "it looks at all objects of the database, the extension's too";
/// Why a test prints something else once every table is attached.
const EXPLAINED: [(&str, &str); 16] = [
    (
        "alter_table",
        "psql shows the triggers; pg_locks shows the extension's tables, which a DDL command reads and writes",
    ),
    ("constraints", BECOMES_PARTITION),
    ("create_table_like", TRIGGERS),
    (
        "event_trigger",
        "its own event triggers are told of the triggers that are made for new partitions, and it lists all of them",
    ),
    ("foreign_key", BECOMES_PARTITION),
    ("generated", TRIGGERS),
    ("indexing", TRIGGERS),
    ("inherit", BECOMES_PARTITION),
    ("opr_sanity", OBJECTS),
    ("publication", BECOMES_PARTITION),
    ("replica_identity", TRIGGERS),
    ("rowsecurity", TRIGGERS),
    ("triggers", TRIGGERS),
    ("type_sanity", OBJECTS),
    ("typed_table", TRIGGERS),
    ("update", BECOMES_PARTITION),
];

/// Names the directory of PostgreSQL's source, where it cannot be had by apt.
const SOURCE_VARIABLE: &str = "CACHE_SYNC_PG_SOURCE";
/// Fewer tests than any version has.
const TESTS_MIN: usize = 150;
/// Lines that differ are told up to this many for each test.
const TOLD_MAX: usize = 12;

/// What each test printed.
type Printed = BTreeMap<String, String>;

/// Runs the tests and compares.
///
/// # Errors
/// The tests cannot be had or run.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let json = match args {
        [] => None,
        [flag, file] if flag == "--json" => Some(file),
        _ => return Err(Error::new("usage: cargo xtask regress [--json FILE]")),
    };
    let postgres = setup()?;
    setup_tools()?;
    Tree::build(&postgres, Variant::Plain, Profile::from_env())?;
    let tests = Tests::get(&postgres)?;
    let bare = tests.run("without the library", Options::default().preload(false), "")?;
    let preloaded = tests.run("preloaded", Options::default(), "")?;
    let attached = tests.run("preloaded, every suitable table attached", Options::default(), ATTACH_ALL)?;
    println!("\n{} tests", bare.len());
    let differences = tests.libraries.with_file_name("differences");
    fs::create_dir_all(&differences)?;
    let by_preloading = compare(("preloaded against without", &[], &differences), &bare, &preloaded)?;
    let by_attaching = compare(("attached against preloaded", &EXPLAINED, &differences), &preloaded, &attached)?;
    println!("Whole differences are in {}.", differences.display());
    if let Some(file) = json {
        let text = serde_json::json!({"tests": bare.len(), "differ_by_preloading": by_preloading, "differ_by_attaching": by_attaching});
        fs::write(file, format!("{text:#}\n"))?;
    }
    let is_explained = by_attaching.iter().all(|difference| !difference["why"].is_null());
    Ok(if by_preloading.is_empty() && is_explained { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// PostgreSQL's tests, ready to run.
struct Tests {
    /// The program that runs them.
    pg_regress: PathBuf,
    /// `src/test/regress` of the source.
    sources: PathBuf,
    /// The libraries that some of them load.
    libraries: PathBuf,
}

impl Tests {
    /// Those of the source package, compiled as far as they must be.
    fn get(postgres: &Postgres) -> Result<Tests> {
        let pg_regress = postgres.lib.join("pgxs/src/test/regress/pg_regress");
        if !pg_regress.is_file() {
            return Err(Error::new(format!(
                "{} is not there: it comes with the server's headers",
                pg_regress.display()
            )));
        }
        let dir = Tree::parent_dir(postgres)?.join("regression");
        let sources = match std::env::var_os(SOURCE_VARIABLE) {
            Some(source) => PathBuf::from(source).join("src/test/regress"),
            None => {
                let unpacked = dir.join("src/test/regress");
                if !unpacked.join("parallel_schedule").is_file() {
                    unpack(postgres, &dir)?;
                }
                unpacked
            }
        };
        let libraries = dir.join("lib");
        fs::create_dir_all(&libraries)?;
        let include = Command::new(&postgres.pg_config).arg("--includedir-server").output()?;
        let include = format!("-I{}", String::from_utf8_lossy(&include.stdout).trim());
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-w", &include, "-o"]).arg(libraries.join("regress.so"));
        must(compile.arg(sources.join("regress.c")))?;
        for library in ["autoinc.so", "refint.so"] {
            fs::copy(postgres.lib.join(library), libraries.join(library))?;
        }
        Ok(Tests { pg_regress, sources, libraries })
    }

    /// Runs them all on a server of their own, and hands back what they printed.
    fn run(&self, name: &str, options: Options, setup: &str) -> Result<Printed> {
        println!("\n==== {name} ====");
        let cluster = options.fsync(false).start()?;
        cluster.createdb(DATABASE)?;
        cluster.psql(DATABASE, SETTINGS)?;
        if !setup.is_empty() {
            cluster.psql(DATABASE, setup)?;
        }
        let out = cluster.socket_dir().join("regress");
        must(cluster.beside(Path::new("mkdir")).arg(&out))?;
        let status = self.command(&cluster, &out).status()?;
        println!("pg_regress: {status}");
        let mut printed = Printed::new();
        for file in fs::read_dir(out.join("results"))?.flatten() {
            let test = file.file_name().to_string_lossy().into_owned();
            if let Some(test) = test.strip_suffix(".out") {
                let text = String::from_utf8_lossy(&fs::read(file.path())?).into_owned();
                // Where the files are differs from run to run.
                printed.insert(test.to_owned(), text.replace(&*out.to_string_lossy(), "OUT"));
            }
        }
        if printed.len() < TESTS_MIN {
            return Err(Error::new(format!("only {} tests printed something", printed.len())));
        }
        Ok(printed)
    }

    fn command(&self, cluster: &Cluster, out: &Path) -> Command {
        let mut command = cluster.beside(&self.pg_regress);
        let psql = cluster.tree().program("psql");
        let named = |name: &str, path: &Path| format!("--{name}={}", path.display());
        command
            .args(["--use-existing", "--max-concurrent-tests=20", "--user=postgres", "--host=127.0.0.1"])
            .arg(format!("--dbname={DATABASE}"))
            .arg(format!("--port={}", cluster.port()))
            .arg(named("inputdir", &self.sources))
            .arg(named("outputdir", out))
            .arg(named("bindir", psql.parent().unwrap_or(Path::new("/"))))
            .arg(named("dlpath", &self.libraries))
            .arg(named("schedule", &self.sources.join("parallel_schedule")));
        command
    }
}

/// Gets the source package by apt and unpacks the tests.
fn unpack(postgres: &Postgres, dir: &Path) -> Result<()> {
    let how = format!("set {SOURCE_VARIABLE} to the directory of PostgreSQL {}'s source", postgres.major);
    let lists = dir.join("apt");
    fs::create_dir_all(lists.join("partial"))?;
    fs::write(dir.join("source.sources"), source_entries(".sources", "Types: deb", "Types: deb-src"))?;
    fs::write(dir.join("source.list"), source_entries(".list", "deb ", "deb-src "))?;
    let file =
        if fs::read_to_string(dir.join("source.sources"))?.is_empty() { "source.list" } else { "source.sources" };
    let options = [
        format!("Dir::Etc::SourceList={}", dir.join(file).display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={}", lists.display()),
    ];
    let apt = |program: &str| {
        let mut apt = Command::new(program);
        apt.current_dir(dir).args(options.iter().flat_map(|option| ["-o", option]));
        apt
    };
    let package = format!("postgresql-{}", postgres.major);
    println!("Getting the source package {package} for its tests.");
    must(apt("apt-get").args(["-qq", "update"])).map_err(|error| Error::new(format!("{error}; {how}")))?;
    let shown = apt("apt-cache").args(["showsrc", &package]).output()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let mut versions: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
    versions.sort_unstable();
    // The newest one may not be on the mirror yet, or no longer. The tests of a minor version run on any other.
    let found = versions.iter().rev().find(|version| {
        let named = format!("{package}={version}");
        must(apt("apt-get").args(["-qq", "source", "--download-only", "--tar-only", &named])).is_ok()
    });
    let version = found.ok_or_else(|| Error::new(format!("apt offers no source of {package}; {how}")))?;
    println!("The tests are those of {package} {version}.");
    let archive =
        fs::read_dir(dir)?.flatten().map(|file| file.path()).find(|file| file.to_string_lossy().contains(".orig.tar"));
    let archive = archive.ok_or_else(|| Error::new(format!("apt downloaded nothing; {how}")))?;
    let mut python = Command::new(python()?);
    must(python.args(["-c", UNPACK]).arg(&archive).arg(dir))?;
    fs::remove_file(archive)?;
    Ok(())
}

/// Unpacks src/test/regress of an archive (tar would need the compressor, which may be missing).
const UNPACK: &str = "
import sys, tarfile
archive, into = sys.argv[1:]
with tarfile.open(archive) as tar:
    for member in tar:
        member.name = member.name.partition('/')[2]
        if member.name.startswith('src/test/regress/') and (member.isfile() or member.isdir()):
            tar.extract(member, into)
";

/// The distribution's entries for packages, as entries for their sources.
fn source_entries(suffix: &str, from: &str, to: &str) -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|file| file.path()));
    let mut text = String::new();
    for file in files.iter().filter(|file| file.to_string_lossy().ends_with(suffix)) {
        let entries = fs::read_to_string(file).unwrap_or_default();
        if ["debian.org", "ubuntu.com", "/debian", "/ubuntu"].iter().any(|host| entries.contains(host)) {
            for line in entries.lines() {
                let line = line.strip_prefix(from).map_or(line.to_owned(), |rest| format!("{to}{rest}"));
                text.push_str(&line);
                text.push('\n');
            }
            text.push('\n');
        }
    }
    text
}

/// Tells which tests printed something else, by how many lines and why; of those that nobody has explained, the lines that do not name
/// the extension.
fn compare(
    (what, explained, dir): (&str, &[(&str, &str)], &Path),
    before: &Printed,
    after: &Printed,
) -> Result<Vec<serde_json::Value>> {
    println!("\n==== {what} ====");
    let mut differ = Vec::new();
    for (test, text) in before {
        let other = after.get(test).map(String::as_str).unwrap_or_default();
        if text == other {
            continue;
        }
        let lines = differing(text, other);
        let mut unnamed: Vec<&String> = lines.iter().filter(|line| !line.contains("cache_sync")).collect();
        let reason = explained.iter().find(|(of, _)| of == test).map(|(_, reason)| *reason);
        println!("{test}: {} lines differ, {} of them do not name the extension", lines.len(), unnamed.len());
        println!("    why: {}", reason.unwrap_or("NOT EXPLAINED"));
        if reason.is_some() {
            unnamed.clear();
        }
        fs::write(dir.join(format!("{test}.diff")), lines.join("\n"))?;
        unnamed.iter().take(TOLD_MAX).for_each(|line| println!("    {line}"));
        differ.push(serde_json::json!({"test": test, "lines": lines.len(), "why": reason}));
    }
    println!("{} of {} tests print something else", differ.len(), before.len());
    Ok(differ)
}

/// The lines that only one of two texts has, as diff tells them; the white space that lines up columns aside.
fn differing(one: &str, other: &str) -> Vec<String> {
    let dir = std::env::temp_dir();
    let (left, right) =
        (dir.join(format!("one-{}", std::process::id())), dir.join(format!("other-{}", std::process::id())));
    let diff = fs::write(&left, one)
        .and_then(|()| fs::write(&right, other))
        .and_then(|()| Command::new("diff").arg("-w").args([&left, &right]).output());
    // Nothing depends on whether they are left behind.
    let _ = (fs::remove_file(&left), fs::remove_file(&right));
    match diff {
        Ok(diff) => {
            let text = String::from_utf8_lossy(&diff.stdout).into_owned();
            text.lines().filter(|line| line.starts_with(['<', '>'])).map(str::to_owned).collect()
        }
        Err(error) => vec![format!("diff: {error}")],
    }
}
