//! The broker as a child process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Every wait in these tests ends here with a panic.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Broker {
    process: Child,
    pub(crate) address: SocketAddr,
    /// Standard output from the second line on. The channel ends with the process.
    pub(crate) stdout: mpsc::Receiver<String>,
    /// Standard error, which a panic in the broker would reach: expected to be empty.
    pub(crate) stderr: mpsc::Receiver<String>,
}

impl Broker {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut process = spawn(&[&["--listen", "127.0.0.1:0"], args].concat());
        let stdout = lines_of(process.stdout.take().expect("stdout is piped"));
        let stderr = lines_of(process.stderr.take().expect("stderr is piped"));
        let first = stdout.recv_timeout(DEADLINE).expect("the broker prints its address");
        let address = first.strip_prefix("listening on http://").expect(&first).parse().expect(&first);
        Self { process, address, stdout, stderr }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.expect("kill is installed").success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.process)
    }

    /// Returns the last line that the broker has printed. Call it after [`wait`](Self::wait).
    pub(crate) fn last_line(&self) -> String {
        self.stdout.iter().last().expect("a last line")
    }

    /// Waits until the broker prints a line with this prefix.
    pub(crate) fn wait_for_line(&self, prefix: &str) {
        let deadline = Instant::now() + DEADLINE;
        let mut lines: Vec<String> = Vec::new();
        while lines.last().is_none_or(|line| !line.starts_with(prefix)) {
            let line = self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            lines.push(line.unwrap_or_else(|_| panic!("no line {prefix:?} in {lines:#?}")));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail if the test has already ended the process.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let stderr: Vec<String> = self.stderr.iter().collect();
        if !std::thread::panicking() {
            assert!(stderr.is_empty(), "{stderr:#?}");
        }
    }
}

/// Runs the broker with options that make it end by itself. Returns exit code, standard output and standard error.
pub(crate) fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let mut process = spawn(args);
    let status = wait(&mut process);
    let text = |mut from: Box<dyn Read>| {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("UTF-8");
        text
    };
    let stdout = text(Box::new(process.stdout.take().expect("stdout is piped")));
    let stderr = text(Box::new(process.stderr.take().expect("stderr is piped")));
    (status.code(), stdout, stderr)
}

fn spawn(args: &[&str]) -> Child {
    Command::new(binary())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the broker starts")
}

fn wait(process: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = process.try_wait().expect("a child of this process") {
            return status;
        }
        if Instant::now() > deadline {
            process.kill().expect("a child of this process");
            panic!("the broker has not exited after {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads in a thread of its own, so that the broker never blocks on a full pipe.
fn lines_of(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// Returns `target/PROFILE/examples/broker`. This test is `target/PROFILE/deps/broker-HASH`.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("target/PROFILE");
    let binary = profile.join("examples").join("broker");
    let modified = |path: PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let built = modified(binary.clone());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/broker");
    for source in sources.read_dir().expect("examples/broker exists") {
        let source = source.expect("a directory entry").path();
        assert!(
            source.extension() != Some("rs".as_ref()) || built >= modified(source),
            "{} is missing or out of date: run `cargo build --example broker` (`cargo test` does, \
             `cargo test --test broker` does not)",
            binary.display()
        );
    }
    binary
}
