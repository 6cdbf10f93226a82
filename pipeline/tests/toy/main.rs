//! The engine with toy stages, so that its whole command line is tested without a data frame or a tensor.

mod ask;
mod hold;
mod slow;
mod stages;

use std::alloc::System;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use pipeline::inspect::{self, Format, Show, Verdict};
use pipeline::out_of_memory::TrackingAllocator;
use pipeline::report::{ReportFormat, Request};
use pipeline::{Artifact as _, Catalog, Device, Devices, Generator, MetricValues, MetricsReader, StageKind};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator(System);

static CATALOG: Catalog = Catalog {
    stages: &[
        StageKind::of::<stages::Add>(),
        StageKind::of::<ask::Ask>(),
        StageKind::of::<stages::Fail>(),
        StageKind::of::<stages::Fill>(),
        StageKind::of::<stages::Number>(),
        StageKind::of::<stages::Page>(),
        StageKind::of::<stages::Round>(),
        StageKind::of::<slow::Slow>(),
        StageKind::of::<stages::Train>(),
        StageKind::of::<stages::Whim>(),
    ],
    generators: &[Generator {
        name: "seven",
        about: "The number seven.",
        write: |path| Ok(std::fs::write(path, "7")?),
    }],
    devices: DEVICES,
    inspect: look_into,
    load_policy: |_| anyhow::bail!("toys have no policy"),
    encode_impressions: |_| anyhow::bail!("toys show nothing"),
    export_policy: |_| anyhow::bail!("toys have no policy"),
    add_items: |_| anyhow::bail!("toys have no policy"),
    worth: pipeline::worth::WorthStudy {
        experiment: |_, _| anyhow::bail!("toys have no teacher"),
        output: ("worth", "worth"),
        answer: |_, _| anyhow::bail!("toys have no teacher"),
    },
    metrics: &[MetricsReader { kind: "value", read: metrics }],
    curves: &[],
    report,
    template: "# A number.\nname: starter\nstages:\n  one: { use: toy.number, with: { value: 1 } }\n",
    log_experiment: |_, _| Err(anyhow::anyhow!("a toy reads no log")),
    renamed: include_str!("renamed.tsv"),
};

/// A machine with one GPU.
const DEVICES: Devices = Devices {
    cuda: true,
    probe: |device| match device {
        Device::Cuda(number) if number > 0 => anyhow::bail!("there is no GPU {number}\nhelp: there is one, `cuda:0`"),
        _ => Ok(()),
    },
};

/// Knows texts alone; an episode is a line, and a file of nothing is damaged.
fn look_into(path: &Path, request: &inspect::Request, out: &mut dyn Write) -> anyhow::Result<Verdict> {
    let text = std::fs::read_to_string(path)?;
    let related: Vec<_> = request.related.iter().map(|file| file.kind.as_str()).collect();
    let shown = match &request.show {
        Show::Episode(line) => format!("{} with {}\n", text.lines().nth(*line).unwrap_or_default(), related.join(", ")),
        Show::Diff { other, .. } => format!("{text}{}", std::fs::read_to_string(other)?),
        Show::Verify => format!("{} bytes\n", text.len()),
        _ => text.clone(),
    };
    let written = match request.format {
        Format::Json => write!(out, "{}", json!({ "text": shown })),
        _ => out.write_all(shown.as_bytes()).and_then(|()| out.flush()),
    };
    written.with_context(|| format!("read `{}`", path.display()))?;
    Ok(if text.is_empty() { Verdict::Damaged } else { Verdict::Whole })
}

fn metrics(path: &Path) -> anyhow::Result<MetricValues> {
    Ok(vec![("value".into(), stages::Value::read(path)?.0)])
}

/// The page with the run behind it; in other forms, the values of each run.
fn report(request: &Request<'_>) -> anyhow::Result<String> {
    if let Some(page) = request.page {
        let ran = &request.runs[0];
        return Ok(format!("{}<p>{} on {}\n", std::fs::read_to_string(page.path()?)?, ran.command, ran.host));
    }
    let mut rows = Vec::new();
    for run in request.runs {
        for (stage, file) in run.files("value") {
            rows.push(json!([run.id, stage.name, std::fs::read_to_string(file.path()?)?.trim()]));
        }
    }
    if rows.is_empty() {
        return Err(pipeline::UsageError("no run holds a value".into()).into());
    }
    Ok(match request.format {
        ReportFormat::Json => json!({ "rows": rows }).to_string(),
        format => format!("{format} {rows:?}\n"),
    })
}

fn main() -> ExitCode {
    hold::install();
    pipeline::cli::main(&CATALOG, |_| {})
}
