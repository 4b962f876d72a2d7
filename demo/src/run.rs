//! One run, from the first process to the last check.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cache_sync_cluster::Cluster;
use cache_sync_kit::{Result, wait};

use crate::arguments::Arguments;
use crate::child::{Board, Child};
use crate::figures::Figures;
use crate::ledger::Ledger;
use crate::message::Message;
use crate::node::NodeArguments;
use crate::progress::Progress;
use crate::report::{Check, RunReport};
use crate::staleness::{Samples, Staleness};
use crate::{checks, pgbench};

/// How long the feed may be silent before a node trusts nothing that it holds: the bound on staleness.
pub(crate) const BOUND: Duration = Duration::from_secs(2);

/// How much of a node's work is updates, in percent.
const UPDATES_PERCENT: u32 = 5;
/// How long the work goes on after Postgres is back, at least: the nodes must have connected and hold something again.
const AFTER_RESTART_SECONDS_MIN: u64 = 5;
/// How long it may take after that until every node serves from memory again, so many reads.
const SERVING_DEADLINE: Duration = Duration::from_secs(60);
const HITS_MIN: u64 = 1000;
/// Accounts per unit of pgbench's scale.
const ACCOUNTS_PER_SCALE: u32 = 100_000;

/// What is to happen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Also the name of the database.
    pub(crate) name: &'static str,
    pub(crate) seconds: u64,
    /// Kill a node, and Postgres.
    pub(crate) trouble: bool,
    /// The first node hears no changes, and only reads.
    pub(crate) deaf: bool,
}

/// A run under way.
pub(crate) struct Run<'a> {
    cluster: &'a Cluster,
    arguments: &'a Arguments,
    plan: Plan,
    /// Where the processes write down what they do.
    dir: PathBuf,
    board: Arc<Board>,
    alive: Vec<Node>,
    /// The logs of nodes that were killed.
    killed: Vec<PathBuf>,
    started: u64,
    pgbench_codes: Vec<i32>,
}

struct Node {
    child: Child,
    log: PathBuf,
    dump: PathBuf,
}

impl<'a> Run<'a> {
    pub(crate) fn new(cluster: &'a Cluster, arguments: &'a Arguments, plan: Plan) -> Result<Run<'a>> {
        let dir = cluster.socket_dir().join(plan.name);
        std::fs::create_dir(&dir)?;
        Ok(Run {
            cluster,
            arguments,
            plan,
            dir,
            board: Arc::default(),
            alive: Vec::new(),
            killed: Vec::new(),
            started: 0,
            pgbench_codes: Vec::new(),
        })
    }

    /// Does everything.
    pub(crate) async fn run(mut self) -> Result<RunReport> {
        self.prepare().await?;
        for place in 0..self.arguments.nodes {
            self.start_node(self.plan.deaf && place == 0).await?;
        }
        let samples = self.dir.join("samples");
        let mut sampler = Child::start("sampler".into(), &self.sampler_args(&samples), &self.board).await?;
        let progress = Progress::start(self.plan.name, &self.board);
        for node in &mut self.alive {
            node.child.tell("go").await?;
        }
        self.work().await?;
        drop(progress);

        println!("Stopping: everything buffered is written, every change heard.");
        sampler.tell("stop").await?;
        sampler.answer().await?;
        let mut figures = self.quiesce().await?;
        let checks = self.check(&samples, &mut figures).await?;
        Ok(RunReport { name: self.plan.name, seconds: self.plan.seconds, checks, figures })
    }

    /// pgbench's tables as pgbench made them, attached.
    async fn prepare(&self) -> Result<()> {
        let database = self.plan.name;
        println!("pgbench -i with scale {} in database {database}.", self.scale());
        self.cluster.createdb(database)?;
        pgbench::fill(self.cluster, database, self.scale())?;
        self.cluster.psql(
            database,
            "CREATE EXTENSION cache_sync;
             SELECT cache_sync.attach('pgbench_accounts', versioned => true, rules => '{\"abalance\": \"add\"}')",
        )?;
        Ok(())
    }

    /// The control shows that the comparison sees staleness at all: a small table does.
    fn scale(&self) -> u32 {
        if self.plan.deaf { 1 } else { self.arguments.scale }
    }

    fn accounts(&self) -> u32 {
        self.scale() * ACCOUNTS_PER_SCALE
    }

    async fn start_node(&mut self, deaf: bool) -> Result<()> {
        let number = self.started;
        self.started += 1;
        let name = format!("node {number}");
        let log = self.dir.join(format!("node-{number}.log"));
        let arguments = NodeArguments {
            dsn: self.cluster.dsn(self.plan.name),
            log: log.clone(),
            seed: number + 1,
            accounts: self.accounts(),
            updates_percent: if deaf { 0 } else { UPDATES_PERCENT },
            muted: deaf,
            bound: BOUND,
        };
        let child = Child::start(name, &arguments.args(), &self.board).await?;
        self.alive.push(Node { child, dump: log.with_extension("dump"), log });
        Ok(())
    }

    fn sampler_args(&self, file: &Path) -> Vec<String> {
        let dsn = self.cluster.dsn(self.plan.name);
        let (file, accounts) = (file.display().to_string(), self.accounts().to_string());
        ["sampler", "--dsn", &dsn, "--log", &file, "--accounts", &accounts].map(str::to_owned).to_vec()
    }

    /// The time in which everybody works, with trouble in between if there is to be some.
    async fn work(&mut self) -> Result<()> {
        let bench = pgbench::start(self.cluster, self.plan.name, self.plan.seconds)?;
        if !self.plan.trouble {
            self.pgbench_codes.push(pgbench::exit_code(bench).await?);
            return Ok(());
        }
        let third = Duration::from_secs(self.plan.seconds) / 3;
        tokio::time::sleep(third).await;
        println!("SIGKILL to a node, which is started again.");
        let victim = self.alive.pop().ok_or("no node to kill")?;
        victim.child.kill().await?;
        self.killed.push(victim.log);
        self.start_node(false).await?;
        if let Some(node) = self.alive.last_mut() {
            node.child.tell("go").await?;
        }
        tokio::time::sleep(third).await;
        println!("Postgres is restarted with -m immediate.");
        tokio::task::block_in_place(|| self.cluster.restart_immediate())?;
        let code = pgbench::exit_code(bench).await?;
        let rest = third.as_secs().max(AFTER_RESTART_SECONDS_MIN);
        println!("pgbench ended with exit code {code} and is started again with -n for {rest} s.");
        let again = pgbench::exit_code(pgbench::start(self.cluster, self.plan.name, rest)?).await?;
        println!("pgbench ended with exit code {again}.");
        self.pgbench_codes.extend([code, again]);
        self.serving_again().await
    }

    /// Waits until every node serves from memory again. What is compared in the end is what they hold, and after a crash on
    /// a busy disk it takes Postgres a while to answer new connections.
    async fn serving_again(&self) -> Result<()> {
        let hits = |node: &Node| self.board.hits(node.child.name());
        let before: Vec<u64> = self.alive.iter().map(hits).collect();
        let serve = async || Ok(self.alive.iter().zip(&before).all(|(node, before)| hits(node) >= before + HITS_MIN));
        if !wait::until(SERVING_DEADLINE, Duration::from_millis(100), serve).await? {
            return Err(format!("after the restart a node served nothing from memory for {SERVING_DEADLINE:?}").into());
        }
        Ok(())
    }

    /// Stops the work of all nodes, then lets each write down what it holds: nobody writes any more by then.
    async fn quiesce(&mut self) -> Result<Figures> {
        for node in &mut self.alive {
            node.child.tell("stop").await?;
        }
        for node in &mut self.alive {
            node.child.answer().await?;
        }
        let mut figures = Figures::of(&self.board);
        for node in &mut self.alive {
            node.child.tell(&format!("dump {}", node.dump.display())).await?;
            match node.child.answer().await? {
                Message::Dumped { entries, latencies } => figures.add(entries, &latencies),
                other => return Err(format!("{} answered {other:?}", node.child.name()).into()),
            }
        }
        Ok(figures)
    }

    async fn check(&self, samples: &Path, figures: &mut Figures) -> Result<Vec<Check>> {
        let alive = ledgers(self.alive.iter().map(|node| &node.log))?;
        let killed = ledgers(&self.killed)?;
        let samples = Samples::read(samples)?;
        let mut staleness = Staleness::default();
        let logs = self.alive.iter().map(|node| &node.log).take(if self.plan.deaf { 1 } else { usize::MAX });
        for log in logs.chain(&self.killed) {
            samples.compare(&log.with_extension("reads"), BOUND, &mut staleness)?;
        }
        figures.age.merge(&staleness.age);
        let mut found = vec![checks::staleness(staleness, self.plan.deaf)];
        if self.plan.deaf {
            return Ok(found);
        }
        let expected: &[i32] = if self.plan.trouble { &[2, 0] } else { &[0] };
        found.push(checks::pgbench(&self.pgbench_codes, expected));
        found.push(checks::outcomes(&alive));
        found.push(checks::conservation(self.cluster, self.plan.name, &alive, &killed)?);
        let dumps: Vec<_> = self.alive.iter().map(|node| (node.child.name().to_owned(), node.dump.as_path())).collect();
        found.push(checks::entries(&self.cluster.dsn(self.plan.name), &dumps).await?);
        Ok(found)
    }
}

fn ledgers<'a>(logs: impl IntoIterator<Item = &'a PathBuf>) -> Result<Vec<Ledger>> {
    logs.into_iter().map(|log| Ledger::read(log)).collect()
}
