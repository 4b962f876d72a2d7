//! A server of Redis in a temporary directory that is gone with its owner. It keeps nothing on disk.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use cache_sync_kit::{During, Error, Result, wait};

use crate::lifetime::{Lifetime, REDIS_PID_FILE};
use crate::throwaway::{free_port, short_temp_dir, tail};
use crate::{tools, user};

/// How often a start is tried when somebody else takes the port in between.
const START_ATTEMPTS_MAX: usize = 5;
/// How long a server may take until it answers.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// Between two questions whether it does.
const PAUSE: Duration = Duration::from_millis(5);
const LOG_FILE: &str = "log";
const SOCKET_FILE: &str = "redis.sock";

/// A running server of Redis. Dropping it ends the server and removes its directory.
#[derive(Debug)]
pub struct Redis {
    /// Before the directory, which it writes into.
    server: Server,
    lifetime: Lifetime,
    port: u16,
}

impl Redis {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no redis-server, or it does not start: the error holds the end of its log.
    pub fn start() -> Result<Redis> {
        Redis::start_with(&[])
    }

    /// The same with settings as they stand in redis.conf, of which the later counts.
    ///
    /// # Errors
    /// Those of [`Redis::start`]; or a setting is not known.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Redis> {
        let program = tools::redis_server()?;
        let mut last = Error::from("the server was not started");
        for _ in 0..START_ATTEMPTS_MAX {
            match Redis::launch(&program, settings) {
                Ok(redis) => return Ok(redis),
                Err(error) => last = error,
            }
            if !last.to_string().contains("Address already in use") {
                break;
            }
        }
        Err(last)
    }

    fn launch(program: &Path, settings: &[(&str, &str)]) -> Result<Redis> {
        let (lifetime, user, port) = (Lifetime::begin(&short_temp_dir())?, user::server_user()?, free_port()?);
        let dir = lifetime.dir();
        if let Some(user) = user {
            chown(dir, Some(user.uid), Some(user.gid))?;
        }
        let log = File::create(dir.join(LOG_FILE))?;
        let mut command = user::command_as(user, program);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(dir).arg("--pidfile").arg(dir.join(REDIS_PID_FILE));
        command.arg("--unixsocket").arg(dir.join(SOCKET_FILE));
        for (name, value) in settings {
            command.arg(format!("--{name}")).arg(value);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let server = Server(command.spawn().during(|| program.display().to_string())?);
        let mut redis = Redis { server, lifetime, port };
        if redis.answers()? {
            return Ok(redis);
        }
        Err(format!("redis-server does not answer; the end of its log:\n{}", tail(&redis.log_file())).into())
    }

    /// Whether it answers within its time. It listens on its socket once it has the port.
    fn answers(&mut self) -> Result<bool> {
        let socket = self.lifetime.dir().join(SOCKET_FILE);
        let mut lives = true;
        let is_decided = wait::until_blocking(START_TIME_MAX, PAUSE, || {
            lives = self.server.0.try_wait()?.is_none();
            Ok(!lives || ping(&socket).is_ok())
        })?;
        Ok(is_decided && lives)
    }

    /// Where clients find it: `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process of the server.
    pub fn pid(&self) -> u32 {
        self.server.0.id()
    }

    /// Its log.
    pub fn log_file(&self) -> PathBuf {
        self.lifetime.dir().join(LOG_FILE)
    }
}

#[derive(Debug)]
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing in there is worth a good-bye; one that has ended already is only waited for.
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("cannot end redis-server: {error}");
        }
    }
}

/// Whether a server of Redis answers on the socket.
fn ping(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(START_TIME_MAX))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    if &answer == b"+PONG\r\n" { Ok(()) } else { Err("the answer is not that of Redis".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_with_its_owner_however_that_ends() {
        let Redis { server, lifetime, port } = Redis::start().unwrap();
        // An owner that is killed ends nothing.
        std::mem::forget(server);
        let dir = lifetime.dir().to_owned();
        drop(lifetime);
        assert!(!dir.exists());
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the server still runs");
    }
}
