//! Who is at the other end of a feed's connection, for the server's log.

use pgrx::datum::Inet;
use pgrx::direct_function_call;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};
use std::fmt::{self, Display, Formatter};
use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::fd::FromRawFd;

/// A client, as it was when its feed began.
pub(super) struct Peer {
    user: String,
    address: String,
}

impl Peer {
    /// The client of this backend, which has one.
    pub(super) fn new() -> Peer {
        // SAFETY: whoever is connected is a role; its name is a new string, or null if the role has been dropped.
        let user = unsafe { text(pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), true)) };
        Peer { user, address: address().unwrap_or_else(|| "local".to_owned()) }
    }
}

/// In quotes, and without line breaks: a log's lines must not be made up by names.
impl Display for Peer {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        // SAFETY: a setting's value, which is never null.
        let application = unsafe { text(pg_sys::application_name) };
        write!(out, "user {:?}, application {application:?}, address {}", self.user, self.address)
    }
}

/// Its host and port; `None` for one of this host's, over a socket without address.
fn address() -> Option<String> {
    // SAFETY: both functions take no arguments, and answer null where there is no address.
    let (host, port) = unsafe {
        let host = direct_function_call::<Inet>(pg_sys::inet_client_addr, &[])?;
        (host, direct_function_call::<i32>(pg_sys::inet_client_port, &[])?)
    };
    Some(format!("{}:{port}", host.0))
}

/// Why the system has given the connection up, if it has: a client that only hung up leaves no error.
pub(super) fn take_error() -> Option<io::Error> {
    // SAFETY: the first field of a Port is the client's socket, which stays open; it is only asked for its error, as sockets of every
    // kind can be.
    unsafe {
        let socket = *pg_sys::MyProcPort.cast::<c_int>();
        ManuallyDrop::new(TcpStream::from_raw_fd(socket)).take_error().ok().flatten()
    }
}

/// # Safety
/// It must be null or end with a zero.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller vouches for the text.
    unsafe { CStr::from_ptr(text).to_string_lossy().into_owned() }
}
