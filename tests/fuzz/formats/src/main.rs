//! Reads damaged files for as long as it may; see `README.md`.

mod damage;
mod seeds;
mod targets;

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use damage::Damage;
use targets::{TARGETS, Target};

/// An answer that takes longer is a fault.
const PATIENCE: Duration = Duration::from_secs(5);

struct Options {
    only: Option<String>,
    seconds: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\nusage: fuzz-formats [TARGET] [--seconds N] [--seed N]");
            return ExitCode::from(2);
        }
    };
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| options.only.as_deref().is_none_or(|only| only == target.name)).collect();
    if targets.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("no such target; the targets are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut findings = 0;
    for target in &targets {
        findings += run(target, Duration::from_secs(options.seconds) / targets.len() as u32, options.seed);
    }
    if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options() -> Result<Options, String> {
    let mut options = Options { only: None, seconds: 60, seed: 0 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or(format!("{word} wants a number"));
        match word.as_str() {
            "--seconds" => options.seconds = number()?,
            "--seed" => options.seed = number()?,
            _ if word.starts_with('-') => return Err(format!("unknown option {word}")),
            _ => options.only = Some(word),
        }
    }
    Ok(options)
}

/// Damages the seeds of one target until the time is over; gives the number of findings.
fn run(target: &Target, time: Duration, seed: u64) -> usize {
    let folder = tempfile::tempdir().expect("a folder for the files");
    let seeds = (target.seeds)(folder.path());
    let current = PathBuf::from(format!("current-{}", target.name));
    let mut damage = Damage::new(seed);
    let (mut tries, mut refused, mut findings) = (0_u64, 0_u64, 0);
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    while start.elapsed() < time && findings < 20 {
        let bytes = damage.of(&seeds);
        // On the disk before it is read: a process that dies leaves it behind.
        std::fs::write(&current, &bytes).expect("write the file");
        let began = Instant::now();
        let read = panic::catch_unwind(AssertUnwindSafe(|| (target.read)(&current, &mut damage)));
        let took = began.elapsed();
        slowest = slowest.max(took);
        tries += 1;
        refused += u64::from(matches!(read, Ok(Err(_))));
        if read.is_err() || took > PATIENCE {
            findings += 1;
            let kept = format!("finding-{}-{seed}-{tries}", target.name);
            std::fs::write(&kept, &bytes).expect("keep the file");
            println!("{}: {} after {took:?}: {kept}", target.name, if read.is_err() { "a panic" } else { "slow" });
        }
    }
    // A leftover would look like a death.
    let _ = std::fs::remove_file(&current);
    println!(
        "{}: {tries} files from {} seeds, {refused} refused, {findings} findings, slowest {slowest:?}",
        target.name,
        seeds.len()
    );
    findings
}
