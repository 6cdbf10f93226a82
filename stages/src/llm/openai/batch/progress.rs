//! What a person sees of batches in flight.

use pipeline::Context;
use pipeline::progress::Bar;

use super::in_flight::InFlight;

/// A bar of the requests in flight.
pub(super) struct Progress<'a> {
    cx: &'a Context,
    /// The bar, its total, and how far it is.
    shown: Option<(Bar, u64, u64)>,
}

impl<'a> Progress<'a> {
    pub fn new(cx: &'a Context) -> Self {
        Self { cx, shown: None }
    }

    /// Shows how many of the requests in flight are processed.
    pub fn show(&mut self, in_flight: &[InFlight]) {
        let (total, processed) = counts(in_flight);
        if total == 0 {
            self.shown = None;
            return;
        }
        if self.shown.as_ref().is_none_or(|(_, shown, _)| *shown != total) {
            self.shown = None;
            self.shown = Some((self.cx.bar("batches", Some(total), "requests"), total, 0));
        }
        if let Some((bar, _, done)) = &mut self.shown {
            // A server may count back.
            let new = processed.saturating_sub(*done);
            bar.inc_with(new, &states(in_flight));
            *done += new;
        }
    }
}

/// All requests, and those that are processed.
fn counts(in_flight: &[InFlight]) -> (u64, u64) {
    let of = |(open, batch): &InFlight| (open.reserved.requests, batch.processed().min(open.reserved.requests));
    in_flight.iter().map(of).fold((0, 0), |(total, done), (all, processed)| (total + all, done + processed))
}

/// `2 in_progress, 1 validating`.
fn states(in_flight: &[InFlight]) -> String {
    let mut states: Vec<(&str, usize)> = Vec::new();
    for (_, batch) in in_flight {
        match states.iter_mut().find(|(state, _)| *state == batch.status) {
            Some((_, count)) => *count += 1,
            None => states.push((&batch.status, 1)),
        }
    }
    states.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

/// What is in flight, where, and what it may cost.
pub(super) fn words(server: &str, in_flight: &[InFlight]) -> String {
    let describe = |(open, batch): &InFlight| {
        let requests = open.reserved.requests;
        format!(
            "`{}` is {}, {} of {requests} requests are processed",
            batch.id,
            batch.status,
            batch.processed().min(requests)
        )
    };
    let (total, _) = counts(in_flight);
    let batches = if in_flight.len() == 1 { "1 batch".to_owned() } else { format!("{} batches", in_flight.len()) };
    let requests = if total == 1 { "1 request".to_owned() } else { format!("{total} requests") };
    let usd: f64 = in_flight.iter().map(|(open, _)| open.usd()).sum();
    let cost = if usd > 0.0 { format!("; they may cost up to {usd:.6} USD") } else { String::new() };
    let list: Vec<String> = in_flight.iter().map(describe).collect();
    format!("{batches} with {requests} at {server}: {}{cost}", list.join("; "))
}
