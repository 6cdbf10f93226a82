//! How long one gradient step of each kind takes, one JSON line a measurement with the keys of the peers; see README.md.

use std::env;
use std::fs;
use std::io;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::Module as _;
use pipeline::Context;
use serde_json::json;
use stages::nn::discriminator::{DiscriminatorBatch, DiscriminatorConfig, TransitionStates};
use stages::nn::loss::{ActionScores, HeadInputs, huber, output_layer};
use stages::nn::sampled_softmax::Proposal;
use stages::nn::{
    AdamW, DiscriminatorSettings, DiscriminatorTrainer, Embedding, Gru, Init, Mlp, Params, masked_mean, rng,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of a state, states in the log, items, and the widths of the networks: those of the peers.
const OBS: usize = 64;
const LOG: usize = 20_000;
const ACTIONS: usize = 1_000;
const HIDDEN: usize = 256;
const BATCH: usize = 256;
/// Of the recurrent step and of the sampled one: items, width, items seen, sequences in the log, negatives.
const ITEMS: usize = 10_000;
const MANY: usize = 100_000;
const WIDTH: usize = 64;
const TURNS: usize = 10;
const SEQUENCES: usize = 4096;
const NEGATIVES: usize = 1000;

fn main() -> ExitCode {
    let given = |name: &str, or: &str| {
        let mut arguments = env::args().skip_while(|argument| argument != name);
        arguments.nth(1).unwrap_or_else(|| or.to_owned())
    };
    let (what, threads) = (given("--what", "peak,bc,cql,airl-32,airl-256,gru,sampled"), given("--threads", "1"));
    if env::var_os("CANDLE_NUM_THREADS").is_none() {
        // candle reads these once, and the program sets them before its first tensor: stages have threads of their own.
        let again = env::current_exe().and_then(|own| {
            let settled = [("RAYON_NUM_THREADS", "1"), ("CANDLE_NUM_THREADS", "1")];
            Command::new(own).args(env::args().skip(1)).envs(settled).status()
        });
        return if again.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let threads: usize = threads.parse().expect("--threads takes a number");
    let device = given("--device", "cpu").parse().expect("--device takes cpu or cuda");
    let scratch = env::temp_dir();
    let device = match stages::nn::device::of(&Context::detached(&scratch).on(device)) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let told: Box<dyn Iterator<Item = String>> = match what.as_str() {
        "-" => Box::new(io::stdin().lines().map_while(Result::ok)),
        steps => Box::new(steps.split(',').map(str::to_owned).collect::<Vec<_>>().into_iter()),
    };
    for what in told {
        if let Err(error) = pool.install(|| measured(&what, threads, &device)) {
            eprintln!("{what}: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measured(what: &str, threads: usize, device: &Device) -> Result<()> {
    match what {
        "peak" => peak(threads),
        "bc" => {
            measure("discrete_bc_step", threads, HIDDEN, 3.0 * discrete(BATCH) - first(), behaviour_cloning(device)?)
        }
        // Two forward passes more, of the network and of the target over the states after.
        "cql" => measure("discrete_cql_step", threads, HIDDEN, 5.0 * discrete(BATCH) - first(), conservative(device)?),
        "airl-32" => measure("airl_disc_step", threads, 32, adversary(32), discriminator(32, device)?),
        "airl-256" => measure("airl_disc_step", threads, 256, adversary(256), discriminator(256, device)?),
        "gru" => {
            let turns = product(BATCH * TURNS, WIDTH, 3 * WIDTH);
            let all = 3.0 * (2.0 * turns + product(BATCH, WIDTH, ITEMS));
            measure("gru_fullsoftmax_step", threads, WIDTH, all, recurrent(device)?)
        }
        "sampled" => {
            let candidates = product(BATCH, WIDTH, NEGATIVES + BATCH);
            let all = 3.0 * (candidates + 2.0 * product(BATCH, WIDTH, WIDTH));
            measure("sampled_softmax_step", threads, WIDTH, all, sampled(device)?)
        }
        other => anyhow::bail!("no step is called so: `{other}`"),
    }
}

/// Floating-point operations of a product of `[m, k]` and `[k, n]`, in thousands of millions.
fn product(m: usize, k: usize, n: usize) -> f64 {
    2e-9 * (m * k * n) as f64
}

/// Of 64 → 256 → 256 → 1,000 forward; back it is twice that, but for the gradient of the states.
fn discrete(rows: usize) -> f64 {
    product(rows, OBS, HIDDEN) + product(rows, HIDDEN, HIDDEN) + product(rows, HIDDEN, ACTIONS)
}

fn first() -> f64 {
    product(BATCH, OBS, HIDDEN)
}

/// Of g once and of the potential twice, forward and back.
fn adversary(hidden: usize) -> f64 {
    let rest = 3.0 * (product(1024, hidden, hidden) + product(1024, hidden, 1));
    2.0 * product(1024, 2 * OBS + 51, hidden) + 4.0 * product(1024, OBS, hidden) + 3.0 * rest
}

/// The products of candle's kernels alone, 512 × 512 × 512, one after the other on each thread.
fn peak(threads: usize) -> Result<()> {
    let matrices = |seed| normal(seed, &[512, 512], &Device::Cpu);
    let (a, b) = (matrices(1)?, matrices(2)?);
    let (mut best, mut all) = (f64::INFINITY, Vec::new());
    for _ in 0..40 {
        let begin = Instant::now();
        rayon::broadcast(|_| (0..8).try_for_each(|_| a.matmul(&b).map(drop))).into_iter().collect::<Result<(), _>>()?;
        all.push(begin.elapsed().as_secs_f64());
        best = all.iter().copied().fold(best, f64::min);
    }
    all.sort_by(f64::total_cmp);
    let of = |seconds: f64| threads as f64 * 8.0 * product(512, 512, 512) / seconds;
    let line = json!({ "bench": "peak", "impl": "apprentice", "threads": threads, "hidden": 0, "gflops": of(best),
        "gflops_median": of(all[all.len() / 2]) });
    println!("{line}");
    Ok(())
}

/// Times each step by itself, after five for nothing, up to 400 in the seconds of `BENCH_BUDGET_S`, like the peers.
/// `gflop` are the operations of its products.
fn measure(
    bench: &str,
    threads: usize,
    hidden: usize,
    gflop: f64,
    mut step: impl FnMut() -> Result<f32>,
) -> Result<()> {
    let budget: f64 = env::var("BENCH_BUDGET_S").ok().and_then(|text| text.parse().ok()).unwrap_or(20.0);
    for _ in 0..5 {
        step()?;
    }
    let (begin, before, mut seconds, mut loss) = (Instant::now(), processor_seconds(), Vec::new(), 0.0);
    while seconds.len() < 400 && (seconds.len() < 5 || begin.elapsed().as_secs_f64() < budget) {
        let begin = Instant::now();
        loss = step()?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    let processor = (processor_seconds() - before) / seconds.len() as f64;
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((share * seconds.len() as f64) as usize).min(seconds.len() - 1)];
    let rounded = |number: f64| (number * 1e4).round() / 1e4;
    let version = env!("CARGO_PKG_VERSION");
    let mut line =
        json!({ "bench": bench, "impl": "apprentice", "version": version, "threads": threads, "hidden": hidden });
    let all = line.as_object_mut().expect("an object");
    for (name, value) in [
        ("ms_min", 1e3 * seconds[0]),
        ("ms_p10", 1e3 * at(0.1)),
        ("ms_median", 1e3 * at(0.5)),
        ("cpu_ms_mean", 1e3 * processor),
        ("gflop", gflop),
        ("steps_s_best", 1.0 / seconds[0]),
        ("steps_s_median", 1.0 / at(0.5)),
        ("loss", f64::from(loss)),
    ] {
        all.insert(name.to_owned(), rounded(value).into());
    }
    all.insert("n_steps".to_owned(), seconds.len().into());
    println!("{line}");
    Ok(())
}

/// What the processors spent on this process, by the kernel's clock of hundredths; 0 where there is no such file.
fn processor_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Numbers that only have to be spread: splitmix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as u32
    }

    fn ids(&mut self, count: usize, bound: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(bound)).collect()
    }

    fn batch(&mut self, count: usize, bound: usize, device: &Device) -> Result<Tensor> {
        Ok(Tensor::new(self.ids(count, bound), device)?)
    }
}

fn normal(seed: u64, shape: &[usize], device: &Device) -> Result<Tensor> {
    Ok(Init::new(seed).normal(shape, 1.0)?.to_device(device)?)
}

/// −mean log π(a|s) of a network 64 → 256 → 256 → 1,000.
fn behaviour_cloning(device: &Device) -> Result<impl FnMut() -> Result<f32> + use<>> {
    let mut params = Params::on(device);
    let network = Mlp::new(&mut params, "q", &[OBS, HIDDEN, HIDDEN, ACTIONS], 1.0, &mut Init::new(0))?;
    let mut adam = AdamW::new(&params, 3e-4, 0.0, f64::INFINITY)?;
    let mut draw = Draw(0);
    let (states, actions) = (normal(1, &[LOG, OBS], device)?, draw.batch(LOG, ACTIONS, device)?);
    let device = device.clone();
    Ok(move || {
        let rows = draw.batch(BATCH, LOG, &device)?;
        let actions = actions.index_select(&rows, 0)?.to_vec1()?;
        let loss = network.action_scores(&states.index_select(&rows, 0)?, &actions)?.log_prob.mean_all()?.neg()?;
        adam.descend(&params, &loss)?;
        Ok(loss.to_scalar()?)
    })
}

/// Huber's loss to a double-DQN target, and the conservative penalty.
fn conservative(device: &Device) -> Result<impl FnMut() -> Result<f32> + use<>> {
    let widths = [OBS, HIDDEN, HIDDEN, ACTIONS];
    let mut params = Params::on(device);
    let network = Mlp::new(&mut params, "q", &widths, 1.0, &mut Init::new(0))?;
    let target = Mlp::new(&mut Params::on(device), "q", &widths, 1.0, &mut Init::new(1))?;
    let mut adam = AdamW::new(&params, 3e-4, 0.0, f64::INFINITY)?;
    let mut draw = Draw(0);
    let (states, next, rewards) =
        (normal(1, &[LOG, OBS], device)?, normal(2, &[LOG, OBS], device)?, normal(3, &[LOG], device)?);
    let actions = draw.batch(LOG, ACTIONS, device)?;
    let not_done = draw.ids(LOG, 20).into_iter().map(|drawn| f32::from(drawn > 0)).collect::<Vec<f32>>();
    let not_done = Tensor::new(not_done, device)?;
    let device = device.clone();
    Ok(move || {
        let rows = draw.batch(BATCH, LOG, &device)?;
        let at = |x: &Tensor| x.index_select(&rows, 0);
        let (next, actions) = (at(&next)?, at(&actions)?.to_vec1()?);
        let best = network.forward(&next)?.argmax_keepdim(D::Minus1)?;
        let priced = target.forward(&next)?.gather(&best, 1)?.squeeze(1)?.detach();
        let wanted = (at(&rewards)? + ((priced * at(&not_done)?)? * 0.99)?)?;
        let ActionScores { logit, log_prob, .. } = network.action_scores(&at(&states)?, &actions)?;
        let loss = (huber(&(logit - wanted)?)?.mean_all()? - log_prob.mean_all()?)?;
        adam.descend(&params, &loss)?;
        Ok(loss.to_scalar()?)
    })
}

/// AIRL's discriminator with two hidden layers, taught as every adversarial stage teaches it.
fn discriminator(hidden: usize, device: &Device) -> Result<impl FnMut() -> Result<f32> + use<>> {
    let inputs = 2 * OBS + 50 + 1;
    let settings =
        DiscriminatorSettings { hidden_size: hidden, n_layers: 2, batch_size: 512, ..DiscriminatorSettings::default() };
    let mut trainer = DiscriminatorTrainer::new(
        device,
        &settings,
        DiscriminatorConfig { inputs, states: OBS, discount: Some(0.99), ..DiscriminatorConfig::default() },
        0,
    )?;
    let rows = |seed: u64| {
        let not_done = Tensor::ones(LOG, DType::F32, device)?;
        Ok::<_, anyhow::Error>(DiscriminatorBatch {
            state_actions: normal(seed, &[LOG, inputs], device)?,
            transition: Some(TransitionStates {
                states: normal(seed + 1, &[LOG, OBS], device)?,
                next_states: normal(seed + 2, &[LOG, OBS], device)?,
                not_done,
            }),
            log_policy: Some((normal(seed + 3, &[LOG], device)? - 3.0)?),
        })
    };
    let (expert, played) = (rows(1)?, rows(5)?);
    let counts = Tensor::ones(LOG, DType::F32, device)?;
    let mut step = 0;
    Ok(move || {
        step += 1;
        Ok(trainer.update((&expert, &counts), &played, [0, step], 2.0)?.loss as f32)
    })
}

/// The next of 10,000 items after ten, by a recurrent unit of 64 numbers.
fn recurrent(device: &Device) -> Result<impl FnMut() -> Result<f32> + use<>> {
    let (items, width, turns, log) = (ITEMS, WIDTH, TURNS, SEQUENCES);
    let (mut params, mut init) = (Params::on(device), Init::new(0));
    let table = Embedding::new(&mut params, "items", &init.normal(&[items, width], 0.1)?)?;
    let gru = Gru::new(&mut params, "gru", width, width, &mut init)?;
    let out = Mlp::new(&mut params, "head", &[width, items], 1.0, &mut init)?;
    let mut adam = AdamW::new(&params, 3e-4, 0.0, f64::INFINITY)?;
    let mut draw = Draw(0);
    let (seen, next) =
        (draw.batch(log * turns, items, device)?.reshape((log, turns))?, draw.batch(log, items, device)?);
    let mask = Tensor::ones((BATCH, turns), DType::F32, device)?;
    let device = device.clone();
    Ok(move || {
        let rows = draw.batch(BATCH, log, &device)?;
        let states = gru.forward(&table.forward(&seen.index_select(&rows, 0)?)?, &mask)?;
        let next = next.index_select(&rows, 0)?.to_vec1()?;
        let loss = out.action_scores(&states, &next)?.log_prob.mean_all()?.neg()?;
        adam.descend(&params, &loss)?;
        Ok(loss.to_scalar()?)
    })
}

/// The next of 100,000 items after ten, by the mean of their vectors, a network 64 → 64 → 64 and a softmax over a sample, with steps
/// of the rows that were used.
fn sampled(device: &Device) -> Result<impl FnMut() -> Result<f32> + use<>> {
    let (mut params, mut init) = (Params::on(device), Init::new(0));
    let seen_table = Embedding::new(&mut params, "seen", &init.normal(&[MANY, WIDTH], 1.0)?)?;
    let out = Embedding::new(&mut params, "out", &init.normal(&[MANY, WIDTH], 1.0)?)?;
    let bias = Embedding::new(&mut params, "bias", &Tensor::zeros((MANY, 1), DType::F32, &Device::Cpu)?)?;
    let network = Mlp::new(&mut params, "network", &[WIDTH, WIDTH, WIDTH], 1.0, &mut init)?;
    let mut adam = AdamW::new(&params, 3e-4, 0.0, f64::INFINITY)?.with_sparse_rows();
    let (mut draw, mut negatives, proposal) = (Draw(0), rng(&[0]), Proposal::new(MANY, &[], true));
    let (seen, next) = (
        draw.batch(SEQUENCES * TURNS, MANY, device)?.reshape((SEQUENCES, TURNS))?,
        draw.batch(SEQUENCES, MANY, device)?,
    );
    let mask = Tensor::ones((BATCH, TURNS), DType::F32, device)?;
    let device = device.clone();
    Ok(move || {
        let rows = draw.batch(BATCH, SEQUENCES, &device)?;
        let query = network.forward(&masked_mean(&seen_table.forward(&seen.index_select(&rows, 0)?)?, &mask)?)?;
        let taken: Vec<u32> = next.index_select(&rows, 0)?.to_vec1()?;
        let candidates = proposal.candidates(&taken, NEGATIVES, &mut negatives)?;
        let items = Tensor::from_slice(&candidates.items, candidates.items.len(), &device)?;
        let rest = (bias.forward(&items)?.squeeze(1)? - candidates.log_proposal.to_device(&device)?)?;
        let action_mask = candidates.action_mask(|_| &[])?.to_device(&device)?;
        let head_inputs = HeadInputs { features: None, action_mask: Some(&action_mask) };
        let chosen = output_layer(&query, &out.forward(&items)?, &rest, head_inputs, &candidates.target_columns())?;
        let loss = chosen.log_prob.mean_all()?.neg()?;
        adam.descend(&params, &loss)?;
        Ok(loss.to_scalar()?)
    })
}
