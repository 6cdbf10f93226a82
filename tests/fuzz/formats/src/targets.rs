//! What reads the damaged files.

use std::path::Path;

use anyhow::Result;
use pipeline::inspect::{Format, Request, Show};
use pipeline::{Artifact, Context, Stage};
use stages::artifact::{
    Calls, Curves, Demonstrations, Interactions, Items, Metrics, PolicyFile, Candidates, RewardModel, Rollouts, Users, Weights,
    World,
};

use crate::damage::Damage;
use crate::seeds;

/// A format, whole files of it, and everything that reads it.
pub struct Target {
    pub name: &'static str,
    pub seeds: fn(&Path) -> Vec<Vec<u8>>,
    /// Reads the file in one of the ways in which it is read; the error is as good as an answer.
    pub read: fn(&Path, &mut Damage) -> Result<()>,
}

pub const TARGETS: &[Target] = &[
    Target { name: "parquet", seeds: seeds::parquet, read: look },
    Target { name: "arrow", seeds: seeds::arrow, read: look },
    Target { name: "safetensors", seeds: seeds::safetensors, read: look },
    Target { name: "artifacts", seeds: seeds::artifacts, read: artifact },
    Target { name: "gguf", seeds: seeds::gguf, read: gguf },
    Target { name: "atomic", seeds: seeds::atomic, read: atomic },
];

/// `inspect`, in one of its forms.
fn look(path: &Path, damage: &mut Damage) -> Result<()> {
    let diff = Show::Diff { other: path.to_path_buf(), name: "itself".into(), key: Vec::new() };
    let shows = [Show::Overview, Show::Overview, Show::Rows, Show::Verify, Show::Episode(1), diff];
    let formats = [Format::Table, Format::Json, Format::Md, Format::Csv, Format::Ndjson];
    let show = shows[damage.below(shows.len())].clone();
    let format = formats[damage.below(if show == Show::Rows { 5 } else { 3 })];
    let request = Request {
        scan: damage.below(2) == 0,
        sample: (show == Show::Overview && damage.below(3) == 0).then_some(3),
        show,
        format,
        ..Request::default()
    };
    stages::inspect::inspect(path, &request, &mut std::io::sink()).map(drop)
}

/// The reader of one kind of artifact. The store has checked their bytes before; a foreign hand may have made them.
fn artifact(path: &Path, _: &mut Damage) -> Result<()> {
    fn read<A: Artifact>(path: &Path) -> Result<()> {
        A::read(path).map(drop)
    }
    let all: [fn(&Path) -> Result<()>; 13] = [
        read::<Calls>,
        read::<Curves>,
        read::<Demonstrations>,
        read::<Interactions>,
        read::<Items>,
        read::<Metrics>,
        read::<PolicyFile>,
        read::<Candidates>,
        read::<RewardModel>,
        read::<Rollouts>,
        read::<Users>,
        read::<Weights>,
        read::<World>,
    ];
    let failed: Vec<_> = all.iter().filter_map(|read| read(path).err()).collect();
    if failed.len() == all.len() { failed.into_iter().next().map_or(Ok(()), Err) } else { Ok(()) }
}

fn gguf(path: &Path, _: &mut Damage) -> Result<()> {
    stages::llm::gguf::Gguf::load(path).map(drop)
}

/// The damaged file in the place of the one that it was made from, among whole ones.
fn atomic(path: &Path, _: &mut Damage) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    stages::ingest::toy::write_toy(&log)?;
    let start = std::fs::read(path)?;
    let name = match start.get(..7) {
        Some(b"item_id") => "toy.item",
        Some(b"user_id") if start.get(14..16) == Some(b"gr") => "toy.user",
        _ => "toy.inter",
    };
    std::fs::copy(path, log.join(name))?;
    let mut cx = Context::detached(folder.path());
    cx.add_asset("log", &log);
    let stage: stages::ingest::Recbole =
        serde_json::from_value(serde_json::json!({ "asset": "log", "title": "movie_title" }))?;
    stage.run(stages::ingest::NoInputs {}, &cx).map(drop)
}
