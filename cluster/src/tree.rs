//! A private copy of a PostgreSQL installation that has the extension.
//!
//! Postgres finds its other directories from where its executable is, as long as they lie in the same places relative to
//! it. So a directory with copies of the executables, links to everything else and our own files behaves like the
//! installation with the extension installed, and neither the system nor another checkout notices.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cache_sync_kit::{During, Error, Result, locked};

use crate::TREES_VARIABLE;
use crate::extension::{self, Profile, Variant};
use crate::postgres::Postgres;
use crate::user::dir_for_servers;
use crate::workspace::workspace_root;
use crate::{script, setup};

/// A private copy of a PostgreSQL installation that has the extension.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Where its executables are.
    pub bin: PathBuf,
    /// Where its loadable libraries are.
    pub lib: PathBuf,
    /// Where its `extension/` is.
    pub share: PathBuf,
}

impl Tree {
    /// The tree of `variant`: the one that the environment says is ready, else one built now (once per process).
    ///
    /// # Errors
    /// PostgreSQL cannot be found, or the extension does not compile.
    pub fn of(variant: Variant) -> Result<Tree> {
        static BUILT: Mutex<Option<HashMap<Variant, Tree>>> = Mutex::new(None);
        if let Some(trees) = std::env::var_os(TREES_VARIABLE) {
            return Tree::at(&Path::new(&trees).join(variant.name()));
        }
        let mut built = locked(&BUILT);
        let built = built.get_or_insert_default();
        if let Some(tree) = built.get(&variant) {
            return Ok(tree.clone());
        }
        let tree = Tree::build(&setup()?, variant, Profile::from_env())?;
        built.insert(variant, tree.clone());
        Ok(tree)
    }

    /// An installation that has the extension, as it is: nothing is compiled, copied or written. The tree that the environment says is ready
    /// comes first.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn installed() -> Result<Tree> {
        if std::env::var_os(TREES_VARIABLE).is_some() {
            return Tree::of(Variant::Plain);
        }
        let Postgres { bin, lib, share, .. } = Postgres::with_extension()?;
        Ok(Tree { bin, lib, share })
    }

    /// Compiles the extension for `postgres` and brings the variant's tree up to date.
    ///
    /// # Errors
    /// The extension does not compile, or the tree cannot be written.
    pub fn build(postgres: &Postgres, variant: Variant, profile: Profile) -> Result<Tree> {
        let dir = dir_for_servers("pg")?.join(postgres.feature()).join(variant.name());
        fs::create_dir_all(&dir).during(|| dir.display().to_string())?;
        // Builds of two variants write the same file: hold the lock until it is copied.
        let lock = File::create(dir.with_file_name("lock"))?;
        lock.lock()?;
        let library = extension::build(postgres, variant, profile)?;
        let tree = Tree::lay_out(&dir, postgres)?;
        tree.link_installation(postgres)?;
        tree.install_extension(&library)?;
        Ok(tree)
    }

    /// Brings the trees of both variants up to date, and hands back [`Tree::parent_dir`].
    ///
    /// # Errors
    /// The extension does not compile, or a tree cannot be written.
    pub fn build_all(postgres: &Postgres, profile: Profile) -> Result<PathBuf> {
        for variant in Variant::ALL {
            Tree::build(postgres, variant, profile)?;
        }
        Tree::parent_dir(postgres)
    }

    /// The directory that `CACHE_SYNC_PG_TREES` must name for others to find the trees of `postgres`.
    ///
    /// # Errors
    /// No directory is to be had that a server may read.
    pub fn parent_dir(postgres: &Postgres) -> Result<PathBuf> {
        Ok(dir_for_servers("pg")?.join(postgres.feature()))
    }

    /// The path of one of its executables.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    fn at(dir: &Path) -> Result<Tree> {
        let note = fs::read_to_string(dir.join("layout")).during(|| format!("{} is no tree", dir.display()))?;
        let mut parts = note.lines().map(|part| dir.join(part));
        match (parts.next(), parts.next(), parts.next()) {
            (Some(bin), Some(lib), Some(share)) => Ok(Tree { bin, lib, share }),
            _ => Err(Error::from(format!("{} is damaged: delete it", dir.display()))),
        }
    }

    /// Decides where things go, and writes it down for `at`.
    fn lay_out(dir: &Path, postgres: &Postgres) -> Result<Tree> {
        let common = postgres
            .bin
            .ancestors()
            .find(|above| postgres.lib.starts_with(above) && postgres.share.starts_with(above))
            .unwrap_or(Path::new("/"));
        let relative = |path: &Path| path.strip_prefix(common).unwrap_or(path).to_owned();
        let parts = [relative(&postgres.bin), relative(&postgres.lib), relative(&postgres.share)];
        let note: String = parts.iter().map(|part| format!("{}\n", part.display())).collect();
        fs::write(dir.join("layout"), note)?;
        Tree::at(dir)
    }

    fn link_installation(&self, postgres: &Postgres) -> Result<()> {
        for dir in [&self.bin, &self.lib, &self.share.join("extension")] {
            fs::create_dir_all(dir).during(|| dir.display().to_string())?;
        }
        for file in entries(&postgres.bin)? {
            // A link would not do: Postgres follows it before it looks around.
            let link = fs::symlink_metadata(&file)?.is_symlink();
            let to = self.bin.join(file.file_name().unwrap_or_default());
            if link { link_to(&file, &to)? } else { copy_if_other(&file, &to)? }
        }
        link_all(&postgres.lib, &self.lib, "cache_sync")?;
        link_all(&postgres.share, &self.share, "extension")?;
        link_all(&postgres.share.join("extension"), &self.share.join("extension"), "cache_sync")
    }

    fn install_extension(&self, library: &Path) -> Result<()> {
        let name = format!("cache_sync{}", std::env::consts::DLL_SUFFIX);
        replace(library, &self.lib.join(name))?;
        let control = workspace_root().join("pg_ext/cache_sync.control");
        let to = self.share.join("extension");
        for old in entries(&to)? {
            if named(&old).starts_with("cache_sync--") {
                fs::remove_file(&old)?;
            }
        }
        replace(&control, &to.join("cache_sync.control"))?;
        script::write_scripts(&to)?;
        // What an installation of an earlier version has, for tests of upgrades.
        for script in entries(&workspace_root().join("tests/fixtures"))? {
            if named(&script).starts_with("cache_sync--") {
                replace(&script, &to.join(named(&script)))?;
            }
        }
        Ok(())
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(dir).during(|| dir.display().to_string())?;
    listed.map(|entry| Ok(entry?.path())).collect()
}

fn named(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Links everything in `from` but what is called `except...`.
fn link_all(from: &Path, to: &Path, except: &str) -> Result<()> {
    for entry in entries(from)? {
        if !named(&entry).starts_with(except) {
            link_to(&entry, &to.join(entry.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

fn link_to(target: &Path, link: &Path) -> Result<()> {
    match fs::read_link(link) {
        Ok(old) if old == target => Ok(()),
        Ok(_) => {
            fs::remove_file(link)?;
            Ok(symlink(target, link)?)
        }
        Err(_) => symlink(target, link).during(|| link.display().to_string()),
    }
}

/// Copies a file unless size and time say that it was copied before.
fn copy_if_other(from: &Path, to: &Path) -> Result<()> {
    let source = fs::metadata(from)?;
    let modified = source.modified()?;
    if fs::metadata(to).is_ok_and(|copy| copy.len() == source.len() && copy.modified().is_ok_and(|at| at == modified)) {
        return Ok(());
    }
    replace(from, to)?;
    Ok(File::options().write(true).open(to).and_then(|copy| copy.set_modified(modified))?)
}

/// Puts a copy of `from` in the place of `to`. Servers that run from the old file keep it.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_file_name(format!(".{}.new", named(to)));
    fs::copy(from, &new).during(|| format!("{} to {}", from.display(), new.display()))?;
    fs::rename(&new, to).during(|| to.display().to_string())
}
