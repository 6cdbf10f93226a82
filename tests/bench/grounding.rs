//! How long 100,000 recorded steps take to be parsed and grounded by `ingest.transcripts`; see README.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use pipeline::{Context, Stage as _};
use serde_json::{Value, json};
use stages::ingest::Transcripts;

/// What the stage reads beside its files: here no log.
type Inputs = <Transcripts as pipeline::Stage>::Inputs;

const STEPS: usize = 100_000;
const TITLES: usize = 6_000;
const PER_EPISODE: usize = 20;

fn main() {
    // `cargo bench` adds `--bench`; what is left may be the folder of BiLLP's episodes.
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let titles: Vec<String> = (0..TITLES).map(title).collect();
    let map: serde_json::Map<String, Value> =
        titles.iter().enumerate().map(|(id, title)| (id.to_string(), title.clone().into())).collect();
    write(folder.path(), "maps.json", &json!({ "id2item_dict": map }).to_string());
    write(folder.path(), "lines_all.ndjson", &lines(&titles));
    let episodes: usize = STEPS / PER_EPISODE;
    for file in 0..8 {
        write(
            folder.path(),
            &format!("text_{file}.json"),
            &text(&titles, file * episodes / 8..(file + 1) * episodes / 8),
        );
    }
    let lines = json!({ "files": "lines_", "format": "lines", "titles": "maps.json" });
    measure("plain lines, every name misspelt in its own way", folder.path(), lines);
    measure("BiLLP's text, the same names", folder.path(), json!({ "files": "text_", "titles": "maps.json" }));
    if let Some(given) = given {
        let copies = tempfile::tempdir().expect("a temporary folder");
        for entry in fs::read_dir(&given).expect("a folder with BiLLP's episodes") {
            let path = entry.expect("an entry of the folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for copy in 0..if name.starts_with("steam_t") { 8 } else { 1 } {
                let name = if copy == 0 { name.clone() } else { format!("steam_t{copy}_{name}") };
                fs::copy(&path, copies.path().join(name)).expect("room for copies");
            }
        }
        let real = json!({ "files": "steam_t", "titles": "datamaps.json", "genres": "list_genre.json" });
        measure("GPT-3.5's recorded episodes, eight times", copies.path(), real);
    }
}

/// Runs the stage five times, after once for nothing, and tells the median.
fn measure(name: &str, folder: &Path, mut settings: Value) {
    settings["asset"] = "told".into();
    settings["ground"] = json!({ "on_unmatched": "nearest" });
    let stage: Transcripts = serde_json::from_value(settings).expect("settings of the stage");
    let mut seconds = Vec::new();
    let (mut steps, mut names) = (0, 0);
    for round in 0..6 {
        let mut cx = Context::detached(folder);
        cx.add_asset("told", folder);
        let begin = Instant::now();
        let out = stage.run(Inputs { items: None, users: None, interactions: None }, &cx).expect("the recordings fit");
        if round > 0 {
            seconds.push(begin.elapsed().as_secs_f64());
        }
        (steps, names) = (out.calls.0.len(), out.groundings.0.len());
    }
    seconds.sort_by(f64::total_cmp);
    let (least, median, most) = (seconds[0], seconds[2], seconds[4]);
    println!("{name:<50} {steps} steps, {names} different names: {median:.2} s ({least:.2} to {most:.2})");
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("room for what is generated");
}

/// Bytes that depend on a place alone.
fn drawn(place: usize) -> [u8; 32] {
    *blake3::hash(&place.to_le_bytes()).as_bytes()
}

/// Two to four words of two to four syllables.
fn title(place: usize) -> String {
    let bytes = drawn(place);
    let mut bytes = bytes.iter().map(|&byte| usize::from(byte));
    let mut next = || bytes.next().unwrap_or_default();
    let words: Vec<String> = (0..2 + next() % 3)
        .map(|_| {
            let syllables = 2 + next() % 3;
            (0..syllables)
                .map(|_| ["ka", "lo", "ri", "ten", "mu", "sha", "vor", "el", "in", "dra"][next() % 10])
                .collect()
        })
        .collect();
    words.join(" ")
}

/// A title with a word more, so that each step asks for a search of its own.
fn said(titles: &[String], step: usize) -> String {
    let bytes = drawn(step + TITLES);
    let title = &titles[usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % titles.len()];
    format!("{title} {:02x}{:02x}{:02x}", bytes[2], bytes[3], bytes[4])
}

const THOUGHT: &str = "The user has played strategy games lately, and the last recommendation was liked less than the one before \
                       it. Something of another kind, but not too far from what was played, keeps them interested.";

fn lines(titles: &[String]) -> String {
    let mut text = String::new();
    for episode in 0..STEPS / PER_EPISODE {
        let step =
            |k: usize| json!({ "thought": THOUGHT, "said": said(titles, episode * PER_EPISODE + k), "reward": 3 });
        let steps: Vec<Value> = (0..PER_EPISODE).map(step).collect();
        let line = json!({ "user": format!("u{}", episode % 500), "history": &titles[..10], "steps": steps });
        writeln!(text, "{line}").expect("writing to a text");
    }
    text
}

fn text(titles: &[String], episodes: std::ops::Range<usize>) -> String {
    let episode = |episode: usize| {
        let mut lines =
            vec![format!("The user's viewing history is ['{}'], please recommend", titles[..10].join("', '"))];
        for k in 0..PER_EPISODE {
            let (said, taken) = (said(titles, episode * PER_EPISODE + k), &titles[k]);
            lines.push(format!("Thought {}: {THOUGHT}", k + 1));
            lines.push(format!("Action {}: recommend[{said}]", k + 1));
            lines.push(format!("Observation {}: [{said}] can not be recommened, instead, recommend[{taken}]", k + 1));
            lines.push(format!("Observation {}: Episode continue, reward=3", k + 1));
        }
        (episode.to_string(), json!({ "userid": episode % 500, "traj_by_line": lines }))
    };
    Value::Object(episodes.map(episode).collect()).to_string()
}
