//! The tools that others abuse servers with.

use std::process::{Child, Command, Stdio};

use crate::outside::{Kind, Outside};
use crate::support;
use crate::watch::Watch;

/// 400 connections against 256 places, for four seconds.
fn slowhttptest(of: &[&str]) {
    let all = ["-c", "400", "-r", "200", "-i", "1", "-p", "1", "-l", "4"];
    withstands("slowhttptest", &[&all, of, &["-u"]].concat());
}

#[test]
fn slow_headers_are_withstood() {
    slowhttptest(&["-H", "-x", "10"]);
}

#[test]
fn slow_bodies_are_withstood() {
    slowhttptest(&["-B", "-s", "8192", "-x", "10"]);
}

#[test]
fn slow_reads_are_withstood() {
    slowhttptest(&[
        "-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3",
    ]);
}

#[test]
fn a_load_of_requests_is_withstood() {
    let gzip = "accept-encoding: gzip";
    withstands("h2load", &["--h1", "-c", "100", "-D", "4", "-H", gzip]);
}

/// Every answer is right and in time while the tool runs, and it leaves nothing behind.
fn withstands(tool: &str, args: &[&str]) {
    let Some(program) = support::program(tool) else {
        return;
    };
    let server = Outside::start(Kind::Usual);
    let at = format!("http://{}/parsec/telemetry/metrics", server.at);
    let mut watch = Watch::of(&server, 0);
    let mut running = Running(
        Command::new(program)
            .args(args)
            .arg(at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    watch.looks_on(|| running.0.try_wait().expect("a child").is_none());
    watch.sees_it_well();
    println!("{tool} {}: {watch}", args.join(" "));
}

/// Ended with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
