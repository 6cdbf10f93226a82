//! How fast low-rank terms of a GGUF model are trained inside this process, and what memory it takes; see README.md.
//!
//!     cargo bench --bench tuning -- MODEL.gguf [THREADS [ROUNDS]]
//!
//! Prints one JSON line a measurement: medians of five steps, or of so many. `tuning_peft.py` does the same steps.

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use stages::llm::gguf::{Adaptation, Gguf, Projection, Sequence};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sequences of a step, tokens before the answer, tokens of the answer.
const BATCH: usize = 8;
const READ: usize = 96;
const ANSWER: usize = 8;
const RANK: usize = 8;
const ALPHA: f64 = 16.0;
const LEARNING_RATE: f32 = 2e-4;

fn main() {
    let mut given = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let path = given.next().expect("the path of a GGUF file");
    let mut number = |absent: usize| given.next().map_or(absent, |text| text.parse().expect("a number"));
    let (threads, rounds) = (number(1), number(5));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("a pool of threads");
    let model = Gguf::load(Path::new(&path)).expect("a model");
    let mut terms = model.new_low_rank(&[Projection::Queries, Projection::Values], RANK, ALPHA, &[0]);
    let mut adam = Adam::new(&terms);
    let mut step = |round: usize| {
        let sequences: Vec<Sequence> = (0..BATCH).map(|index| sequence(round * BATCH + index)).collect();
        let start = Instant::now();
        let found = model.answer_gradients(&terms, &sequences).expect("gradients");
        let mut sum = terms.zeros_like();
        found.iter().for_each(|one| sum.add_scaled(1.0 / (BATCH * ANSWER) as f32, &one.gradient));
        adam.step(&mut terms, &sum);
        (start.elapsed().as_secs_f64(), found.iter().map(|one| one.nll).sum::<f64>() / (BATCH * ANSWER) as f64)
    };
    let (_, first_loss) = step(0);
    let mut seconds: Vec<f64> = (1..=rounds).map(|round| step(round).0).collect();
    seconds.sort_by(f64::total_cmp);
    let tokens = (BATCH * (READ + ANSWER)) as f64;
    let peak = peak_mb();
    tell(threads, &json!({ "tokens_per_s": tokens / seconds[rounds / 2], "peak_mb": peak, "first_loss": first_loss }));
}

/// The same numbers as in `tuning_peft.py`.
fn sequence(number: usize) -> Sequence {
    let tokens = (0..READ + ANSWER).map(|i| (1000 + (7 * i * i + number) % 5000) as u32).collect();
    Sequence { tokens, answer: READ }
}

/// AdamW without decay (Loshchilov and Hutter 2019, arXiv 1711.05101).
struct Adam {
    mean: Adaptation,
    square: Adaptation,
    steps: i32,
}

impl Adam {
    fn new(terms: &Adaptation) -> Self {
        Self { mean: terms.zeros_like(), square: terms.zeros_like(), steps: 0 }
    }

    fn step(&mut self, terms: &mut Adaptation, gradient: &Adaptation) {
        self.steps += 1;
        let correct = |beta: f32| 1.0 - beta.powi(self.steps);
        let (first, second) = (correct(0.9), correct(0.999));
        let moments = self.mean.tensors_mut().into_iter().zip(self.square.tensors_mut());
        for ((x, (_, g)), (m, v)) in terms.tensors_mut().into_iter().zip(gradient.tensors()).zip(moments) {
            for (((x, g), m), v) in x.iter_mut().zip(g).zip(m).zip(v) {
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                *x -= LEARNING_RATE * (*m / first) / ((*v / second).sqrt() + 1e-8);
            }
        }
    }
}

fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok()).expect("a number") / 1e3
}

fn tell(threads: usize, measured: &serde_json::Value) {
    println!(
        "{}",
        json!({ "program": "apprentice", "threads": threads, "what": "training step", "measured": measured })
    );
}
