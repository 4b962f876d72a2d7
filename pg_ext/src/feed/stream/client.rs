//! The client at the other end of a feed's connection, written to without ever blocking.
//!
//! A backend that is stuck in a send does not answer Postgres' barriers: then CREATE and DROP DATABASE anywhere in the
//! cluster hang. So a message is put only when the one before has been taken, and everything that would make Postgres
//! itself write to a client that takes nothing (an error message) ends the connection without a word instead.

mod peer;

use crate::feed::waiting;
use crate::pg::failure::Failure;
use crate::pg::settings;
use crate::ring;
use cache_sync_core::wire::{CHANNEL, Message};
use peer::Peer;
use pgrx::PgLogLevel;
use pgrx::pg_sys::{self, ffi::pg_guard_ffi_boundary};
use std::ffi::{c_char, c_int};
use std::time::{Duration, Instant};

/// The byte that marks a NotificationResponse.
const NOTIFICATION_RESPONSE: c_char = b'A' as c_char;
/// How often the socket is looked at before its client is taken for one that does not read.
const LOOKS_MAX: usize = 16;
/// Where Postgres keeps the client's socket in `FeBeWaitSet`.
const SOCKET_PLACE: c_int = 0;

/// What `libpq/libpq.h` declares; pgrx does not bind it.
#[repr(C)]
struct PqCommMethodsTable {
    comm_reset: unsafe extern "C-unwind" fn(),
    flush: unsafe extern "C-unwind" fn() -> c_int,
    flush_if_writable: unsafe extern "C-unwind" fn() -> c_int,
    is_send_pending: unsafe extern "C-unwind" fn() -> bool,
    putmessage: unsafe extern "C-unwind" fn(c_char, *const c_char, usize) -> c_int,
    putmessage_noblock: unsafe extern "C-unwind" fn(c_char, *const c_char, usize),
}

unsafe extern "C" {
    static PqCommMethods: *const PqCommMethodsTable;
    /// The client's socket, this process' latch and the postmaster's death.
    static FeBeWaitSet: *mut pg_sys::WaitEventSet;
}

/// The client of this backend.
pub(super) struct Client {
    peer: Peer,
    /// When the message was put that it has not taken yet, and when that must be gone.
    untaken: Option<Untaken>,
    /// The position of the last message.
    told: u64,
}

struct Untaken {
    since: Instant,
    deadline: Instant,
}

impl Client {
    /// The client, if there is one at the end of a socket.
    pub(super) fn new() -> Option<Client> {
        // SAFETY: plain reads of variables that a running backend has set.
        let is_remote = unsafe {
            pg_sys::whereToSendOutput == pg_sys::CommandDest::DestRemote
                && !pg_sys::MyProcPort.is_null()
                && !FeBeWaitSet.is_null()
        };
        if !is_remote {
            return None;
        }
        let client = Client { peer: Peer::new(), untaken: None, told: ring::head() };
        client.bound_silence();
        Some(client)
    }

    /// Has the kernel give the connection up when the client's host has acknowledged nothing for as long as a message may be left
    /// untaken: its buffers take many heartbeats. Who has set a time of his own keeps it.
    pub(super) fn bound_silence(&self) {
        // SAFETY: a plain read of a setting.
        if unsafe { pg_sys::tcp_user_timeout } == 0 {
            set_user_timeout(settings::send_timeout().as_millis() as c_int);
        }
    }

    /// Puts a message, as much of it as the client takes at once. Only to be called when the last one was taken.
    pub(super) fn put(&mut self, message: &Message) {
        debug_assert!(self.untaken.is_none());
        let payload = message.encode();
        let mut body = Vec::with_capacity(4 + CHANNEL.len() + payload.len() + 2);
        // SAFETY: a plain read of this process' number.
        body.extend_from_slice(&unsafe { pg_sys::MyProcPid }.to_be_bytes());
        for text in [CHANNEL, &payload] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        // SAFETY: PqCommMethods points to the methods of the connection, which there is. The method copies the body.
        unsafe {
            let put = (*PqCommMethods).putmessage_noblock;
            pg_guard_ffi_boundary(|| put(NOTIFICATION_RESPONSE, body.as_ptr().cast(), body.len()));
        }
        let now = Instant::now();
        self.untaken = Some(Untaken { since: now, deadline: now + settings::send_timeout() });
        self.told = message.position.0;
        self.push_out();
    }

    /// Whether the client has taken all messages.
    pub(super) fn has_taken_all(&mut self) -> bool {
        if self.untaken.is_some() {
            self.push_out();
        }
        self.untaken.is_none()
    }

    fn push_out(&mut self) {
        // SAFETY: as in `put`; flush_if_writable writes what the socket takes and does not wait for it. What it says is
        // no concern here: a broken connection makes Postgres set an interrupt.
        let is_pending = unsafe {
            let (flush, pending) = ((*PqCommMethods).flush_if_writable, (*PqCommMethods).is_send_pending);
            pg_guard_ffi_boundary(|| {
                flush();
                pending()
            })
        };
        if !is_pending {
            self.untaken = None;
        }
    }

    /// Waits until the latch is set, the time is over, or (while a message is not yet taken) the client takes more.
    /// Ends the backend when the client has gone or takes nothing for too long. Calls `woken` before it looks at what
    /// happened.
    pub(super) fn wait(&mut self, time: Duration, woken: impl FnOnce()) {
        let now = Instant::now();
        let mut events = pg_sys::WL_SOCKET_CLOSED;
        let mut time = time;
        if let Some(Untaken { deadline, .. }) = self.untaken {
            if deadline <= now {
                end_silently(self.lost("cache_sync disconnects a client that stopped reading its feed"));
            }
            events |= pg_sys::WL_SOCKET_WRITEABLE;
            time = time.min(deadline - now + Duration::from_millis(1));
        }
        let happened = wait_for(events, time);
        woken();
        if happened & pg_sys::WL_SOCKET_CLOSED != 0 {
            if let Some(error) = peer::take_error() {
                end_silently(self.lost(&format!("the connection of a cache_sync feed broke: {error}")));
            }
            // SAFETY: what a backend does whose client has hung up; its exit callbacks clean up.
            unsafe { pg_sys::proc_exit(0) };
        }
        if happened & pg_sys::WL_POSTMASTER_DEATH != 0 {
            end_silently(Failure::new(b"57P01", "terminating connection due to unexpected postmaster exit"));
        }
        self.check_interrupts();
    }

    /// Lets Postgres handle what interrupts it, without letting it block on the client.
    pub(super) fn check_interrupts(&mut self) {
        // SAFETY: plain reads of flags that signal handlers set.
        let (pending, die, cancel, lost) = unsafe {
            (
                (&raw const pg_sys::InterruptPending).read_volatile() != 0,
                (&raw const pg_sys::ProcDiePending).read_volatile() != 0,
                (&raw const pg_sys::QueryCancelPending).read_volatile() != 0,
                (&raw const pg_sys::ClientConnectionLost).read_volatile() != 0,
            )
        };
        if !pending {
            return;
        }
        if lost && !die {
            end_silently(self.lost("the connection of a cache_sync feed broke"));
        }
        if (die || cancel) && !self.takes_an_error() {
            // SAFETY: from here on Postgres sends nothing to the client.
            unsafe { pg_sys::whereToSendOutput = pg_sys::CommandDest::DestNone };
            if !die {
                end_silently(self.lost("canceling the cache_sync feed of a client that stopped reading"));
            }
        }
        // SAFETY: a backend may handle interrupts wherever it holds no lock.
        unsafe { pg_sys::ProcessInterrupts() };
    }

    /// Gives the failure back to be raised, or ends the backend if the client would not take the error message. The server's log
    /// says whose feed it was.
    pub(super) fn or_end(&mut self, failure: Failure) -> Failure {
        let failure = failure.log_detail(self.state());
        if !self.takes_an_error() {
            end_silently(failure);
        }
        failure
    }

    /// Ends the backend, and tells the client why if it would take the message.
    pub(super) fn end(&mut self, failure: Failure) -> ! {
        let failure = failure.log_detail(self.state());
        if self.takes_an_error() { end(failure) } else { end_silently(failure) }
    }

    /// The end of a feed that its client does not hear of: all that an operator needs is in the line itself, since logs may be without
    /// details.
    fn lost(&self, what: &str) -> Failure {
        Failure::new(b"08006", format!("{what}; {}", self.state()))
    }

    /// Who the client is, for how long it has taken nothing, and how far it is behind.
    fn state(&self) -> String {
        let took_nothing = self.untaken.as_ref().map_or_else(String::new, |untaken| {
            format!(", it took nothing for {:.1} s", untaken.since.elapsed().as_secs_f64())
        });
        let behind = ring::head().saturating_sub(self.told);
        format!("client: {}{took_nothing}, {behind} changes behind", self.peer)
    }

    /// Whether what Postgres may write now would not block. Resets the latch.
    fn takes_an_error(&mut self) -> bool {
        if !self.has_taken_all() {
            return false;
        }
        // A wait that is not to last says nothing of the socket while the latch is set, nor when a signal that had
        // set it is still on its way.
        for _ in 0..LOOKS_MAX {
            // SAFETY: the latch is this process' own.
            unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
            if wait_for(pg_sys::WL_SOCKET_WRITEABLE, Duration::ZERO) & pg_sys::WL_SOCKET_WRITEABLE != 0 {
                return true;
            }
        }
        false
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: a plain read of a setting, which counts again when the feed has ended and the connection lives on.
        set_user_timeout(unsafe { pg_sys::tcp_user_timeout });
    }
}

/// Sets the connection's TCP_USER_TIMEOUT, in milliseconds; 0 for the system's.
fn set_user_timeout(millis: c_int) {
    unsafe extern "C-unwind" {
        fn pq_settcpusertimeout(timeout: c_int, port: *mut pg_sys::Port) -> c_int;
    }
    // SAFETY: a client's backend has a port. It sets an option of the socket, if that is one of TCP, and logs if it cannot.
    unsafe { pg_guard_ffi_boundary(|| pq_settcpusertimeout(millis, pg_sys::MyProcPort)) };
}

/// Waits for the latch, the postmaster's death and `events` of the client's socket, and says which came.
fn wait_for(events: u32, time: Duration) -> u32 {
    let millis = time.as_micros().div_ceil(1_000).min(60_000) as i64;
    let mut happened = pg_sys::WaitEvent::default();
    // SAFETY: FeBeWaitSet is there as long as the connection; Postgres itself sets anew which events of the socket it
    // waits for, before each wait.
    let count = unsafe {
        pg_sys::ModifyWaitEvent(FeBeWaitSet, SOCKET_PLACE, events, std::ptr::null_mut());
        pg_sys::WaitEventSetWait(FeBeWaitSet, millis, &mut happened, 1, waiting::as_a_feed())
    };
    if count == 0 { 0 } else { happened.events }
}

/// Ends the backend, with a line in the server's log and nothing to the client.
pub(super) fn end_silently(failure: Failure) -> ! {
    // SAFETY: with no destination nothing is sent.
    unsafe { pg_sys::whereToSendOutput = pg_sys::CommandDest::DestNone };
    end(failure)
}

/// Ends the backend by a fatal error.
fn end(failure: Failure) -> ! {
    unsafe extern "C-unwind" {
        fn ThrowErrorData(edata: *mut pg_sys::ErrorData);
    }
    let error = failure.into_error_data(PgLogLevel::FATAL);
    // SAFETY: a FATAL error ends the process after its exit callbacks. It leaves nothing behind that Rust would have had to
    // drop: the listener's place has a callback.
    unsafe { ThrowErrorData(error) };
    unreachable!("ThrowErrorData returned from a fatal error")
}
