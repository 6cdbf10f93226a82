//! The engine with toy stages, so that its whole command line is tested without a data frame or a tensor.

mod ask;
mod hold;
mod slow;
mod stages;

use std::path::Path;
use std::process::ExitCode;

use pipeline::{Artifact as _, Catalog, Figures, FiguresOf, Generator, InspectOptions, StageKind};
use serde_json::json;

static CATALOG: Catalog = Catalog {
    stages: &[
        StageKind::of::<stages::Add>(),
        StageKind::of::<ask::Ask>(),
        StageKind::of::<stages::Fail>(),
        StageKind::of::<stages::Number>(),
        StageKind::of::<stages::Page>(),
        StageKind::of::<stages::Round>(),
        StageKind::of::<slow::Slow>(),
    ],
    generators: &[Generator {
        name: "seven",
        about: "The number seven.",
        write: |path| Ok(std::fs::write(path, "7")?),
    }],
    inspect,
    figures: &[FiguresOf { kind: "value", read: figures }],
    starter: "# A number.\nname: starter\nstages:\n  one: { use: toy.number, with: { value: 1 } }\n",
};

fn inspect(path: &Path, options: &InspectOptions) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(if options.json { json!({ "text": text }).to_string() } else { text })
}

fn figures(path: &Path) -> anyhow::Result<Figures> {
    Ok(vec![("value".into(), stages::Value::read(path)?.0)])
}

fn main() -> ExitCode {
    hold::install();
    pipeline::cli::main(&CATALOG, |_| {})
}
