//! A Debian in a folder, and what runs in it.
//!
//! All that runs there has a mount namespace of its own: what is mounted for it is gone with it, however it ends, and nothing that
//! removes the folder can come upon something else's files. Its processes, servers too, end with the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{During, Error, Result, command};

use super::project::workshop;
use super::release::Release;

/// Mounts what a system needs, then what is lent, and goes in. Arguments: the folder; kind, from and to of each thing that is lent; `--`; the
/// program.
const ENTER: &str = r#"set -eu
root=$1; shift
mount --rbind /dev "$root/dev"
mount -t tmpfs shm "$root/dev/shm"
mount -t proc proc "$root/proc"
while [ "$1" != -- ]; do
    if [ -d "$2" ]; then mkdir -p "$root$3"; else touch "$root$3"; fi
    mount --bind "$2" "$root$3"
    if [ "$1" = ro ]; then mount -o remount,bind,ro "$root$3"; fi
    shift 3
done
shift
exec chroot "$root" "$@"
"#;
/// Installs packages and starts no service. A mirror whose lists have stood still for a while will do.
const INSTALL: &str = r#"printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/99-standing-mirror
# What breaks here is made anew.
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/unsafe-io
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@"
"#;

/// Something of this machine that is seen in the folder.
#[derive(Debug, Clone)]
pub(super) struct Lent {
    from: PathBuf,
    to: &'static str,
    writable: bool,
}

impl Lent {
    /// To be looked at.
    pub(super) fn to_read(from: &Path, to: &'static str) -> Lent {
        Lent { from: from.to_owned(), to, writable: false }
    }

    /// To be written, too.
    pub(super) fn to_write(from: &Path, to: &'static str) -> Lent {
        Lent { from: from.to_owned(), to, writable: true }
    }
}

/// A Debian in a folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    release: &'static Release,
    /// Whether it goes with this value.
    passing: bool,
}

impl Folder {
    /// The smallest system of a release, with nothing in it but what brings packages. It stays for the next run.
    fn base(release: &'static Release, mirror: &str) -> Result<Folder> {
        Folder::kept(release, release.name, |new| {
            println!("Making a Debian {} in {}", release.name, new.display());
            let mut debootstrap = Command::new("debootstrap");
            debootstrap.arg("--variant=minbase").arg(release.name).arg(new).arg(mirror);
            // Releases differ in what is in them, not in how they are made; an older debootstrap does not know the newest.
            let script = Path::new("/usr/share/debootstrap/scripts").join(release.name);
            if !script.exists() {
                debootstrap.arg(script.with_file_name("sid"));
            }
            command::output(&mut debootstrap).map(drop)
        })
    }

    /// One with `packages`, which stays for the next run.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn with(release: &'static Release, mirror: &str, name: &str, packages: &[String]) -> Result<Folder> {
        let base = Folder::base(release, mirror)?;
        Folder::kept(release, &format!("{}-{name}", release.name), |new| {
            copy(&base.dir, new)?;
            println!("Installing in {}: {}", new.display(), packages.join(" "));
            let folder = Folder { dir: new.to_owned(), release, passing: false };
            command::output(&mut folder.install(packages)?).map(drop)
        })
    }

    /// A new one for `name`, which is removed with the value.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn passing(release: &'static Release, mirror: &str, name: &str) -> Result<Folder> {
        let base = Folder::base(release, mirror)?;
        let dir = folders().join(format!("{}-{name}", release.name));
        remove(&dir)?;
        let folder = Folder { dir, release, passing: true };
        copy(&base.dir, &folder.dir)?;
        Ok(folder)
    }

    /// One that is there, or is made in full beside its place and then moved there.
    fn kept(release: &'static Release, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<Folder> {
        let dir = folders().join(name);
        if !dir.is_dir() {
            let new = dir.with_extension("new");
            remove(&new)?;
            fs::create_dir_all(&new).during(|| new.display().to_string())?;
            make(&new)?;
            fs::rename(&new, &dir).during(|| dir.display().to_string())?;
        }
        Ok(Folder { dir, release, passing: false })
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Installs packages.
    ///
    /// # Errors
    /// As for `script`.
    pub(super) fn install(&self, packages: &[String]) -> Result<Command> {
        let mut command = self.script("install", INSTALL, &[])?;
        command.args(packages);
        Ok(command)
    }

    /// A program in it, with what is lent; its arguments are still to be added.
    ///
    /// # Errors
    /// A directory beside it cannot be written.
    pub(super) fn program(&self, program: &str, lent: &[Lent]) -> Result<Command> {
        let archives = folders().join(format!("{}-archives", self.release.name));
        fs::create_dir_all(archives.join("partial")).during(|| archives.display().to_string())?;
        let archives = Lent::to_write(&archives, "/var/cache/apt/archives");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--ipc", "--fork", "--kill-child", "--propagation", "private"]);
        let enter = workshop().join("enter.sh");
        fs::write(&enter, ENTER).during(|| enter.display().to_string())?;
        command.arg("sh").arg(enter).arg(&self.dir);
        for thing in lent.iter().chain([&archives]) {
            command.arg(if thing.writable { "rw" } else { "ro" }).arg(&thing.from).arg(thing.to);
        }
        command.args(["--", program]).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs([("HOME", "/root"), ("LC_ALL", "C.UTF-8"), ("DEBIAN_FRONTEND", "noninteractive")]);
        command.envs(std::env::vars().filter(|(name, _)| name.to_ascii_lowercase().ends_with("_proxy")));
        Ok(command)
    }

    /// A script of the shell in it, which ends at the first failure; its arguments are still to be added.
    ///
    /// # Errors
    /// As for `program`.
    pub(super) fn script(&self, name: &str, text: &str, lent: &[Lent]) -> Result<Command> {
        let script = Path::new("tmp").join(format!("{name}.sh"));
        fs::write(self.dir.join(&script), text).during(|| self.dir.display().to_string())?;
        let mut command = self.program("sh", lent)?;
        command.arg("-eu").arg(Path::new("/").join(script));
        Ok(command)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.passing
            && let Err(error) = remove(&self.dir)
        {
            eprintln!("{error}");
        }
    }
}

/// Why there can be no folder here, if there can be none.
pub(super) fn obstacle() -> Option<String> {
    let is_root = command::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0");
    if !is_root {
        return Some("a Debian in a folder needs root".to_owned());
    }
    if let Err(error) = cache_sync_cluster::install_missing(&[("debootstrap", "debootstrap")]) {
        return Some(error.to_string());
    }
    // In a container, say, root may not mount.
    let mut mount = Command::new("unshare");
    mount.args([
        "--mount",
        "--pid",
        "--ipc",
        "--fork",
        "--propagation",
        "private",
        "mount",
        "-t",
        "tmpfs",
        "t",
        "/mnt",
    ]);
    (!command::succeeds(&mut mount)).then(|| "root may not mount here".to_owned())
}

fn folders() -> PathBuf {
    workshop().join("folders")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    command::output(Command::new("cp").arg("--archive").arg("--no-target-directory").arg(from).arg(to)).map(drop)
}

/// Removes a folder, in which nothing is mounted: what was is gone with the commands that it was mounted for.
fn remove(dir: &Path) -> Result<()> {
    if fs::read_to_string("/proc/self/mounts")?.contains(&format!(" {}/", dir.display())) {
        return Err(Error::from(format!("something is mounted below {}: unmount it", dir.display())));
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).during(|| dir.display().to_string()),
        _ => Ok(()),
    }
}
