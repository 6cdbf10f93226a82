//! Everything the program knows how to do, as the binary hands it to the engine.

use std::path::Path;

use crate::Devices;
use crate::add_items::AddItemsToPolicy;
use crate::asset::Generator;
use crate::export::ExportPolicy;
use crate::impressions::EncodeImpressions;
use crate::inspect::Inspect;
use crate::log_experiment::WriteLogExperiment;
use crate::recommend::LoadPolicy;
use crate::report::Render;
use crate::stage::StageKind;
use crate::worth::WorthStudy;

/// Numbers by name.
pub type MetricValues = Vec<(String, f64)>;

/// How to read the numbers in a kind of artifact that holds results to compare, such as `metrics`.
pub struct MetricsReader {
    /// As [`crate::Artifact::KIND`].
    pub kind: &'static str,
    /// The numbers in a file of this kind by name, in its order.
    pub read: fn(&Path) -> anyhow::Result<MetricValues>,
}

/// A value that was measured while a stage worked.
#[derive(Clone, Debug, PartialEq)]
pub struct CurvePoint {
    /// What was measured.
    pub series: String,
    /// When: the count of updates, epochs or steps.
    pub step: u64,
    /// The value.
    pub value: f64,
}

/// How to read the curves in a kind of artifact.
pub struct CurvesReader {
    /// As [`crate::Artifact::KIND`].
    pub kind: &'static str,
    /// The points in a file of this kind, in its order.
    pub read: fn(&Path) -> anyhow::Result<Vec<CurvePoint>>,
}

/// Everything the program knows how to do: the binary hands this to [`crate::cli::main`].
pub struct Catalog {
    /// Stage kinds, alphabetical.
    pub stages: &'static [StageKind],
    /// Generated assets, alphabetical.
    pub generators: &'static [Generator],
    /// What stages that train can compute on.
    pub devices: Devices,
    /// Looks into the files that stages make.
    pub inspect: Inspect,
    /// Reads a policy that answers.
    pub load_policy: LoadPolicy,
    /// Writes down what was shown to whom.
    pub encode_impressions: EncodeImpressions,
    /// Writes a policy for other programs.
    pub export_policy: ExportPolicy,
    /// Adds items to a policy, for `apprentice add-items`.
    pub add_items: AddItemsToPolicy,
    /// The kinds of artifacts whose numbers `diff` compares.
    pub metrics: &'static [MetricsReader],
    /// The kinds of artifacts whose curves trackers are told.
    pub curves: &'static [CurvesReader],
    /// Tells what runs came to, together with what was run.
    pub report: Render,
    /// Studies what teachers are worth.
    pub worth: WorthStudy,
    /// The commented experiment that `init` writes.
    pub template: &'static str,
    /// Writes the experiment of `init --log`.
    pub log_experiment: WriteLogExperiment,
    /// Words of experiment files that have a new name, as [`crate::spec::renamed`] reads them; empty where there are none.
    pub renamed: &'static str,
}

impl Catalog {
    /// The row of a stage kind.
    #[must_use]
    pub fn stage(&self, kind: &str) -> Option<&'static StageKind> {
        self.stages.iter().find(|row| row.kind == kind)
    }

    /// The kinds of a family: of `world` `world.mf` and its siblings. None where no kind has a point behind that word.
    pub(crate) fn family(&self, word: &str) -> Vec<&'static str> {
        let of = |kind: &&'static str| kind.split_once('.').is_some_and(|(family, _)| family == word);
        self.stages.iter().map(|row| row.kind).filter(of).collect()
    }
}
