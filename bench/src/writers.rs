//! Plain SQL writers on an attached table, with listeners, against the same table not attached, and against a row trigger
//! with pg_notify. Each side has a schema of its own.

use crate::measure::Rounds;
use crate::report::{Report, Target};
use crate::side::{Load, Side, Workload};
use crate::{Result, idle, turns};
use cache_sync_cluster::Cluster;

const LISTENERS: [(usize, f64); 4] = [(0, 0.95), (1, 0.90), (32, 0.75), (128, 0.5)];
const STREAM: &str = "CALL cache_sync.stream()";
const LISTEN: &str = "LISTEN cache_sync";
/// Each time before the log is written it waits 1 ms: nearly a disk that takes as much longer, but for commits that come meanwhile,
/// which are written then, too. Without the second setting Postgres does so only when others are at work, and takes those for
/// idle who wait for NOTIFY's lock.
const COMMIT_DELAY: &str = "-c commit_delay=1000 -c commit_siblings=0";

const ATTACH: &str = "SELECT cache_sync.attach('single'), cache_sync.attach('pgbench_accounts')";
const NOTIFY: &str = "CREATE FUNCTION notify_change() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_notify('cache_sync', TG_TABLE_NAME || ':' || (to_jsonb(NEW) ->> TG_ARGV[0])); RETURN NULL; END $$;
    CREATE TRIGGER notify AFTER UPDATE ON single FOR EACH ROW EXECUTE FUNCTION notify_change('id');
    CREATE TRIGGER notify AFTER UPDATE ON pgbench_accounts FOR EACH ROW EXECUTE FUNCTION notify_change('aid')";

/// Which of them are measured.
pub(crate) struct Scope {
    /// With 1 and 8 writers, too.
    pub(crate) full: bool,
    /// With how many listeners, and what to hold then.
    pub(crate) listeners: Vec<(usize, f64)>,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { full: false, listeners: LISTENERS.to_vec() }
    }
}

/// Reads a list of numbers of listeners.
pub(crate) fn listeners(list: &str) -> std::result::Result<Vec<(usize, f64)>, String> {
    let target = |text: &str| {
        let number = text.parse().ok();
        let known = LISTENERS.into_iter().find(|(listeners, _)| Some(*listeners) == number);
        known.ok_or_else(|| format!("--listeners {text}: of 0,1,32,128"))
    };
    list.split(',').map(target).collect()
}

/// Measures them.
pub(crate) async fn run(
    cluster: &Cluster,
    database: &str,
    (rounds, scope): (Rounds, &Scope),
    report: &mut Report,
) -> Result<()> {
    let side = |name, setup, listening| Side { cluster, database, name, setup, listening, options: "" };
    let (untouched, attached, notified) =
        (side("untouched", "", None), side("attached", ATTACH, Some(STREAM)), side("notified", NOTIFY, Some(LISTEN)));
    let idle_setup = [idle::FUNCTION, &idle::trigger("single"), &idle::trigger("pgbench_accounts")].join("; ");
    let with_idle = side("idle", &idle_setup, None);
    for side in [&untouched, &attached, &notified, &with_idle] {
        side.set_up()?;
    }
    let writers: &[usize] = if scope.full { &[1, 8, 32] } else { &[32] };
    for workload in [Workload::SingleRow, Workload::SimpleUpdate] {
        for (writers, (listeners, target)) in pairs(writers, &scope.listeners) {
            let is_main = writers == 32;
            let load = Load { workload, writers, listeners };
            let against = async |other| turns::take(rounds, (&attached, other), load).await;
            let row = format!("{}, {writers} writers, {listeners} listeners", workload.name());
            let to_hold = |target| if is_main { Target::AtLeast(target) } else { Target::None };
            let with_untouched = against(&untouched).await?;
            let (tps, cpu) = (&with_untouched.tps, &with_untouched.cpu_per_million);
            report.rounds(("writers", &format!("{row} / not attached")), tps, "tps", to_hold(target));
            report.rounds(("writers", &format!("{row}: server CPU per million")), cpu, "s", Target::None);
            let tps = against(&notified).await?.tps;
            report.rounds(("writers", &format!("{row} / pg_notify")), &tps, "tps", to_hold(4.0));
        }
    }
    // NOTIFY holds its lock while the log is written, so what it costs depends on the disk.
    let (delayed, delayed_notified) =
        (Side { options: COMMIT_DELAY, ..attached }, Side { options: COMMIT_DELAY, ..notified });
    for workload in [Workload::SingleRow, Workload::SimpleUpdate] {
        for (listeners, _) in scope.listeners.iter().filter(|(listeners, _)| *listeners <= 1) {
            let sides = turns::take(
                rounds,
                (&delayed, &delayed_notified),
                Load { workload, writers: 32, listeners: *listeners },
            )
            .await?
            .tps;
            let row = format!("{}, 32 writers, {listeners} listeners, commit_delay 1 ms / pg_notify", workload.name());
            report.rounds(("writers", &row), &sides, "tps", Target::None);
        }
    }
    // What is faster than this is out of a trigger's reach.
    for workload in [Workload::SingleRow, Workload::SimpleUpdate] {
        for (what, one, other) in [
            ("attached / idle trigger", &attached, &with_idle),
            ("idle trigger / no trigger", &with_idle, &untouched),
            ("no trigger / pg_notify", &untouched, &notified),
        ] {
            let sides = turns::take(rounds, (one, other), Load { workload, writers: 32, listeners: 0 }).await?.tps;
            let row = format!("{}, 32 writers, 0 listeners: {what}", workload.name());
            report.rounds(("writers", &row), &sides, "tps", Target::None);
        }
    }
    without_preloading(database, (rounds, scope), report).await
}

fn pairs(writers: &[usize], listeners: &[(usize, f64)]) -> impl Iterator<Item = (usize, (usize, f64))> {
    writers.iter().flat_map(|writers| listeners.iter().map(|listeners| (*writers, *listeners)))
}

/// The same on a server that has not preloaded the library.
async fn without_preloading(database: &str, (rounds, scope): (Rounds, &Scope), report: &mut Report) -> Result<()> {
    let cluster = crate::options().preload(false).start()?;
    cluster.createdb(database)?;
    cluster.psql(database, "CREATE EXTENSION cache_sync")?;
    let side = |name, setup| Side { cluster: &cluster, database, name, setup, listening: Some(LISTEN), options: "" };
    let (attached, notified) = (side("attached", ATTACH), side("notified", NOTIFY));
    for side in [&attached, &notified] {
        side.set_up()?;
    }
    for listeners in
        scope.listeners.iter().map(|(listeners, _)| *listeners).filter(|listeners| [0, 32].contains(listeners))
    {
        let load = Load { workload: Workload::SingleRow, writers: 32, listeners };
        let sides = turns::take(rounds, (&attached, &notified), load).await?.tps;
        let row = format!("not preloaded, single-row UPDATE, 32 writers, {listeners} listeners / pg_notify");
        report.rounds(("writers", &row), &sides, "tps", Target::AtLeast(0.9));
    }
    Ok(())
}
