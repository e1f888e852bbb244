//! A Prometheus process that scrapes and evaluates every second, its HTTP API, and the server that it scrapes.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

use parsec_telemetry::{Aggregator, serve};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::poll::{DEADLINE, poll, try_poll};
use super::socket::connect;

/// Serves until the runtime is dropped.
pub(crate) fn start_server(aggregator: Aggregator) -> (Runtime, SocketAddr) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(serve(listener, aggregator, std::future::pending::<()>()));
    (runtime, address)
}

/// Kills the process when it is dropped.
pub(crate) struct ChildGuard(pub(crate) Child);

impl ChildGuard {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Prometheus process with a configuration and a database of its own.
pub(crate) struct Prometheus {
    pub(crate) address: SocketAddr,
    process: ChildGuard,
    directory: PathBuf,
}

impl Prometheus {
    /// Starts Prometheus with this rule file and one job per target, by name.
    pub(crate) fn start(program: &Path, targets: &[(&str, SocketAddr)], rules: &str) -> Self {
        // Tests of one process run at the same time.
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Relaxed);
        let directory =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("rules.yml"), rules).expect("written");
        let mut config = String::from(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n",
        );
        for (job, target) in targets {
            write!(
                config,
                "- job_name: {job}\n  \
                   metrics_path: /parsec/telemetry/metrics\n  \
                   static_configs: [{{targets: [\"{target}\"]}}]\n",
            )
            .expect("a String takes every write");
        }
        fs::write(directory.join("prometheus.yml"), config).expect("written");
        let mut process = Command::new(program)
            .current_dir(&directory)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus starts");
        let log = BufReader::new(process.stderr.take().expect("piped"));
        let mut this = Self {
            // Until the log shows it.
            address: targets[0].1,
            process: ChildGuard(process),
            directory,
        };
        this.address = listen_address(log);
        poll("readiness", || get(this.address, "/-/ready").contains("is Ready").then_some(()));
        this
    }

    /// The `data` of a response of the HTTP API.
    pub(crate) fn api(&self, path: &str) -> Value {
        let response = get(self.address, path);
        let response: Value =
            serde_json::from_str(&response).unwrap_or_else(|error| panic!("{path}: {error}: {response}"));
        assert_eq!(response["status"], "success", "{path}: {response}");
        response["data"].clone()
    }

    /// The series that an expression evaluates to.
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let mut escaped = String::new();
        for byte in expression.bytes() {
            write!(escaped, "%{byte:02x}").expect("a String takes every write");
        }
        let data = self.api(&format!("/api/v1/query?query={escaped}"));
        data["result"].as_array().expect("series").clone()
    }

    /// Polls until an expression evaluates to one series with this value.
    pub(crate) fn wait_for(&self, expression: &str, value: &str) {
        let mut series = Vec::new();
        let arrived = try_poll(|| {
            series = self.query(expression);
            (series.len() == 1 && value_of(&series) == Some(value)).then_some(())
        });
        assert!(
            arrived.is_some(),
            "{expression} is not {value} but {series:?}; the targets: {}",
            self.api("/api/v1/targets")
        );
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Before its directory is removed.
        self.process.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Finds the address in the log of Prometheus. Reads the log to its end, since a full pipe would block the process.
fn listen_address(mut log: impl BufRead + Send + 'static) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while log.read_line(&mut line).is_ok_and(|length| length > 0) {
            if line.contains("\"Listening on\"")
                && let Some((_, address)) = line.split_once("address=")
            {
                // The receiver may be gone.
                let _ = sender.send(address.trim().to_owned());
            }
            eprint!("{line}");
            line.clear();
        }
    });
    let address = receiver.recv_timeout(DEADLINE).expect("prometheus logs its address");
    address.parse().expect("an address")
}

pub(crate) fn value_of(series: &[Value]) -> Option<&str> {
    series.first()?["value"][1].as_str()
}

/// The body of a page. HTTP/1.0 ends it with the connection.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    let (_, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    body.to_owned()
}
