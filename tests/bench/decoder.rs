//! How fast a GGUF model reads, chooses and writes inside this process, and what memory it takes; see README.md.
//!
//!     cargo bench --bench decoder -- MODEL.gguf [THREADS [ROUNDS]]
//!
//! Prints one JSON line a measurement: medians of five rounds, or of so many.

use std::path::Path;
use std::time::Instant;

use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Module, Tensor};
use serde_json::json;
use stages::llm::gguf::Gguf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tokens of the prompt that is read, and of the prefix before candidates.
const READ: usize = 512;
const PREFIX: usize = 300;
const WRITTEN: usize = 32;
const TITLES: [&str; 10] = [
    " Toy Story",
    " GoldenEye",
    " 12 Angry Men",
    " Get Shorty",
    " Apollo 13",
    " Fargo",
    " Die Hard 2",
    " The Godfather",
    " Blade Runner",
    " Trainspotting",
];

fn main() {
    let mut given = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let path = given.next().expect("the path of a GGUF file");
    let mut number = |absent: usize| given.next().map_or(absent, |text| text.parse().expect("a number"));
    let (threads, rounds) = (number(1), number(5));
    let median = |work: &dyn Fn(usize)| median(rounds, work);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("a pool of threads");
    let baseline = resident();
    let model = Gguf::load(Path::new(&path)).expect("a model");
    let file = std::fs::metadata(&path).expect("a file").len() as f64 / 1e6;
    let loaded = resident() - baseline;
    let mut session = model.session();
    session.prepare(&[prompt(&model, READ, 0)]).expect("a prompt");
    let cached = resident() - baseline;
    let measured = json!({ "file_mb": file, "loaded_mb": loaded, "with_prompt_mb": cached, "peak_mb": kept("VmHWM:") });
    tell(threads, "memory", &measured);

    let seconds = median(&|round| {
        together(threads, |worker| {
            model.session().prepare(&[prompt(&model, READ, round * threads + worker)]).expect("a prompt");
        });
    });
    tell(threads, "read", &json!({ "tokens_per_s": (threads * READ) as f64 / seconds }));
    let alone = median(&|round| model.session().prepare(&[prompt(&model, READ, round)]).expect("a prompt"));
    tell(threads, "read, 1 at once", &json!({ "tokens_per_s": READ as f64 / alone }));

    let options = TITLES.map(str::to_owned);
    let prefix = prompt(&model, PREFIX, 1000);
    let shared = median(&|_| drop(model.session().score(std::slice::from_ref(&prefix), &options).expect("scores")));
    // Ten prompts are long enough to need no repetition.
    let start = Instant::now();
    for option in &options {
        model.session().score(std::slice::from_ref(&prefix), std::slice::from_ref(option)).expect("a score");
    }
    let separate = start.elapsed().as_secs_f64();
    tell(threads, "ten candidates", &json!({ "shared_s": shared, "separate_s": separate, "ratio": separate / shared }));

    for sessions in [1, 4 * threads] {
        let prompts: Vec<String> = (0..sessions).map(|user| prompt(&model, PREFIX, user)).collect();
        let reading = median(&|_| together(sessions, |user| drop(reply(&model, &prompts[user], 0))));
        let both = median(&|_| together(sessions, |user| drop(reply(&model, &prompts[user], WRITTEN))));
        let speed = (sessions * WRITTEN) as f64 / (both - reading);
        tell(threads, &format!("write, {sessions} at once"), &json!({ "tokens_per_s": speed }));
    }
    tell(threads, "memory", &json!({ "peak_of_all_mb": kept("VmHWM:") }));

    // Last, because candle keeps a second copy of the weights.
    if threads == 1 {
        let seconds = candles_products(Path::new(&path), rounds);
        tell(threads, "candle's quantised products alone", &json!({ "tokens_per_s": 64.0 / seconds }));
    }
}

fn tell(threads: usize, what: &str, measured: &serde_json::Value) {
    println!("{}", json!({ "program": "apprentice", "threads": threads, "what": what, "measured": measured }));
}

fn reply(model: &Gguf, prompt: &str, tokens: usize) -> String {
    model.session().reply(&[prompt.to_owned()], tokens, "").expect("a reply")
}

/// Words that make exactly so many tokens, other ones for each number.
fn prompt(model: &Gguf, tokens: usize, number: usize) -> String {
    let mut text = format!("Viewer {number} liked");
    while model.tokenize(&text).expect("tokens").len() < tokens {
        let words = [" the", " old", " film", " about", " a", " house"];
        text.push_str(words[(text.len() * 7 + number) % words.len()]);
    }
    text
}

/// Runs it on so many threads at once.
fn together(threads: usize, work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for worker in 0..threads {
            let work = &work;
            scope.spawn(move || work(worker));
        }
    });
}

/// Seconds of `work`, after one round that does not count.
fn median(rounds: usize, work: &dyn Fn(usize)) -> f64 {
    work(0);
    let mut seconds: Vec<f64> = (1..=rounds)
        .map(|round| {
            let start = Instant::now();
            work(round);
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[rounds / 2]
}

/// Seconds that candle's products on the quantised layers take for 64 tokens: a bound for any model built on them.
#[expect(clippy::disallowed_types, reason = "it is measured, nothing is trained with it")]
fn candles_products(path: &Path, rounds: usize) -> f64 {
    let mut file = std::fs::File::open(path).expect("a file");
    let content = Content::read(&mut file).expect("a header");
    let mut maps = Vec::new();
    let is_matrix = |name: &&String| name.starts_with("blk.") && content.tensor_infos[*name].shape.rank() == 2;
    for name in content.tensor_infos.keys().filter(is_matrix) {
        let weights: QTensor = content.tensor(&mut file, name, &Device::Cpu).expect("a tensor");
        let columns = weights.shape().dims()[1];
        let x = Tensor::ones((64, columns), candle_core::DType::F32, &Device::Cpu).expect("inputs");
        maps.push((candle_core::quantized::QMatMul::from_qtensor(weights).expect("a product"), x));
    }
    median(rounds, &|_| maps.iter().for_each(|(map, x)| drop(map.forward(x).expect("a product"))))
}

/// Resident memory of this process, in MB.
fn resident() -> f64 {
    kept("VmRSS:")
}

/// A measure of memory that the kernel keeps of this process, in MB.
fn kept(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or(0.0) / 1e3
}
