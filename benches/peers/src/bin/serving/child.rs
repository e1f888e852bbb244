//! A server in a process of its own.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::servers::Server;

/// It serves until its standard input ends, which is when this is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) port: u16,
}

/// What the process has had of a processor, with all of its threads.
pub(crate) struct ProcessorTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Child {
    pub(crate) fn start(server: &Server) -> Result<Self> {
        Self::spawn(Command::new(env::current_exe()?).args(["serve", server.key]))
    }

    /// Under callgrind; none where there is no valgrind.
    pub(crate) fn start_counted(server: &Server) -> Result<Option<Self>> {
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(env::current_exe()?)
            .args(["serve", server.key])
            .stderr(Stdio::piped());
        match Self::spawn(&mut valgrind) {
            Ok(child) => Ok(Some(child)),
            Err(error) => match error.downcast_ref::<std::io::Error>() {
                Some(error) if error.kind() == ErrorKind::NotFound => {
                    eprintln!("no valgrind here: instructions are not counted");
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        let stdout = process.stdout.take().ok_or("the output is piped")?;
        BufReader::new(stdout).read_line(&mut port)?;
        let port = port.trim().parse()?;
        Ok(Self { process, port })
    }

    /// In steps of the kernel's clock tick, a hundredth of a second.
    pub(crate) fn processor_time(&self) -> Result<ProcessorTime> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // After the command's name, which stands in parentheses and may contain anything.
        let (_, fields) = stat.rsplit_once(')').ok_or("no such line")?;
        let ticks_of = |field: usize| -> Result<Duration> {
            let ticks: u32 = fields
                .split_whitespace()
                .nth(field)
                .ok_or("a short line")?
                .parse()?;
            let second = u32::try_from(rustix::param::clock_ticks_per_second())?;
            Ok(Duration::from_secs(1) * ticks / second)
        };
        Ok(ProcessorTime {
            user: ticks_of(11)?,
            system: ticks_of(12)?,
        })
    }

    /// Ends it, and says how many instructions callgrind counted, or 0 without callgrind.
    pub(crate) fn end(mut self) -> Result<u64> {
        drop(self.process.stdin.take());
        let mut said = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            stderr.read_to_string(&mut said)?;
        }
        let status = self.process.wait()?;
        if !status.success() {
            return Err(format!("the server ended with {status}: {said}").into());
        }
        let counted = said
            .lines()
            .find_map(|line| line.split_once("Collected :"))
            .map_or(Ok(0), |(_, count)| count.trim().parse())?;
        Ok(counted)
    }
}
