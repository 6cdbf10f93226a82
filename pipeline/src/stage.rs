//! A stage *is* its configuration: a documented, strict struct that maps input artifacts to output artifacts.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::asset_name::AssetName;
use crate::config_error::{ConfigError, read_strictly};
use crate::input_rules::{ForbiddenSource, NoLeakage, Requirement};
use crate::numbered_input::{NumberedInput, agreed};
use crate::{Context, MemoryNeed, PortFile, PortSpec, Ports, Sizes};

/// One kind of stage.
///
/// Derive `Deserialize` with `deny_unknown_fields`, give every field a default or a reason to be required, and document
/// each: the doc comments become the experiment schema.
pub trait Stage: DeserializeOwned + Serialize + JsonSchema + Send + Sync + 'static {
    /// `folder.file`, as in `use: rl.a2c`.
    const KIND: &'static str;
    /// Raised when an equal config on equal inputs should give another output; a comment says what each number meant.
    const VERSION: u32;
    /// One line for `--help`, `schema` and the README's table.
    const ABOUT: &'static str;
    /// Dotted config paths that change how the result is reached but not the result (`llm.openai.max_concurrent_requests`): not
    /// in the key.
    const NOT_IN_KEY: &'static [&'static str] = &[];
    /// Optional inputs that a later version of the program added: where nothing is connected, they are not in the key, so that results
    /// from before stay valid.
    const ADDED_PORTS: &'static [&'static str] = &[];
    /// Whether its outputs number users and items anew, so that they fit nothing that was made before it.
    const REINDEXES: bool = false;
    /// Whether it trains, and so can compute on another [device](crate::Device) than the processor.
    const USES_DEVICE: bool = false;
    /// Whether a cell of its own sweep takes, of the artifacts at its ports of many, those alone that have its values; else each cell
    /// takes all of them.
    const JOINS_CELLS: bool = false;
    /// Optional inputs of which one at least must be connected; empty where any may be left out.
    const NEEDS_ONE_OF: &'static [&'static str] = &[];
    /// What it reads.
    type Inputs: Ports;
    /// What it writes.
    type Outputs: Ports;

    /// The assets that the config names; their bytes join the key.
    fn assets(&self) -> Vec<AssetName> {
        Vec::new()
    }
    /// What no type can say (`0 < gamma ≤ 1`): the config path at fault and a sentence.
    fn check(&self) -> Result<(), (String, String)> {
        Ok(())
    }
    /// Which inputs must not descend from which; the engine refuses the experiment before anything runs.
    fn no_leakage(&self) -> Vec<NoLeakage> {
        Vec::new()
    }
    /// What has no place at which input; refused as early.
    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        Vec::new()
    }
    /// Which optional inputs these settings want, or leave no room for; refused as early.
    fn requirements(&self) -> Vec<Requirement> {
        Vec::new()
    }
    /// What running it would come to, where that is money or calls: an estimate in words. `made` gives the file behind an input
    /// that is made already.
    ///
    /// # Errors
    /// When such a file cannot be read.
    fn estimate(&self, _made: &dyn Fn(&str) -> Option<PathBuf>) -> anyhow::Result<Option<String>> {
        Ok(None)
    }
    /// The sizes of what it makes, as far as they are known before it runs. Those of its inputs, unless it numbers users and items anew.
    fn sizes(&self, inputs: &Sizes) -> Sizes {
        if Self::REINDEXES { Sizes::default() } else { inputs.clone() }
    }
    /// Whether it must work in the process of the run, whatever the executor: it asks servers, and holds secrets or a budget.
    fn local_only(&self) -> bool {
        false
    }
    /// What its largest tables take, for inputs of these sizes; none where it cannot say.
    fn memory(&self, _inputs: &Sizes) -> Option<MemoryNeed> {
        None
    }
    /// Does the work. Must be a function of config, inputs and assets alone, equal byte for byte on any number of threads,
    /// and go on from its last unit in `cx.scratch()` when it was interrupted.
    fn run(&self, inputs: Self::Inputs, cx: &Context) -> anyhow::Result<Self::Outputs>;
}

/// A stage with its types forgotten, as the engine runs it.
pub trait AnyStage: Send + Sync {
    /// The whole config with every default filled in.
    fn config(&self) -> Value;
    /// As [`Stage::assets`].
    fn assets(&self) -> Vec<AssetName>;
    /// As [`Stage::no_leakage`].
    fn no_leakage(&self) -> Vec<NoLeakage>;
    /// As [`Stage::forbidden_sources`].
    fn forbidden_sources(&self) -> Vec<ForbiddenSource>;
    /// As [`Stage::requirements`].
    fn requirements(&self) -> Vec<Requirement>;
    /// As [`Stage::estimate`].
    ///
    /// # Errors
    /// As there.
    fn estimate(&self, made: &dyn Fn(&str) -> Option<PathBuf>) -> anyhow::Result<Option<String>>;
    /// As [`Stage::sizes`].
    fn sizes(&self, inputs: &Sizes) -> Sizes;
    /// As [`Stage::local_only`].
    fn local_only(&self) -> bool;
    /// As [`Stage::memory`].
    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed>;
    /// Reads the inputs, runs, and writes each output as `<out>/<port>`.
    fn execute(&self, inputs: &(dyn Fn(&str) -> Vec<PortFile> + Sync), cx: &Context, out: &Path) -> anyhow::Result<()>;
}

impl<S: Stage> AnyStage for S {
    fn config(&self) -> Value {
        serde_json::to_value(self).expect("a stage's config serialises: it was read from the same shape")
    }
    fn assets(&self) -> Vec<AssetName> {
        Stage::assets(self)
    }
    fn no_leakage(&self) -> Vec<NoLeakage> {
        Stage::no_leakage(self)
    }
    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        Stage::forbidden_sources(self)
    }
    fn requirements(&self) -> Vec<Requirement> {
        Stage::requirements(self)
    }
    fn estimate(&self, made: &dyn Fn(&str) -> Option<PathBuf>) -> anyhow::Result<Option<String>> {
        Stage::estimate(self, made)
    }
    fn sizes(&self, inputs: &Sizes) -> Sizes {
        Stage::sizes(self, inputs)
    }
    fn local_only(&self) -> bool {
        Stage::local_only(self)
    }
    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        Stage::memory(self, inputs)
    }
    fn execute(&self, inputs: &(dyn Fn(&str) -> Vec<PortFile> + Sync), cx: &Context, out: &Path) -> anyhow::Result<()> {
        let spaces = agreed(&NumberedInput::all(&S::Inputs::specs(), inputs)?)?;
        let outputs = self.run(S::Inputs::read(inputs)?, cx)?;
        // What holds ids says itself what its numbers mean: tables that were read, or numbered anew.
        outputs.write(out, &spaces.and(outputs.id_spaces()))
    }
}

/// One row of the catalogue: everything the engine knows about a kind of stage.
pub struct StageKind {
    /// As [`Stage::KIND`].
    pub kind: &'static str,
    /// As [`Stage::VERSION`].
    pub version: u32,
    /// As [`Stage::ABOUT`].
    pub about: &'static str,
    /// As [`Stage::NOT_IN_KEY`].
    pub not_in_key: &'static [&'static str],
    /// As [`Stage::ADDED_PORTS`].
    pub added_ports: &'static [&'static str],
    /// As [`Stage::REINDEXES`].
    pub reindexes: bool,
    /// As [`Stage::USES_DEVICE`].
    pub uses_device: bool,
    /// As [`Stage::JOINS_CELLS`].
    pub joins_cells: bool,
    /// As [`Stage::NEEDS_ONE_OF`].
    pub needs_one_of: &'static [&'static str],
    /// The input ports.
    pub inputs: fn() -> Vec<PortSpec>,
    /// The output ports.
    pub outputs: fn() -> Vec<PortSpec>,
    /// The JSON schema of the config.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Reads and checks a config.
    pub parse: fn(Value) -> Result<Box<dyn AnyStage>, ConfigError>,
}

impl StageKind {
    /// The row of stage `S`.
    #[must_use]
    pub const fn of<S: Stage>() -> Self {
        Self {
            kind: S::KIND,
            version: S::VERSION,
            about: S::ABOUT,
            not_in_key: S::NOT_IN_KEY,
            added_ports: S::ADDED_PORTS,
            reindexes: S::REINDEXES,
            uses_device: S::USES_DEVICE,
            joins_cells: S::JOINS_CELLS,
            needs_one_of: S::NEEDS_ONE_OF,
            inputs: S::Inputs::specs,
            outputs: S::Outputs::specs,
            schema: |generator| generator.subschema_for::<S>(),
            parse: parse::<S>,
        }
    }
}

fn parse<S: Stage>(with: Value) -> Result<Box<dyn AnyStage>, ConfigError> {
    let stage: S = read_strictly(with)?;
    stage.check().map_err(|(path, message)| ConfigError { path, message })?;
    Ok(Box::new(stage))
}
