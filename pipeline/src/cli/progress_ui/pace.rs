//! What shows how fast a stage goes.

/// How a bar of a stage is shown.
pub(super) trait Pace: Send + Sync {
    /// `rate` is in units a second, 0 where it is not known yet.
    #[expect(clippy::too_many_arguments, reason = "what a sink hears, and how fast it goes")]
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str, rate: f64);
    fn finished(&self, stage: &str, label: &str);
    /// A line of talk that must not tear the bars.
    fn say(&self, line: &str);
    /// Takes the bars away.
    fn clear(&self);
}
