//! Plain SQL writers on an attached table, with listeners, against the same table not attached, and against a row trigger
//! with pg_notify. Each side has a schema of its own.

use crate::measure::Rounds;
use crate::report::{Figure, Report, Target};
use crate::side::{Load, Side, Workload};
use crate::{idle, turns};
use cache_sync_cluster::Cluster;
use cache_sync_kit::Result;

/// How many listen, and what to hold then.
#[derive(Clone, Copy)]
pub(crate) struct Audience {
    listeners: usize,
    /// The least part of the untouched table's transactions a second.
    at_least: f64,
}

const AUDIENCES: [Audience; 4] = [
    Audience { listeners: 0, at_least: 0.95 },
    Audience { listeners: 1, at_least: 0.90 },
    Audience { listeners: 32, at_least: 0.75 },
    Audience { listeners: 128, at_least: 0.5 },
];
const WORKLOADS: [Workload; 2] = [Workload::SingleRow, Workload::SimpleUpdate];
/// How many write where nothing else is said.
const WRITERS: usize = 32;
const BENCH: &str = "writers";
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

/// Which rows are measured.
pub(crate) struct Scope {
    /// With so many writers.
    writers: &'static [usize],
    audiences: Vec<Audience>,
}

impl Scope {
    /// `full`: with 1 and 8 writers, too. With every audience unless some are named.
    pub(crate) fn new(full: bool, audiences: Option<Vec<Audience>>) -> Scope {
        let writers: &[usize] = if full { &[1, 8, WRITERS] } else { &[WRITERS] };
        Scope { writers, audiences: audiences.unwrap_or(AUDIENCES.to_vec()) }
    }
}

/// Reads a list of numbers of listeners.
pub(crate) fn audiences(list: &str) -> Result<Vec<Audience>> {
    let audience = |text: &str| {
        let number = text.parse().ok();
        let known = AUDIENCES.into_iter().find(|audience| Some(audience.listeners) == number);
        known.ok_or_else(|| format!("--listeners {text}: of 0,1,32,128").into())
    };
    list.split(',').map(audience).collect()
}

/// Where and how long it is measured.
pub(crate) struct Bench<'b> {
    pub(crate) cluster: &'b Cluster,
    pub(crate) database: &'b str,
    pub(crate) rounds: Rounds,
    pub(crate) scope: &'b Scope,
}

/// The tables that are compared.
struct Kinds<'k> {
    untouched: Side<'k>,
    attached: Side<'k>,
    notified: Side<'k>,
    /// With a trigger that does nothing.
    idle: Side<'k>,
}

impl Bench<'_> {
    /// Measures them.
    pub(crate) async fn run(&self, report: &mut Report) -> Result<()> {
        let Bench { cluster, database, .. } = *self;
        let side = |name, setup, listening| Side { cluster, database, name, setup, listening, options: "" };
        let idle = [idle::FUNCTION, &idle::trigger("single"), &idle::trigger("pgbench_accounts")].join("; ");
        let kinds = Kinds {
            untouched: side("untouched", "", None),
            attached: side("attached", ATTACH, Some(STREAM)),
            notified: side("notified", NOTIFY, Some(LISTEN)),
            idle: side("idle", &idle, None),
        };
        for side in [&kinds.untouched, &kinds.attached, &kinds.notified, &kinds.idle] {
            side.set_up()?;
        }
        for workload in WORKLOADS {
            for &writers in self.scope.writers {
                for &audience in &self.scope.audiences {
                    self.with_listeners(&kinds, workload, writers, audience, report).await?;
                }
            }
        }
        self.with_commit_delay(&kinds, report).await?;
        self.without_listeners(&kinds, report).await?;
        self.without_preloading(report).await
    }

    async fn with_listeners(
        &self,
        kinds: &Kinds<'_>,
        workload: Workload,
        writers: usize,
        audience: Audience,
        report: &mut Report,
    ) -> Result<()> {
        let Audience { listeners, at_least } = audience;
        let load = Load { workload, writers, listeners };
        let row = format!("{}, {writers} writers, {listeners} listeners", workload.name());
        let to_hold = |ratio| if writers == WRITERS { Target::AtLeast(ratio) } else { Target::None };
        let turns = turns::take(self.rounds, &kinds.attached, &kinds.untouched, load).await?;
        report.rounds(tps(format!("{row} / not attached"), to_hold(at_least)), &turns.tps);
        let cpu = format!("{row}: server CPU per million");
        report.rounds(Figure::new(BENCH, cpu, "s", Target::None), &turns.cpu_per_million);
        let turns = turns::take(self.rounds, &kinds.attached, &kinds.notified, load).await?;
        report.rounds(tps(format!("{row} / pg_notify"), to_hold(4.0)), &turns.tps);
        Ok(())
    }

    /// NOTIFY holds its lock while the log is written, so what it costs depends on the disk.
    async fn with_commit_delay(&self, kinds: &Kinds<'_>, report: &mut Report) -> Result<()> {
        let delayed = |side| Side { options: COMMIT_DELAY, ..side };
        let (attached, notified) = (delayed(kinds.attached), delayed(kinds.notified));
        for workload in WORKLOADS {
            for listeners in self.listeners().filter(|listeners| *listeners <= 1) {
                let load = Load { workload, writers: WRITERS, listeners };
                let sides = turns::take(self.rounds, &attached, &notified, load).await?.tps;
                let name = workload.name();
                let row = format!("{name}, {WRITERS} writers, {listeners} listeners, commit_delay 1 ms / pg_notify");
                report.rounds(tps(row, Target::None), &sides);
            }
        }
        Ok(())
    }

    /// What is faster than this is out of a trigger's reach.
    async fn without_listeners(&self, kinds: &Kinds<'_>, report: &mut Report) -> Result<()> {
        let Kinds { untouched, attached, notified, idle } = kinds;
        for workload in WORKLOADS {
            for (what, one, other) in [
                ("attached / idle trigger", attached, idle),
                ("idle trigger / no trigger", idle, untouched),
                ("no trigger / pg_notify", untouched, notified),
            ] {
                let load = Load { workload, writers: WRITERS, listeners: 0 };
                let sides = turns::take(self.rounds, one, other, load).await?.tps;
                let row = format!("{}, {WRITERS} writers, 0 listeners: {what}", workload.name());
                report.rounds(tps(row, Target::None), &sides);
            }
        }
        Ok(())
    }

    /// The same on a server that has not preloaded the library.
    async fn without_preloading(&self, report: &mut Report) -> Result<()> {
        let cluster = &crate::options().preload(false).start()?;
        let database = self.database;
        cluster.createdb(database)?;
        cluster.psql(database, "CREATE EXTENSION cache_sync")?;
        let side = |name, setup| Side { cluster, database, name, setup, listening: Some(LISTEN), options: "" };
        let (attached, notified) = (side("attached", ATTACH), side("notified", NOTIFY));
        for side in [&attached, &notified] {
            side.set_up()?;
        }
        for listeners in self.listeners().filter(|listeners| [0, 32].contains(listeners)) {
            let load = Load { workload: Workload::SingleRow, writers: WRITERS, listeners };
            let sides = turns::take(self.rounds, &attached, &notified, load).await?.tps;
            let row = format!("not preloaded, single-row UPDATE, {WRITERS} writers, {listeners} listeners / pg_notify");
            report.rounds(tps(row, Target::AtLeast(0.9)), &sides);
        }
        Ok(())
    }

    fn listeners(&self) -> impl Iterator<Item = usize> {
        self.scope.audiences.iter().map(|audience| audience.listeners)
    }
}

/// Transactions a second.
fn tps(row: String, target: Target) -> Figure {
    Figure::new(BENCH, row, "tps", target)
}
