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
    static READ: Mutex<Option<(Moment, Arc<RootCertStore>)>> = Mutex::new(None);
    let now = Time::default().now();
    let mut read = lock(&READ);
    if let Some((_, roots)) = read.as_ref().filter(|(at, _)| now.since(*at) < AGE_MAX) {
        return Ok(roots.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some that cannot be read do not make the others worthless.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "it has none".to_owned(), ToString::to_string);
        return Err(Error::new(ErrorKind::Config, format!("the platform's root certificates cannot be used: {why}")));
    }
    let roots = Arc::new(roots);
    *read = Some((now, roots.clone()));
    Ok(roots)
}
