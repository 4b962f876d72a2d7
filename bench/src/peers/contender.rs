//! A peer in a database of its own, and what its turns cost everybody.

use super::child::{CHECK, TURN, WARM};
use super::confirmed::Lost;
use super::kind::Kind;
use super::shape::Shape;
use super::tally::Turn;
use crate::cpu::{process_seconds, server_seconds};
use cache_sync_cluster::{Cluster, Redis};
use cache_sync_kit::Result;
use serde::de::DeserializeOwned;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tokio_postgres::Client;

/// The database whose copies the peers get.
pub(super) const TEMPLATE: &str = "rows";

/// How long a process may take to do what takes no time of its own: to connect, to read all rows, to have all in Postgres.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(300);

/// A peer that waits for its turns.
pub(super) struct Contender<'c> {
    pub(super) kind: Kind,
    /// How stale its reads may be, as it states.
    pub(super) bound_ms: Option<f64>,
    pub(super) memory: Memory,
    pub(super) rounds: Vec<Round>,
    cluster: &'c Cluster,
    control: &'c Client,
    database: String,
    redis: Option<Redis>,
    process: Child,
    pid: u32,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// How much bigger processes have become by reading all rows once on both nodes, in bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) nodes: i64,
    pub(super) redis: i64,
}

/// What a turn brought and cost.
#[derive(Clone)]
pub(super) struct Round {
    pub(super) turn: Turn,
    /// Statements that Postgres counted, without those of the other program.
    pub(super) statements: f64,
    /// Of all processes together, without the other program's thread.
    pub(super) cpu_seconds: f64,
}

impl<'c> Contender<'c> {
    /// Makes its database, and starts its process, which reads all rows once.
    pub(super) async fn start(
        kind: Kind,
        shape: Shape,
        rows: u64,
        cluster: &'c Cluster,
        control: &'c Client,
    ) -> Result<Contender<'c>> {
        let database = format!("{}_{}", kind.name(), shape.name()).to_lowercase();
        control.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {TEMPLATE}")).await?;
        let dsn = cluster.dsn(&database);
        kind.install(&dsn).await?;
        let redis = kind.needs_redis().then(Redis::start).transpose()?;
        let redis_url = redis.as_ref().map(Redis::url).unwrap_or_default();
        let mut process = Command::new(std::env::current_exe()?)
            .args(["peer", kind.name(), shape.name(), &rows.to_string(), &dsn, &redis_url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().ok_or("it has ended already")?;
        let (Some(commands), Some(said)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("a process without pipes".into());
        };
        let answers = BufReader::new(said).lines();
        let (bound_ms, memory, rounds) = (None, Memory::default(), Vec::new());
        let mut contender = Contender {
            kind,
            bound_ms,
            memory,
            rounds,
            cluster,
            control,
            database,
            redis,
            process,
            pid,
            commands,
            answers,
        };
        contender.bound_ms = contender.answer(ANSWER_TIME_MAX).await?;
        let before = contender.resident()?;
        contender.ask::<()>(WARM, ANSWER_TIME_MAX).await?;
        let after = contender.resident()?;
        contender.memory = Memory { nodes: after.nodes - before.nodes, redis: after.redis - before.redis };
        Ok(contender)
    }

    /// Has it read and write for so long.
    pub(super) async fn play(&mut self, seconds: f64) -> Result<()> {
        let (statements, cpu_seconds) = (self.statements().await?, self.cpu_seconds()?);
        let time_max = Duration::try_from_secs_f64(seconds)? + ANSWER_TIME_MAX;
        let turn: Turn = self.ask(&format!("{TURN} {seconds}"), time_max).await?;
        let round = Round {
            statements: self.statements().await? - statements - turn.outside as f64,
            cpu_seconds: self.cpu_seconds()? - cpu_seconds - turn.outside_cpu_seconds,
            turn,
        };
        self.rounds.push(round);
        Ok(())
    }

    /// Ends it, and says what it had confirmed that Postgres does not have.
    pub(super) async fn end(mut self) -> Result<(Vec<Round>, Lost)> {
        let lost = self.ask(CHECK, ANSWER_TIME_MAX).await?;
        self.process.kill().await?;
        self.control.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.database)).await?;
        Ok((self.rounds, lost))
    }

    async fn ask<T: DeserializeOwned>(&mut self, command: &str, time_max: Duration) -> Result<T> {
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        self.commands.flush().await?;
        self.answer(time_max).await
    }

    async fn answer<T: DeserializeOwned>(&mut self, time_max: Duration) -> Result<T> {
        Ok(serde_json::from_str(&next(&mut self.answers, time_max).await?)?)
    }

    async fn statements(&self) -> Result<f64> {
        let sum = "SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements
                   JOIN pg_database ON pg_database.oid = dbid WHERE datname = $1";
        Ok(self.control.query_one(sum, &[&self.database]).await?.get(0))
    }

    /// What its own process, Postgres and Redis have taken of the processors so far.
    fn cpu_seconds(&self) -> Result<f64> {
        let redis = self.redis.as_ref().map_or(Ok(0.0), |redis| process_seconds(redis.pid()))?;
        Ok(process_seconds(self.pid)? + server_seconds(self.cluster)? + redis)
    }

    fn resident(&self) -> Result<Memory> {
        let redis = self.redis.as_ref().map_or(Ok(0), |redis| resident_bytes(redis.pid()))?;
        Ok(Memory { nodes: resident_bytes(self.pid)?, redis })
    }
}

/// The next line that a process says.
pub(super) async fn next(lines: &mut Lines<impl AsyncBufRead + Unpin>, time_max: Duration) -> Result<String> {
    match timeout(time_max, lines.next_line()).await {
        Ok(line) => line?.ok_or_else(|| "its process has ended".into()),
        Err(_) => Err(format!("its process has not answered for {time_max:?}").into()),
    }
}

/// What a process has in memory.
fn resident_bytes(pid: u32) -> Result<i64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("it has no memory")?;
    let kilobytes: i64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
