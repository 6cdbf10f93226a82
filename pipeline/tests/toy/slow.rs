//! A stage of many units that commits each of them, and that a test can hold still at any unit.

use std::path::PathBuf;
use std::time::Duration;

use pipeline::checkpointing::{Checkpoints, Log, ValueStore};
use pipeline::{Context, Stage, ports};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::{Nothing, Value};

ports! { pub struct SlowOut { value: Value } }

/// Adds up the squares of 1 to `units`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// How many.
    units: u64,
    /// After this many units, wait until the file `gate` is there.
    #[serde(default)]
    hold_at: Option<u64>,
    /// See `hold_at`.
    #[serde(default)]
    gate: PathBuf,
    /// Do not listen while waiting.
    #[serde(default)]
    deaf: bool,
}

impl Stage for Slow {
    const KIND: &'static str = "toy.slow";
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "Takes its time.";
    const NOT_IN_KEY: &'static [&'static str] = &["hold_at", "gate", "deaf"];
    type Inputs = Nothing;
    type Outputs = SlowOut;
    fn run(&self, _: Nothing, cx: &Context) -> anyhow::Result<SlowOut> {
        let (mut log, done) = Log::open(&cx.scratch().join("squares"))?;
        let checkpoints = Checkpoints::open(&cx.scratch().join("sums"))?;
        let values = ValueStore::open(cx.calls())?;
        let (from, mut sum) = match checkpoints.latest()? {
            Some((from, bytes)) => (from, u64::from_le_bytes(bytes.as_slice().try_into()?)),
            None => (0, 0),
        };
        cx.note("units found", done.len());
        let bar = cx.bar("squares", Some(self.units), "units");
        bar.inc(from);
        for unit in from..self.units {
            let square = match done.get(unit as usize) {
                Some(bytes) => u64::from_le_bytes(bytes.as_slice().try_into()?),
                None => {
                    // In the pool, so that a stage which held every thread of it would be seen.
                    rayon::join(|| self.hold(unit, cx), || ()).0?;
                    let square = (unit + 1) * (unit + 1);
                    let bytes = values.put_new(&format!("{} squared", unit + 1), &square.to_le_bytes())?;
                    log.append(&bytes)?;
                    u64::from_le_bytes(bytes.as_slice().try_into()?)
                }
            };
            sum += square;
            if unit % 3 == 2 {
                checkpoints.save(unit + 1, &sum.to_le_bytes())?;
            }
            bar.inc(1);
        }
        Ok(SlowOut { value: Value(sum as f64) })
    }
}

impl Slow {
    fn hold(&self, unit: u64, cx: &Context) -> anyhow::Result<()> {
        cx.check_cancelled()?;
        if self.hold_at == Some(unit) {
            cx.note("holds at", unit);
            while !self.gate.exists() {
                if !self.deaf {
                    cx.check_cancelled()?;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }
}
