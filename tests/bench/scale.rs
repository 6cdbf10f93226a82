//! How long a policy over a large catalogue takes to begin, to act and to learn, one JSON line a catalogue; see README.md.

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use stages::artifact::Array;
use stages::nn::actor_critic::ActorCriticConfig;
use stages::nn::state_batch::StateBatch;
use stages::nn::{ActionLogProb, ActorCritic, AdamW, Encoder, Init};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USERS: usize = 1000;
const WIDTH: usize = 16;
const WINDOW: usize = 7;
/// Episodes that are played beside each other, and their turns.
const EPISODES: usize = 64;
const TURNS: usize = 30;

fn main() -> ExitCode {
    let given = |name: &str, or: &str| {
        let mut arguments = env::args().skip_while(|argument| argument != name);
        arguments.nth(1).unwrap_or_else(|| or.to_owned())
    };
    let threads: usize = given("--threads", "1").parse().expect("--threads takes a number");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    for items in given("--items", "6012,13864,190365").split(',') {
        let items = items.parse().expect("--items takes numbers");
        if let Err(error) = pool.install(|| measured(items, threads)) {
            eprintln!("{items} items: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measured(items: usize, threads: usize) -> Result<()> {
    let array = |seed: u64, rows: usize| -> Result<Array> {
        Ok(Array::new(&[rows, WIDTH], Init::new(seed).normal(&[rows, WIDTH], 0.3)?.flatten_all()?.to_vec1()?))
    };
    let (users, vectors) = (array(1, USERS)?, array(2, items)?);
    let config = ActorCriticConfig {
        users: USERS,
        items,
        width: WIDTH,
        window: WINDOW,
        hidden_size: 64,
        encoder: Encoder::Window,
        prior_scale: 16.0,
        similarity_penalty: 2.0,
        similar_fraction: 0.02,
    };
    let begin = Instant::now();
    let network = ActorCritic::new(config, &users, &vectors, 1)?;
    let begun = begin.elapsed().as_secs_f64();

    let mut adam = AdamW::new(network.params(), 0.002, 0.0, 1.0)?;
    let (mut acted, mut learned) = (vec![], vec![]);
    for update in 0..4_usize {
        let mut shown: Vec<Vec<u32>> = vec![vec![]; EPISODES];
        let begin = Instant::now();
        for turn in 0..TURNS {
            let states = states(&network, shown.iter().enumerate().map(|(user, shown)| (user, &shown[..])))?;
            let uniforms: Vec<f64> = (0..EPISODES).map(|episode| spread(update, turn, episode)).collect();
            let chosen = network.choose(&states, Some(&uniforms))?;
            shown.iter_mut().zip(chosen).for_each(|(shown, item)| shown.push(item));
        }
        acted.push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        let played = shown.iter().enumerate().flat_map(|(user, all)| (0..TURNS).map(move |turn| (user, &all[..turn])));
        let states = states(&network, played)?;
        let (ActionLogProb { log_prob, entropy }, values) = network.evaluate_actions(&states, &shown.concat())?;
        let loss = ((values.sqr()?.mean_all()? - log_prob.mean_all()?)? - (entropy.mean_all()? * 0.01)?)?;
        adam.descend(network.params(), &loss)?;
        learned.push(begin.elapsed().as_secs_f64());
    }
    let least = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
    let pairs = (EPISODES * TURNS * items) as f64;
    let line = json!({
        "bench": "scale", "threads": threads, "items": items, "begin_s": begun,
        "act_s": least(&acted), "act_ns": 1e9 * least(&acted) / pairs,
        "learn_s": least(&learned), "learn_ns": 1e9 * least(&learned) / pairs, "peak_mb": peak_mb(),
    });
    println!("{line}");
    Ok(())
}

/// Numbers in [0, 1) that are spread evenly.
fn spread(update: usize, turn: usize, episode: usize) -> f64 {
    (((update * TURNS + turn) * EPISODES + episode) as f64 * 0.618_033_988_749_895).fract()
}

/// The states of users after what they were shown, which is masked.
fn states<'s>(network: &ActorCritic, all: impl Iterator<Item = (usize, &'s [u32])>) -> Result<StateBatch> {
    let padding = network.config().items as u32;
    let (mut user, mut recent, mut progress, mut masked) = (vec![], vec![], vec![], vec![]);
    for (row, (of, shown)) in all.enumerate() {
        user.push(of as u32);
        recent.extend(shown.iter().rev().copied().chain(std::iter::repeat(padding)).take(WINDOW));
        progress.push(shown.len() as f32 / TURNS as f32);
        masked.extend(shown.iter().map(|&item| (row, item)));
    }
    let mut states = network.states(&user, &recent, &vec![1.0; recent.len()], &progress)?;
    states.mask_actions(masked)?;
    Ok(states)
}

/// The largest resident memory so far.
fn peak_mb() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
}
