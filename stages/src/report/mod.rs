//! `report`: one self-contained page to read, mail and print.
//!
//! The page is a function of the input artifacts: it holds no date, host, duration or cost, fetches nothing, runs no
//! script, and its verdict is computed from the numbers that the table prints. Time and cost belong to the record
//! of a run.

mod findings;
#[cfg(test)]
mod fixture;
mod ports;
mod render;
mod table;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Metrics, Page};
use ports::{Inputs, Outputs};
pub use render::forms::render;
pub use render::worth::ReportWorth;

/// Renders metrics, episodes and learning curves as one self-contained HTML page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Report {
    /// The page's heading; `Learned policies and baselines` when absent.
    pub title: Option<String>,
    /// The row with which the verdict compares the learned policies; when absent, the first baseline whose name starts with
    /// `popular`.
    pub baseline: Option<String>,
}

impl Stage for Report {
    const KIND: &'static str = "report";
    // 1: the first page. 2: differences judged together, profiles, calibration, learned rewards, off-policy estimates, bands
    // over seeds, more cautions, and a place for what was run. 3: rows are privileged by their column; words for every end.
    // 4: no difference is real whose interval has no width; `direct` is no small sample; words for calibration and rows that are
    // true of any setting. 5: several language models, and what they were asked; a difference without a width decides nothing.
    // 6: intervals of language models stand below their means, so that their table needs no scrolling on a desk.
    // 7: terms are explained and linked where they are first used; what was never trained is none of the learned; what lasted for
    // all its turns did not end by a quit rule; shares and differences are not rounded to what they are not; text that is read
    // from right to left keeps its place. 8: rows, metrics and sections are called by the field's words.
    // 9: what learning cost meanwhile, from the curves of returns. 10: on a narrow screen each row of the table is a block with all
    // its columns. 11: p by t; the verdict says the probability of improvement, and on how many
    // evaluation worlds it rests. 12: the verdict names the best baseline where it returns more and is not compared.
    // 13: a ranking alone has a page; names in backticks are set as code. 14: a t interval over few seeds is said to be wide, no longer to
    // understate.
    const VERSION: u32 = 14;
    const ABOUT: &'static str = "render metrics, episodes and learning curves as one self-contained HTML page";
    const NEEDS_ONE_OF: &'static [&'static str] = &["metrics", "ranking"];
    const ADDED_PORTS: &'static [&'static str] = &["ranking", "agreement", "world_differences"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        ensure!(
            inputs.metrics.as_ref().is_none_or(|metrics| !metrics.rows.is_empty()),
            "input `metrics` holds no row, so there is nothing to report\nhelp: connect the metrics of an evaluate stage"
        );
        ensure!(
            inputs.metrics.is_some() || inputs.ranking.is_some(),
            "neither `metrics` nor `ranking` is connected, so there is nothing to report\nhelp: connect the metrics of an evaluate stage"
        );
        let of_metrics = |metrics: &Metrics| table::row::rows(metrics, inputs.rollouts.as_ref());
        let rows = inputs.metrics.as_ref().map(of_metrics).unwrap_or_default();
        if let Some(name) = &self.baseline {
            ensure!(
                inputs.metrics.is_some(),
                "`baseline` names a row of the metrics, and no `metrics` are connected\nhelp: connect them, or leave `baseline` out"
            );
            let names: Vec<_> = rows.iter().map(|row| format!("`{}`", row.name)).collect();
            ensure!(
                rows.iter().any(|row| row.name == *name),
                "`baseline` names no row of the metrics: `{name}`\nhelp: the rows are {}",
                table::format::list(&names)
            );
        }
        let contenders =
            findings::verdict::Contenders::of(&rows, self.baseline.as_deref()).with(inputs.comparisons.as_ref());
        let of_worlds = inputs.agreement.as_ref();
        let of_worlds =
            of_worlds.map(|worlds| findings::agreement::sentences(worlds, inputs.world_differences.as_ref()));
        // One note: a second one of the same name would replace it.
        cx.note(
            "verdict",
            [render::page::sentences(&contenders, &inputs), of_worlds.unwrap_or_default()].concat().join(" "),
        );
        let title = self.title.as_deref().unwrap_or("Learned policies and baselines");
        Ok(Outputs { page: Page(render::page::render(title, &rows, &contenders, &inputs)?) })
    }
}
