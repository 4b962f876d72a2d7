//! The settings: name, default, unit and bounds of each.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_sys};
use std::time::Duration;

/// Most entries the ring may have; the ring sizes its arithmetic for it.
pub(crate) const RING_SIZE_MAX: i32 = 1 << 24;
/// Most listeners there may be; the bitmap of armed ones has this many bits.
pub(crate) const LISTENERS_MAX: i32 = 4096;

/// How many it has unless the setting says otherwise.
pub(crate) const RING_SIZE_DEFAULT: i32 = 65_536;
const MAX_LISTENERS_DEFAULT: i32 = 256;
/// Most changes that a transaction can tell one by one; a quarter of the ring's default size, so that one commit does not overrun
/// every feed.
pub(crate) const TRANSACTION_CHANGES_MAX: i32 = 16_384;

static RING_SIZE: GucSetting<i32> = GucSetting::<i32>::new(RING_SIZE_DEFAULT);
static MAX_LISTENERS: GucSetting<i32> = GucSetting::<i32>::new(MAX_LISTENERS_DEFAULT);
/// What the configuration says of both where the library is not preloaded.
static UNUSED_RING_SIZE: GucSetting<i32> = GucSetting::<i32>::new(RING_SIZE_DEFAULT);
static UNUSED_MAX_LISTENERS: GucSetting<i32> = GucSetting::<i32>::new(MAX_LISTENERS_DEFAULT);
static MAX_TRANSACTION_KEYS: GucSetting<i32> = GucSetting::<i32>::new(4_096);
static WAKE_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(2);
static HEARTBEAT_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(1_000);
static SEND_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static SESSION_KEEP: GucSetting<i32> = GucSetting::<i32>::new(7 * 24 * 3_600);
static DEAD_LETTER_KEEP: GucSetting<i32> = GucSetting::<i32>::new(90 * 24 * 3_600);
#[cfg(feature = "test_faults")]
static KILL_BEFORE_PUBLISH: GucSetting<bool> = GucSetting::<bool>::new(false);
#[cfg(feature = "test_faults")]
static MISBEHAVE_AT_COMMIT: GucSetting<i32> = GucSetting::<i32>::new(0);
#[cfg(feature = "test_faults")]
static OTHER_BUILD: GucSetting<bool> = GucSetting::<bool>::new(false);

/// How many changes the ring holds.
pub(crate) fn ring_size() -> u32 {
    RING_SIZE.get().unsigned_abs()
}

/// How many feeds may be open at a time.
pub(crate) fn max_listeners() -> u32 {
    MAX_LISTENERS.get().unsigned_abs()
}

/// How many changes of one table a transaction tells one by one.
#[inline]
pub(crate) fn max_transaction_keys() -> u32 {
    MAX_TRANSACTION_KEYS.get().unsigned_abs()
}

/// The least time between two messages of one feed, before it is stretched by the number of feeds.
pub(crate) fn wake_interval() -> Duration {
    millis(&WAKE_INTERVAL)
}

/// The time between two heartbeats.
pub(crate) fn heartbeat_interval() -> Duration {
    millis(&HEARTBEAT_INTERVAL)
}

/// How long a client may leave a message untaken before it is disconnected.
pub(crate) fn send_timeout() -> Duration {
    millis(&SEND_TIMEOUT)
}

/// Whether the commit callback is to kill its own process before it publishes.
#[cfg(feature = "test_faults")]
pub(crate) fn kill_before_publish() -> bool {
    KILL_BEFORE_PUBLISH.get()
}

/// What the commit callback is to do that it must not do.
#[cfg(feature = "test_faults")]
pub(crate) fn misbehave_at_commit() -> i32 {
    MISBEHAVE_AT_COMMIT.get()
}

/// Whether this backend is to take itself for another build of the library.
#[cfg(feature = "test_faults")]
pub(crate) fn is_other_build() -> bool {
    OTHER_BUILD.get()
}

fn millis(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(u64::from(setting.get().unsigned_abs()))
}

/// Defines the settings; to be called from `_PG_init`.
pub(crate) fn define() {
    // SAFETY: plain reads of a variable that Postgres sets before it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        define_sizes(&RING_SIZE, &MAX_LISTENERS, || GucContext::Postmaster);
    } else {
        // Not to be defined as they are any more, but Postgres warns of what it does not know, in each session.
        define_sizes(&UNUSED_RING_SIZE, &UNUSED_MAX_LISTENERS, || GucContext::Sighup);
    }
    define_times();
    define_limits();
    #[cfg(feature = "test_faults")]
    define_faults();
    // SAFETY: called once while the library loads; Postgres copies the name.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"cache_sync".as_ptr()) };
}

/// What sizes shared memory; Postgres lets such settings be of a server's start only while it preloads libraries.
fn define_sizes(
    ring_size: &'static GucSetting<i32>,
    max_listeners: &'static GucSetting<i32>,
    context: fn() -> GucContext,
) {
    GucRegistry::define_int_guc(
        c"cache_sync.ring_size",
        c"Number of changes that shared memory holds for feeds to read.",
        c"Each change takes 32 bytes. A feed that falls behind by more than this is told of a gap, and its client \
          refetches what it holds. Only where the library is preloaded. Default 65536, from 1024 to 16777216.",
        ring_size,
        1_024,
        RING_SIZE_MAX,
        context(),
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"cache_sync.max_listeners",
        c"Number of feeds (CALL cache_sync.stream) that may be open at a time, in all databases together.",
        c"Each application process that uses the SDK holds one. Only where the library is preloaded. Default 256, from 1 to 4096.",
        max_listeners,
        1,
        LISTENERS_MAX,
        context(),
        GucFlags::default(),
    );
}

fn define_limits() {
    GucRegistry::define_int_guc(
        c"cache_sync.max_transaction_keys",
        c"Most keys and tags of one table that a transaction tells of one by one.",
        c"With one more it tells that the whole table changed, and clients refetch what they hold of it. Other tables of the \
          transaction are still told by their keys, up to 16384 in all. 0: always the whole table. Default 4096, from 0 to 16384.",
        &MAX_TRANSACTION_KEYS,
        0,
        TRANSACTION_CHANGES_MAX,
        GucContext::Userset,
        GucFlags::default(),
    );
}

#[cfg(feature = "test_faults")]
fn define_faults() {
    GucRegistry::define_bool_guc(
        c"cache_sync.kill_before_publish",
        c"Test only: the backend kills itself between commit and publish.",
        c"Only in builds with the feature test_faults.",
        &KILL_BEFORE_PUBLISH,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"cache_sync.misbehave_at_commit",
        c"Test only: the commit callback allocates (1), pallocs (2), logs (3), raises (4) or panics (5).",
        c"Only in builds with the feature test_faults.",
        &MISBEHAVE_AT_COMMIT,
        0,
        5,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"cache_sync.other_build",
        c"Test only: the backend takes itself for another build of the library.",
        c"Only in builds with the feature test_faults.",
        &OTHER_BUILD,
        GucContext::Suset,
        GucFlags::default(),
    );
}

fn define_times() {
    GucRegistry::define_int_guc(
        c"cache_sync.wake_interval",
        c"Least time between two messages of one feed.",
        c"A feed that was idle sends at once; under load it gathers changes for this long, plus 0.4 ms for each open \
          feed (100 ms at most) and 0.05 ms for each change since its last message (3 ms at most), so that writers \
          need not wake anybody. Default 2 ms, from 0 to 1000 ms.",
        &WAKE_INTERVAL,
        0,
        1_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"cache_sync.heartbeat_interval",
        c"Time between two heartbeats of a feed.",
        c"At each heartbeat a feed also checks anew that its client may read the tables. Clients take silence of \
          several intervals for a lost connection. Default 1000 ms, from 10 to 60000 ms.",
        &HEARTBEAT_INTERVAL,
        10,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"cache_sync.send_timeout",
        c"How long a feed's client may leave a message untaken before it is disconnected.",
        c"Messages are at most 15 kB, so this only meets clients that have stopped reading. Default 10000 ms, from \
          100 to 600000 ms.",
        &SEND_TIMEOUT,
        100,
        600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"cache_sync.session_keep",
        c"How long a session that nobody uses is kept.",
        c"run_maintenance() deletes older ones. A client that was away for longer cannot tell what became of the batch \
          that it had sent last. Default 7 days, from 60 s to 10 years.",
        &SESSION_KEEP,
        60,
        315_360_000,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"cache_sync.dead_letter_keep",
        c"How long a refused patch is kept.",
        c"run_maintenance() deletes older ones, which may be all that is left of a write. Default 90 days, from 60 s to 10 years.",
        &DEAD_LETTER_KEEP,
        60,
        315_360_000,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
}
