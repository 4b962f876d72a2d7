//! The releases of Debian, and which PostgreSQL each has.

use std::fs;
use std::process::Command;

use cache_sync_kit::{Error, Result, command};

/// A release of Debian.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) name: &'static str,
    pub(super) number: u32,
    /// The major version of its PostgreSQL.
    pub(super) postgres: u32,
}

/// Those that packages are built for. No release has PostgreSQL 16.
const RELEASES: [Release; 3] = [
    Release { name: "bookworm", number: 12, postgres: 15 },
    Release { name: "trixie", number: 13, postgres: 17 },
    Release { name: "forky", number: 14, postgres: 18 },
];

impl Release {
    /// The release that has this PostgreSQL.
    pub(super) fn with_postgres(major: u32) -> Option<&'static Release> {
        RELEASES.iter().find(|release| release.postgres == major)
    }

    /// Whether this machine is of it.
    pub(super) fn is_here(&self) -> bool {
        here().name == self.name
    }
}

/// Which system this machine has.
pub(super) struct System {
    /// `debian`, `ubuntu`, ...
    id: String,
    number: String,
    name: String,
}

/// This machine's.
pub(super) fn here() -> System {
    System::of(&fs::read_to_string("/etc/os-release").unwrap_or_default())
}

impl System {
    fn of(text: &str) -> System {
        let value = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().trim_matches('"').to_owned()
        };
        System { id: value("ID"), number: value("VERSION_ID"), name: value("VERSION_CODENAME") }
    }

    /// What tells packages apart that are built on different systems: `deb12`, `ubuntu24.04`.
    pub(super) fn suffix(&self) -> String {
        format!("{}{}", if self.id == "debian" { "deb" } else { &self.id }, self.number)
    }
}

/// The mirror of Debian that this machine's apt uses.
///
/// # Errors
/// It uses none.
pub(super) fn mirror() -> Result<String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]);
    let said = command::output(&mut apt)?;
    mirror_in(&said).ok_or_else(|| Error::from("this machine's apt uses no mirror of Debian"))
}

/// The first that has a release itself; the mirrors of its updates and of other distributions are others.
fn mirror_in(targets: &str) -> Option<String> {
    let mut targets = targets.lines().filter_map(|line| line.split_once(' '));
    let (site, _) = targets.find(|(site, suite)| {
        let of_debian = site.trim_end_matches('/').ends_with("/debian");
        of_debian
            && (RELEASES.iter().any(|release| release.name == *suite) || ["stable", "testing", "sid"].contains(suite))
    })?;
    Some(site.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_system_as_packages_do() {
        let system = System::of("PRETTY_NAME=\"D\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n");
        assert_eq!((system.suffix().as_str(), system.name.as_str()), ("deb12", "bookworm"));
        assert_eq!(System::of("ID=ubuntu\nVERSION_ID=\"24.04\"\n").suffix(), "ubuntu24.04");
    }

    #[test]
    fn takes_debians_own_mirror() {
        let targets =
            "http://a/debian-security bookworm-security\nhttp://b/tools bookworm\nhttp://c/debian/ bookworm\n";
        assert_eq!(mirror_in(targets).as_deref(), Some("http://c/debian/"));
        assert_eq!(mirror_in("http://a/ubuntu noble\n"), None);
    }

    #[test]
    fn knows_which_release_has_which_postgres() {
        assert_eq!(Release::with_postgres(17).map(|release| release.name), Some("trixie"));
        assert_eq!(Release::with_postgres(16), None);
    }
}
