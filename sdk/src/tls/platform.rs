//! The roots that the platform trusts.

use crate::common::lock::lock;
use crate::common::time::{Moment, Time};
use crate::error::{Error, ErrorKind};
use rustls::RootCertStore;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long they are good for: they are hundreds of files, and change when the platform is updated.
const AGE_MAX: Duration = Duration::from_secs(600);

/// The roots, read once in a while for all clients of the process.
pub(super) fn roots() -> Result<Arc<RootCertStore>, Error> {
    static KEPT: Mutex<Kept<RootCertStore>> = Mutex::new(Kept(None));
    lock(&KEPT).get(Time::default().now(), read)
}

fn read() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some that cannot be read do not make the others worthless.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "it has none".to_owned(), ToString::to_string);
        return Err(Error::new(ErrorKind::Config, format!("the platform's root certificates cannot be used: {why}")));
    }
    Ok(roots)
}

/// What was read, and when.
struct Kept<T>(Option<(Moment, Arc<T>)>);

impl<T> Kept<T> {
    /// What was read not too long before now. What could not be read is tried again.
    fn get(&mut self, now: Moment, read: impl FnOnce() -> Result<T, Error>) -> Result<Arc<T>, Error> {
        if let Some((_, kept)) = self.0.as_ref().filter(|(at, _)| now.since(*at) < AGE_MAX) {
            return Ok(kept.clone());
        }
        let new = Arc::new(read()?);
        self.0 = Some((now, new.clone()));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_once_in_a_while() {
        let mut kept = Kept(None);
        let failed = || Err(Error::new(ErrorKind::Config, "none"));
        let begun = Moment::from_nanos(1);
        assert!(kept.get(begun, failed).is_err());
        // When, what there is to be read, and what comes.
        for (seconds, there, comes) in [(1, 1, 1), (2, 2, 1), (600, 2, 1), (601, 2, 2), (602, 3, 2)] {
            let got = kept.get(begun + Duration::from_secs(seconds), || Ok(there));
            assert_eq!(got.ok().as_deref(), Some(&comes), "{seconds}");
        }
        assert!(kept.get(begun + Duration::from_secs(1201), failed).is_err(), "what is too old is not taken for new");
    }
}
