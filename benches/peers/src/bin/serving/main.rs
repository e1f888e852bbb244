//! What a page costs to serve, beside bare hyper with a body of the same size and beside the peers.
//!
//! `cargo run --release --bin serving -- OUTPUT.json`
//!
//! Each server runs in a process of its own on the last core, the load on the first, over loopback.
//! Instructions are counted by callgrind, as the difference between two runs of which one answers
//! twice as many requests as the other: what starting costs is in both.

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use parsec_telemetry_peers::figures::{Request, Serving};
use parsec_telemetry_peers::stay_on_core;

mod child;
mod load;
mod page;
mod servers;

use child::Child;
use servers::Server;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Every server is loaded so many times, in turn with the others, so that a noisy minute is shared.
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 8;
const REQUESTS: usize = 60_000;
const WARM_UP: usize = 2_000;
/// Under callgrind, on one connection, so that every request takes the same way.
const COUNTED: usize = 2_000;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let done = match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["serve", server] => servers::serve(server),
        [output] => measure().and_then(|figures| {
            fs::write(output, serde_json::to_vec_pretty(&figures)?)?;
            Ok(())
        }),
        _ => Err("usage: serving OUTPUT.json".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serving: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<Serving> {
    stay_on_core(0);
    let mut loads: Vec<_> = Server::ALL.iter().map(|_| Loads::default()).collect();
    for round in 1..=ROUNDS {
        for (server, loads) in Server::ALL.iter().zip(&mut loads) {
            loads.add(server)?;
            let rate = loads.rates.last().copied().unwrap_or_default();
            eprintln!("round {round}: {}: {rate:.0} requests a second", server.key);
        }
    }
    let rows = Server::ALL
        .iter()
        .zip(loads)
        .map(|(server, loads)| loads.row(server))
        .collect::<Result<_>>()?;
    Ok(Serving {
        rounds: ROUNDS,
        connections: CONNECTIONS,
        requests: REQUESTS,
        counted: COUNTED,
        rows,
    })
}

/// What the rounds gave for one server.
#[derive(Default)]
struct Loads {
    body_bytes: usize,
    rates: Vec<f64>,
    latencies: Vec<f64>,
    user_us: f64,
    system_us: f64,
}

impl Loads {
    fn add(&mut self, server: &Server) -> Result<()> {
        let child = Child::start(server)?;
        load::run(child.port, server.path, CONNECTIONS, WARM_UP)?;
        let before = child.processor_time()?;
        let loaded = load::run(child.port, server.path, CONNECTIONS, REQUESTS)?;
        let after = child.processor_time()?;
        child.end()?;
        self.body_bytes = loaded.body_bytes;
        self.rates
            .push(REQUESTS as f64 / loaded.elapsed.as_secs_f64());
        let micros = loaded.latencies.iter().map(|time| time.as_secs_f64() * 1e6);
        self.latencies.extend(micros);
        self.user_us += after.user.saturating_sub(before.user).as_secs_f64() * 1e6;
        self.system_us += after.system.saturating_sub(before.system).as_secs_f64() * 1e6;
        Ok(())
    }

    fn row(mut self, server: &Server) -> Result<Request> {
        self.latencies.sort_by(f64::total_cmp);
        let at = |part: usize| self.latencies[(self.latencies.len() - 1) * part / 100];
        let requests = (ROUNDS * REQUESTS) as f64;
        Ok(Request {
            server: server.name.to_owned(),
            page: server.page.to_owned(),
            bare: server.is_bare(),
            body_bytes: self.body_bytes,
            p50_us: at(50),
            p99_us: at(99),
            requests_per_second: self.rates,
            user_us: self.user_us / requests,
            system_us: self.system_us / requests,
            instructions: instructions(server)?,
        })
    }
}

/// User instructions a request.
fn instructions(server: &Server) -> Result<Option<f64>> {
    let count = |requests| -> Result<Option<u64>> {
        let Some(child) = Child::start_counted(server)? else {
            return Ok(None);
        };
        load::run(child.port, server.path, 1, requests)?;
        child.end().map(Some)
    };
    let (Some(once), Some(twice)) = (count(COUNTED)?, count(2 * COUNTED)?) else {
        return Ok(None);
    };
    let each = (twice as f64 - once as f64) / COUNTED as f64;
    eprintln!("{}: {each:.0} instructions a request", server.key);
    Ok(Some(each))
}
