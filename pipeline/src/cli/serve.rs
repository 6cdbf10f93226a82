//! `apprentice serve POLICY…`: answers over HTTP until Ctrl-C or SIGTERM.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args;
use super::inspect::policy;
use super::output::{print, talk, write};
use super::session::Session;
use crate::exit::Failure;
use crate::serve::{Limits, LogOptions, ServeOptions, serve as run};
use crate::{Exit, escape};

pub(super) fn serve(session: &Session, args: &args::Serve) -> Result<Exit, Failure> {
    let store = session.store();
    let file = |(place, name): (usize, &String)| {
        let path = policy(&store, name, args.experiment.as_deref(), session.catalog)?;
        // As many files may be called alike.
        let twice = args.policies[..place].contains(name);
        Ok((if twice { format!("{name} ({place})") } else { name.clone() }, path))
    };
    let policies = args.policies.iter().enumerate().map(file).collect::<Result<Vec<_>, Failure>>()?;
    let shares = shares(&args.split, policies.len()).map_err(Failure::usage)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone()).context("listen to signals")?;
        signal_hook::flag::register(signal, stop.clone()).context("listen to signals")?;
    }
    let options = ServeOptions {
        policies,
        shares,
        address: SocketAddr::new(args.host, args.port),
        threads: session.global.threads(),
        limits: Limits {
            count: args.count,
            exclude_history: args.exclude_history,
            body_bytes: args.max_body,
            questions: args.max_questions,
            requests: args.max_requests,
        },
        log: args.log.clone().map(|folder| LogOptions {
            folder,
            rows: args.log_rows,
            age: Duration::from_secs(args.log_seconds as u64),
            explore: args.explore,
        }),
    };
    let as_json = session.global.json;
    let ready = |address: SocketAddr, policies: &[String]| {
        // Whoever started it reads where it listens; that nobody does is no failure.
        let _ = match as_json {
            true => {
                write(&escape::json(&format!("{}\n", json!({ "event": "listening", "address": address.to_string() }))))
            }
            false => print(&format!(
                "{}\nlistening on http://{address}: POST /recommend, GET /health, GET /metrics\n",
                policies.join("\n")
            )),
        };
    };
    run(options, session.catalog, &stop, ready, talk)?;
    talk("stopped");
    Ok(Exit::Ok)
}

/// The shares of `count` policies: equal ones where none are given.
fn shares(given: &[f64], count: usize) -> anyhow::Result<Vec<f64>> {
    if given.is_empty() {
        return Ok(vec![1.0 / count as f64; count]);
    }
    if given.len() != count {
        return Err(anyhow!(
            "`--split` has {} shares for {count} policies\nhelp: give one for each, as in `--split 0.9,0.1`",
            given.len()
        ));
    }
    let sum: f64 = given.iter().sum();
    if !given.iter().all(|share| (0.0..=1.0).contains(share)) || (sum - 1.0).abs() > 1e-6 {
        return Err(anyhow!("the shares of `--split` sum to {sum}\nhelp: shares are 0 or more and sum to 1"));
    }
    Ok(given.to_vec())
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn shares_are_one_a_policy_and_sum_to_1() {
        assert_eq!(shares(&[], 4).unwrap(), [0.25; 4]);
        assert_eq!(shares(&[0.9, 0.1], 2).unwrap(), [0.9, 0.1]);
        for (given, part) in [
            (vec![1.0], "1 shares for 2"),
            (vec![0.9, 0.2], "sum to 1.1"),
            (vec![1.5, -0.5], "0 or more"),
            (vec![f64::NAN, 1.0], "sum to NaN"),
        ] {
            let error = shares(&given, 2).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("\nhelp: "), "{error}");
        }
    }
}
