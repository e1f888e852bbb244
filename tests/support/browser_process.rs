//! The process of `chromedriver`, which starts and ends Chromium.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};

use super::poll::{DEADLINE, try_poll};

pub(crate) struct Driver {
    process: Child,
    pub(crate) address: SocketAddr,
    /// For the profile and all other files of Chromium.
    pub(crate) directory: PathBuf,
}

impl Driver {
    pub(crate) fn start(program: &Path) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Relaxed);
        let directory = env::temp_dir().join(format!("parsec-browser-{}-{number}", process::id()));
        fs::create_dir_all(&directory).expect("created");
        let mut process = Command::new(program)
            .arg("--port=0")
            .process_group(0)
            .env("HOME", &directory)
            .env("TMPDIR", &directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let port = port_in(process.stdout.take().expect("piped"));
        // Before the wait, so that a panic ends the process.
        let mut this = Self { process, address: (Ipv4Addr::LOCALHOST, 0).into(), directory };
        let port = port.recv_timeout(DEADLINE).expect("chromedriver prints its port");
        this.address.set_port(port);
        this
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Chromium is in the group of its driver. Each of these fails if its subject is gone.
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
        // A process of the group may still create a file.
        try_poll(|| {
            let _ = fs::remove_dir_all(&self.directory);
            (!self.directory.exists()).then_some(())
        });
    }
}

/// Finds the port in the output of `chromedriver`. Reads the output to its end, since a full pipe would block it.
fn port_in(output: impl Read + Send + 'static) -> mpsc::Receiver<u16> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let port = line.strip_prefix("ChromeDriver was started successfully on port ");
            if let Some(Ok(port)) = port.map(|port| port.trim_end_matches('.').parse()) {
                // The receiver may be gone.
                let _ = sender.send(port);
            }
        }
    });
    receiver
}
