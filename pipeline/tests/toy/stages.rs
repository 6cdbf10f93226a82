//! Stages that take no time.

use std::path::Path;

use anyhow::Context as _;
use pipeline::{Artifact, AssetName, Context, Many, MemoryNeed, Sizes, Stage, ports};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One number in a text file.
pub struct Value(pub f64);

impl Artifact for Value {
    const KIND: &'static str = "value";
    const EXTENSION: &'static str = "txt";
    const FORMAT: u32 = 1;
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, format!("{}\n", self.0))?)
    }
    fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(std::fs::read_to_string(path)?.trim().parse()?))
    }
    fn sizes_of(path: &Path) -> anyhow::Result<Sizes> {
        Ok(Sizes::of("rows", Self::read(path)?.0 as usize))
    }
}

/// A page for people.
pub struct Html(String);

impl Artifact for Html {
    const KIND: &'static str = "page";
    const EXTENSION: &'static str = "html";
    const FORMAT: u32 = 1;
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, &self.0)?)
    }
    fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(std::fs::read_to_string(path)?))
    }
}

ports! { pub struct Nothing {} }
ports! { pub struct One { value: Value } }
ports! { pub struct Two { a: Value, b: Option<Value> } }
ports! { pub struct All { values: Many<Value> } }
ports! { pub struct PageOut { page: Html } }

/// A number of the config, or the one in an asset.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Number {
    /// The number.
    #[serde(default)]
    value: f64,
    /// A file that holds a number to add.
    #[serde(default)]
    asset: Option<AssetName>,
    /// Changes nothing.
    #[serde(default)]
    label: String,
}

impl Stage for Number {
    const KIND: &'static str = "toy.number";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Gives a number.";
    const NOT_IN_KEY: &'static [&'static str] = &["label"];
    type Inputs = Nothing;
    type Outputs = One;
    fn assets(&self) -> Vec<AssetName> {
        self.asset.iter().cloned().collect()
    }
    fn run(&self, _: Nothing, cx: &Context) -> anyhow::Result<One> {
        let asset = match &self.asset {
            Some(name) => std::fs::read_to_string(cx.asset(name)?)?.trim().parse()?,
            None => 0.0,
        };
        Ok(One { value: Value(self.value + asset) })
    }
}

/// Learns a number, on the device that it is given.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The number.
    #[serde(default)]
    value: f64,
}

impl Stage for Train {
    const KIND: &'static str = "toy.train";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Learns a number.";
    const USES_DEVICE: bool = true;
    type Inputs = Nothing;
    type Outputs = One;
    fn run(&self, _: Nothing, cx: &Context) -> anyhow::Result<One> {
        cx.note("device", cx.device());
        Ok(One { value: Value(self.value) })
    }
}

ports! { pub struct Pair { first: Value, second: Value } }

/// Gives two numbers, the first from a file that no key knows of.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Whim {
    /// The file.
    file: std::path::PathBuf,
}

impl Stage for Whim {
    const KIND: &'static str = "toy.whim";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Gives what it likes.";
    type Inputs = Nothing;
    type Outputs = Pair;
    fn run(&self, _: Nothing, cx: &Context) -> anyhow::Result<Pair> {
        let first = std::fs::read_to_string(&self.file)?.trim().parse()?;
        cx.note("whim", first);
        Ok(Pair { first: Value(first), second: Value(5.0) })
    }
}

/// Adds its inputs and a number.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// What to add.
    #[serde(default)]
    plus: f64,
}

impl Stage for Add {
    const KIND: &'static str = "toy.add";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Adds.";
    type Inputs = Two;
    type Outputs = One;
    fn run(&self, inputs: Two, cx: &Context) -> anyhow::Result<One> {
        let sum = inputs.a.0 + inputs.b.map_or(0.0, |b| b.0) + self.plus;
        cx.note("sum", sum);
        Ok(One { value: Value(sum) })
    }
}

/// Rounds, so that small changes above change nothing below.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Give a multiple of this.
    #[serde(default = "one")]
    to: f64,
}

fn one() -> f64 {
    1.0
}

ports! { pub struct RoundIn { value: Value } }

impl Stage for Round {
    const KIND: &'static str = "toy.round";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Rounds.";
    type Inputs = RoundIn;
    type Outputs = One;
    fn run(&self, inputs: RoundIn, _: &Context) -> anyhow::Result<One> {
        // In the pool, as large work would be.
        let (rounded, ()) = rayon::join(|| (inputs.value.0 / self.to).round() * self.to, || ());
        Ok(One { value: Value(rounded) })
    }
}

/// Shows values.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {}

impl Stage for Page {
    const KIND: &'static str = "toy.page";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Shows values.";
    type Inputs = All;
    type Outputs = PageOut;
    fn run(&self, inputs: All, _: &Context) -> anyhow::Result<PageOut> {
        let rows = inputs.values.iter().map(|row| format!("<li>{}@{} {}</li>\n", row.name, row.cell, row.value.0));
        Ok(PageOut { page: Html(format!("<ul>\n{}</ul>\n", rows.collect::<String>())) })
    }
}

/// Bytes that no machine has.
const MOST: usize = isize::MAX as usize;

/// Goes wrong.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// How.
    how: How,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    Error,
    Panic,
    PanicInPool,
    /// By asking for more memory than there can be.
    Memory,
    /// Likewise, and ready to be refused.
    MemoryInVain,
    /// By asking for a table of 64 MiB.
    Table,
    No,
}

impl Stage for Fail {
    const KIND: &'static str = "toy.fail";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Goes wrong.";
    type Inputs = Nothing;
    type Outputs = One;
    fn run(&self, _: Nothing, _: &Context) -> anyhow::Result<One> {
        match self.how {
            How::Error => Err(anyhow::anyhow!("row 7: found `x`, wanted a number")).context("read the ratings"),
            How::Panic => panic!("index out of reach"),
            How::PanicInPool => {
                let (value, ()) = rayon::join(|| self.panic_in_pool(), || ());
                Ok(One { value: Value(value) })
            }
            How::Memory => Ok(One { value: Value(std::hint::black_box(Vec::<u8>::with_capacity(MOST)).len() as f64) }),
            How::MemoryInVain => {
                let refused = Vec::<u8>::new().try_reserve_exact(std::hint::black_box(MOST));
                refused.context("read a file of 8 EiB")?;
                Ok(One { value: Value(0.0) })
            }
            How::Table => {
                Ok(One { value: Value(pipeline::memory_need::zeros::<u8>("scores", 64 << 20)?.len() as f64) })
            }
            How::No => Ok(One { value: Value(1.0) }),
        }
    }
}

/// Makes a table of numbers as large as its input says.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// How many numbers, beside those that the input promises.
    #[serde(default)]
    columns: u64,
}

impl Stage for Fill {
    const KIND: &'static str = "toy.fill";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Fills a table.";
    type Inputs = One;
    type Outputs = One;
    fn sizes(&self, _: &Sizes) -> Sizes {
        Sizes::of("rows", 1000)
    }
    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        Some(MemoryNeed::new("lower `columns`").table("cells", &[inputs.get("rows")?, self.columns], 8))
    }
    fn run(&self, inputs: One, _: &Context) -> anyhow::Result<One> {
        Ok(inputs)
    }
}

impl Fail {
    fn panic_in_pool(&self) -> f64 {
        panic!("deep in the pool")
    }
}
