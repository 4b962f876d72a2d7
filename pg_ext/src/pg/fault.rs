//! Only in builds for tests: what can go wrong at a commit is brought about, and what must not happen there is caught.
//!
//! The commit callback runs when the transaction is visible and can no longer fail, so it may neither allocate nor log, raise or
//! panic. While it runs, each of these ends the process at once, and with it, loudly, the test.

use super::settings;
use pgrx::{PgLogLevel, pg_sys};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether the callback is running. A backend has one thread.
static IN_CALLBACK: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: Guarded = Guarded;

/// The system's allocator, but not in the callback.
struct Guarded;

// SAFETY: it is the system's allocator, or ends the process.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        refuse("allocated");
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        refuse("freed memory");
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) };
    }
}

fn refuse(what: &str) {
    if IN_CALLBACK.load(Relaxed) {
        die(what);
    }
}

/// Ends the process without allocating anything.
fn die(what: &str) -> ! {
    unsafe extern "C" {
        fn write(file: i32, bytes: *const u8, count: usize) -> isize;
        fn abort() -> !;
    }
    const STDERR: i32 = 2;
    for text in ["cache_sync: the commit callback ", what, "\n"] {
        // SAFETY: writes bytes that are there.
        unsafe { write(STDERR, text.as_ptr(), text.len()) };
    }
    // SAFETY: ends the process.
    unsafe { abort() }
}

unsafe extern "C-unwind" fn refuse_to_log(_error: *mut pg_sys::ErrorData) {
    refuse("logged or raised");
}

/// Runs the callback's work under guard.
pub(crate) fn at_commit(work: impl FnOnce()) {
    kill_if_told();
    // SAFETY: these are this backend's own, put back before Postgres goes on. Without a context palloc crashes; without a place
    // to go to an error is reported as fatal, and so to the hook.
    unsafe {
        let (context, hook) = (pg_sys::CurrentMemoryContext, pg_sys::emit_log_hook);
        let stack = pg_sys::PG_exception_stack;
        pg_sys::CurrentMemoryContext = null_mut();
        pg_sys::emit_log_hook = Some(refuse_to_log);
        pg_sys::PG_exception_stack = null_mut();
        IN_CALLBACK.store(true, Relaxed);
        misbehave_if_told();
        work();
        IN_CALLBACK.store(false, Relaxed);
        pg_sys::PG_exception_stack = stack;
        pg_sys::emit_log_hook = hook;
        pg_sys::CurrentMemoryContext = context;
    }
}

/// Does what must not be done, so that tests see the guard at work.
fn misbehave_if_told() {
    // Without pgrx's guards, which would have something to say of their own.
    unsafe extern "C-unwind" {
        fn palloc(size: usize) -> *mut std::ffi::c_void;
        fn errstart(level: i32, domain: *const std::ffi::c_char) -> bool;
        fn errfinish(file: *const std::ffi::c_char, line: i32, function: *const std::ffi::c_char);
    }
    let report = |level: PgLogLevel| {
        // SAFETY: what the macro ereport does.
        unsafe {
            if errstart(level as i32, std::ptr::null()) {
                errfinish(c"fault.rs".as_ptr(), 0, c"misbehave_if_told".as_ptr());
            }
        }
    };
    match settings::misbehave_at_commit() {
        1 => drop(std::hint::black_box(Box::new(1))),
        // SAFETY: there is no context, so it crashes.
        2 => drop(std::hint::black_box(unsafe { palloc(8) })),
        3 => report(PgLogLevel::LOG),
        4 => report(PgLogLevel::ERROR),
        5 => panic!("a panic at commit"),
        _ => {}
    }
}

fn kill_if_told() {
    unsafe extern "C" {
        fn raise(signal: i32) -> i32;
    }
    const SIGKILL: i32 = 9;
    if settings::kill_before_publish() {
        // SAFETY: raise sends this process a signal.
        unsafe { raise(SIGKILL) };
    }
}
