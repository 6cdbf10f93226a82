//! A plan at work: polars computes batches in threads of its own, and hands them over one by one.
//!
//! The streaming engine holds as many rows as its threads work on and as its sorts and groups need; what is made waits until the
//! last batch is taken. Batches pass from polars' memory to arrow's as an Arrow stream, which both read and neither copies twice.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Builder;

use anyhow::{Error, anyhow};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use pipeline::UsageError;
use polars::prelude::{
    CompatLevel, DataFrame, Engine, IpcStreamWriter, LazyFrame, PlanCallback, PolarsError, SerWriter as _,
};

use super::super::escape;
use super::fault::{self, root};
use super::integers;
use super::parts::Parts;
use crate::artifact::{catch_panics, damaged};

/// Rows of a batch, at most.
const ROWS: NonZeroUsize = NonZeroUsize::new(32_768).unwrap();
/// Stack of the thread that plans: an optimiser goes down every level of an expression.
const STACK: usize = 64 << 20;

/// Why a plan gave up.
pub(super) enum Failure {
    /// What was asked for cannot be computed, such as a text that is to become a number.
    Asked(PolarsError),
    /// The data cannot be read.
    Read(String),
}

impl Failure {
    fn of(error: PolarsError) -> Self {
        match root(&error) {
            // Of decimals, which are computed with where somebody asks for it.
            PolarsError::ComputeError(text) if text.starts_with("overflow") => Self::Asked(error),
            PolarsError::ComputeError(_) | PolarsError::IO { .. } => Self::Read(root(&error).to_string()),
            _ => Self::Asked(error),
        }
    }
}

/// Calls into polars; a panic there is a finding about the data.
pub(super) fn asked<T>(call: impl FnOnce() -> Result<T, PolarsError>) -> Result<T, Failure> {
    match catch_panics(|| Ok::<_, String>(call())) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Failure::of(error)),
        Err(panic) => Err(Failure::Read(panic)),
    }
}

/// Batches as they are computed. Dropping it stops the computation.
pub(in super::super) struct Running {
    frames: Receiver<Result<DataFrame, Failure>>,
    ready: VecDeque<RecordBatch>,
    /// Where the rows come from.
    pub(super) parts: Parts,
}

impl Running {
    pub(super) fn start(plan: LazyFrame, parts: Parts) -> Self {
        let (send, frames) = sync_channel(1);
        let worker = move || {
            let sink = send.clone();
            let sink = PlanCallback::new(move |frame| Ok(sink.send(Ok(frame)).is_err()));
            let run = || plan.sink_batches(sink, true, Some(ROWS))?.collect_with_engine(Engine::Streaming);
            if let Err(failure) = asked(run) {
                // Nobody listens any more: then nobody misses it.
                send.send(Err(failure)).ok();
            }
        };
        // Without a thread the channel is closed, which reads as no rows: better to stop here, as `spawn` of std does.
        Builder::new().name("query".into()).stack_size(STACK).spawn(worker).expect("a thread can be started");
        Self { frames, ready: VecDeque::new(), parts }
    }

    pub(super) fn next(&mut self) -> Option<Result<RecordBatch, Failure>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some(Ok(batch));
            }
            match self.frames.recv().ok()?.and_then(|frame| batches(frame).map_err(Failure::Read)) {
                Ok((_, batches)) => self.ready.extend(batches),
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}

/// A frame of polars as batches of arrow, and their schema.
pub(super) fn batches(mut frame: DataFrame) -> Result<(arrow::datatypes::SchemaRef, Vec<RecordBatch>), String> {
    catch_panics(|| {
        let mut bytes = Vec::new();
        let mut writer = IpcStreamWriter::new(&mut bytes).with_compat_level(CompatLevel::oldest());
        writer.finish(&mut frame).map_err(|error| error.to_string())?;
        let (mut bytes, mut decoder, mut batches) = (Buffer::from_vec(bytes), StreamDecoder::new(), Vec::new());
        while let Some(batch) = decoder.decode(&mut bytes).map_err(|error| error.to_string())? {
            batches.push(batch);
        }
        let schema = decoder.schema().ok_or("a batch without a schema")?;
        Ok::<_, String>((schema, batches))
    })
}

pub(super) fn unread(failure: Failure) -> Error {
    match failure {
        Failure::Asked(error) => {
            let text = fault::root(&error).to_string();
            let text = text.lines().next().unwrap_or_default();
            let help = match text.ends_with(integers::BEYOND) || text.starts_with("overflow") {
                true => "compute with `CAST(… AS DECIMAL(38, 0))` or `CAST(… AS DOUBLE)`",
                false => "leave the column out, or write it in another type",
            };
            UsageError(format!("cannot be computed: {}\nhelp: {help}", escape::shown(text, 300))).into()
        }
        Failure::Read(text) => damage("it cannot be read", &text),
    }
}

/// What polars says of a file that it cannot read. Of text it names the value: no program wrote that by itself.
pub(super) fn damage(place: &str, text: &str) -> Error {
    if !text.starts_with("could not parse") {
        return damaged(place, text);
    }
    let line = escape::shown(text.lines().next().unwrap_or_default(), 200);
    let help = "correct the value; the types of columns are those of the first 10,000 rows";
    anyhow!("{place}: {line}\nhelp: {help}")
}
