//! Attacks by published tools.

use std::process::{Child, Command, Stdio};

use crate::child_server::{ChildServer, Kind};
use crate::observer::Observer;
use crate::support::program::find_program;

/// Opens 400 connections against a limit of 256, for four seconds.
fn survives_slowhttptest(attack: &[&str]) {
    let common = ["-c", "400", "-r", "200", "-i", "1", "-p", "1", "-l", "4"];
    survives("slowhttptest", &[&common, attack, &["-u"]].concat());
}

#[test]
#[ignore = "takes up to ten seconds"]
fn slow_headers_do_not_delay_other_clients() {
    survives_slowhttptest(&["-H", "-x", "10"]);
}

#[test]
#[ignore = "takes up to ten seconds"]
fn slow_bodies_do_not_delay_other_clients() {
    survives_slowhttptest(&["-B", "-s", "8192", "-x", "10"]);
}

#[test]
#[ignore = "takes up to ten seconds"]
fn slow_reads_do_not_delay_other_clients() {
    survives_slowhttptest(&["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"]);
}

#[test]
fn a_hundred_busy_connections_do_not_delay_other_clients() {
    let gzip = "accept-encoding: gzip";
    survives("h2load", &["--h1", "-c", "100", "-D", "4", "-H", gzip]);
}

fn survives(tool: &str, args: &[&str]) {
    let Some(program) = find_program(tool) else {
        return;
    };
    let server = ChildServer::start(Kind::Default);
    let mut observer = Observer::new(&server, 0);
    let mut attack = ChildGuard(
        Command::new(program)
            .args(args)
            .arg(format!("http://{}/parsec/telemetry/metrics", server.address))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the tool starts"),
    );
    observer.observe_while(|| attack.0.try_wait().expect("a child").is_none());
    observer.assert_recovers();
    println!("{tool} {}: {observer}", args.join(" "));
}

/// Kills the process when it is dropped.
struct ChildGuard(Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
