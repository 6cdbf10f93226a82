//! What the service counts, for Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper ends of the times that are told apart, in seconds.
const TIMES: [f64; 12] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.5, 2.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Status(u16);

impl EncodeLabelSet for Status {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        [("status", self.0.to_string())].as_slice().encode(encoder)
    }
}

/// How many questions were answered, and how many of them for users who are not in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub questions: u64,
    pub new_users: u64,
}

/// Counts and times.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Status, Counter>,
    questions: Counter,
    new_users: Counter,
    seconds: Histogram,
    reloads: Counter,
    failed_reloads: Counter,
    at_work: Gauge<i64, std::sync::atomic::AtomicI64>,
    impressions: Counter,
    lost_impressions: Counter,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("apprentice");
        let requests = Family::<Status, Counter>::default();
        registry.register("requests", "Requests for recommendations, by status", requests.clone());
        let mut counter = |name: &str, help: &str| {
            let counter: Counter<u64, AtomicU64> = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let questions = counter("questions", "Questions that were answered");
        let new_users = counter("new_users", "Questions of users who are not in the log of the policy");
        let reloads = counter("reloads", "Files that were read again after a change");
        let failed_reloads = counter("failed_reloads", "Files that changed and could not be read");
        let impressions = counter("impressions", "Items shown that are in a finished file of the log");
        let lost_impressions = counter("lost_impressions", "Items shown that could not be written to the log");
        let seconds = Histogram::new(TIMES);
        registry.register("request_seconds", "Time from a request's body to its answer", seconds.clone());
        let at_work = Gauge::default();
        registry.register("requests_at_work", "Requests that are being answered", at_work.clone());
        Self {
            registry,
            requests,
            questions,
            new_users,
            seconds,
            reloads,
            failed_reloads,
            at_work,
            impressions,
            lost_impressions,
        }
    }

    /// A request begins; how many are at work with it.
    pub fn begin(&self) -> usize {
        usize::try_from(self.at_work.inc() + 1).unwrap_or(0)
    }

    /// A request ends.
    pub fn end(&self) {
        self.at_work.dec();
    }

    pub fn request(&self, status: u16, took: Duration, counted: Counted) {
        self.requests.get_or_create(&Status(status)).inc();
        self.questions.inc_by(counted.questions);
        self.new_users.inc_by(counted.new_users);
        self.seconds.observe(took.as_secs_f64());
    }

    pub fn reloaded(&self, done: bool) {
        if done { &self.reloads } else { &self.failed_reloads }.inc();
    }

    /// Items shown are in a file of the log.
    pub fn logged(&self, rows: usize) {
        self.impressions.inc_by(rows as u64);
    }

    /// Items shown will be in none.
    pub fn lost(&self, rows: usize) {
        self.lost_impressions.inc_by(rows as u64);
    }

    /// As Prometheus reads it, with what is served: the name, digest, learner and share of each policy.
    pub fn text<'p>(
        &self,
        policies: impl Iterator<Item = (&'p str, &'p str, &'p str, f64)>,
    ) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        let end = text.strip_suffix("# EOF\n").map(str::len).unwrap_or(text.len());
        text.truncate(end);
        text += "# HELP apprentice_policy What is served.\n# TYPE apprentice_policy gauge\n";
        for (name, digest, learner, share) in policies {
            let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            text +=
                &format!("apprentice_policy{{name=\"{name}\",digest=\"{digest}\",learner=\"{learner}\"}} {share}\n");
        }
        Ok(text + "# EOF\n")
    }
}
