//! What the table says, in words: computed from the numbers, never written by hand.
//!
//! "Above" means a higher mean return. Where the evaluation measured the difference user by user (`lead_over_popular` and its
//! like), that paired difference and its 95 % interval decide; elsewhere it is said whether the two rows' intervals have a
//! point in common. No sentence claims a significance test.

use crate::artifact::Comparisons;
use crate::report::table::format;
use crate::report::table::row::{Estimate, Role, Row};

/// Fewer training seeds than this deserve a warning (Agarwal et al. 2021 show how far three can mislead).
pub(in crate::report) const SEEDS: u32 = 5;

/// How one mean stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Outcome {
    /// Higher, intervals apart.
    Above,
    /// Higher, intervals overlap.
    MaybeAbove,
    /// Equal.
    Level,
    /// Lower, intervals overlap.
    MaybeBelow,
    /// Lower, intervals apart.
    Below,
    /// Another mean, and neither interval has a width, as of one user and one seed: nothing was put to a test.
    Untested,
    /// Evaluated under other rules: no comparison.
    Incomparable,
}

impl Outcome {
    fn of(a: &Estimate, b: &Estimate) -> Self {
        let tested = a.low < a.high || b.low < b.high;
        if !tested && a.mean != b.mean {
            return Self::Untested;
        }
        match (a.mean.total_cmp(&b.mean), a.overlaps(b)) {
            (std::cmp::Ordering::Greater, false) => Self::Above,
            (std::cmp::Ordering::Greater, true) => Self::MaybeAbove,
            (std::cmp::Ordering::Equal, _) => Self::Level,
            (std::cmp::Ordering::Less, true) => Self::MaybeBelow,
            (std::cmp::Ordering::Less, false) => Self::Below,
        }
    }
    /// As [`Outcome::of`], from the interval of a paired difference. One without a width, as of a single user, put nothing to a
    /// test.
    fn of_difference(difference: &Estimate) -> Self {
        let tested = difference.low < difference.high;
        match difference.mean.total_cmp(&0.0) {
            std::cmp::Ordering::Greater if difference.low > 0.0 && tested => Self::Above,
            std::cmp::Ordering::Greater => Self::MaybeAbove,
            std::cmp::Ordering::Equal => Self::Level,
            std::cmp::Ordering::Less if difference.high < 0.0 && tested => Self::Below,
            std::cmp::Ordering::Less => Self::MaybeBelow,
        }
    }
    /// A sign, a name for the page's style, and words: no reader depends on colour.
    pub fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Above => ("▲", "above", "intervals do not overlap"),
            Self::MaybeAbove => ("△", "open", "intervals overlap"),
            Self::Level => ("=", "open", "equal means"),
            Self::MaybeBelow => ("▽", "open", "intervals overlap"),
            Self::Below => ("▼", "below", "intervals do not overlap"),
            Self::Untested => ("◇", "open", "untested"),
            Self::Incomparable => ("×", "open", "not comparable"),
        }
    }
}

/// The best learned policy against one other row.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Comparison {
    /// `the teacher`, `popular quit-aware`, …
    pub against: String,
    pub difference: f64,
    /// The interval of the difference over the same users, where it was measured.
    pub paired: Option<Estimate>,
    pub outcome: Outcome,
    /// The clause of the verdict.
    pub clause: String,
}

/// What stands at the top of the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::report) struct Verdict {
    /// At most two sentences.
    pub sentences: Vec<String>,
    pub comparisons: Vec<Comparison>,
}

/// The rows that verdicts are about.
pub(in crate::report) struct Contenders<'a> {
    /// The baseline to beat.
    pub baseline: Option<&'a Row>,
    /// The best language model.
    pub teacher: Option<&'a Row>,
    /// How many it is the best of.
    pub teachers: usize,
    /// What offered the language model its candidates.
    pub retriever: Option<&'a Row>,
    /// The best learned row.
    pub best: Option<&'a Row>,
    /// The baseline of the highest return that is told nothing of users.
    pub best_baseline: Option<&'a Row>,
    /// How many learned rows it is the best of.
    pub learned: usize,
    /// How many rows show policies that were never trained; they are none of the learned.
    pub untrained: usize,
    /// Comparisons of pairs of rows, where there are any.
    pub comparisons: Option<&'a Comparisons>,
}

impl<'a> Contenders<'a> {
    /// Finds them among the rows; `baseline` names the baseline to beat, else it is the first that starts with `popular`.
    pub fn of(rows: &'a [Row], baseline: Option<&str>) -> Self {
        let judged = || rows.iter().filter(|row| row.returns().is_some());
        let starting = |start| judged().find(|row| row.role == Role::Baseline && row.name.starts_with(start));
        let best = |is: fn(&Row) -> bool| {
            let higher = |a: &&Row, b: &&Row| {
                let [a, b] = [a, b].map(|row| row.returns().map_or(f64::NEG_INFINITY, |r| r.mean));
                // The first of equals: `max_by` would take the last.
                a.total_cmp(&b).then(std::cmp::Ordering::Greater)
            };
            judged().filter(|row| is(row)).max_by(higher)
        };
        Self {
            baseline: match baseline {
                Some(name) => judged().find(|row| row.name == name),
                None => starting("popular"),
            },
            teacher: best(|row| row.role == Role::Teacher),
            teachers: judged().filter(|row| row.role == Role::Teacher).count(),
            retriever: starting("retriever"),
            best: best(Row::is_learned),
            best_baseline: best(|row| row.role == Role::Baseline && !row.privileged),
            learned: judged().filter(|row| row.is_learned()).count(),
            untrained: judged().filter(|row| row.role == Role::Untrained).count(),
            comparisons: None,
        }
    }

    /// With the comparisons of the evaluation, whose probabilities of improvement the verdict says.
    pub fn with(self, comparisons: Option<&'a Comparisons>) -> Self {
        Self { comparisons, ..self }
    }

    /// The rows that the charts draw through.
    pub fn references(&self) -> Vec<&'a str> {
        [self.baseline, self.retriever].into_iter().flatten().map(|row| row.name.as_str()).collect()
    }

    /// The verdict on these rows.
    pub fn verdict(&self) -> Verdict {
        let comparisons = self.comparisons();
        let sentences = [self.on_best(&comparisons), self.on_teacher()].into_iter().flatten().collect();
        Verdict { sentences, comparisons }
    }

    fn comparisons(&self) -> Vec<Comparison> {
        let Some(best) = self.best else { return Vec::new() };
        let named = |row: Option<&'a Row>, name: &str, paired| row.map(|row| (row, name.to_owned(), paired));
        let teacher = match self.teachers {
            0 | 1 => "the teacher".to_owned(),
            n => format!("the best of {n} language models"),
        };
        let popular = |row: &Row| if row.name.starts_with("popular") { "lead_over_popular" } else { "" };
        let others = [
            self.baseline.map(|row| (row, row.name.clone(), popular(row))),
            named(self.teacher, &teacher, "lead_over_teacher"),
            named(self.retriever, "retriever top-1", "lead_over_retriever"),
        ];
        let compare = |(row, name, paired): (&Row, String, &str)| {
            compare(best, row, name, best.get(paired), self.improvement(&best.name, &row.name))
        };
        others.into_iter().flatten().filter_map(compare).collect()
    }

    /// The probability of improvement of one row over another, in words; nothing where they were not compared.
    fn improvement(&self, row: &str, other: &str) -> String {
        let found = self.comparisons.and_then(|all| all.0.iter().find(|c| c.policy == row && c.other == other));
        found.filter(|c| c.probability_of_improvement.is_finite()).map_or_else(String::new, |c| {
            format!(", probability of improvement {}", format::two_decimals(c.probability_of_improvement))
        })
    }

    fn on_best(&self, comparisons: &[Comparison]) -> Option<String> {
        let Some(best) = self.best else {
            let beside = [
                (self.teacher.is_some(), "language models"),
                (self.untrained > 0, "untrained policies"),
                (true, "baselines"),
            ];
            let beside: Vec<String> = beside.iter().filter(|(is, _)| *is).map(|(_, what)| (*what).to_owned()).collect();
            let shown = if beside.len() == 1 { "baselines only".to_owned() } else { format::list(&beside) };
            return Some(format!("The table holds no learned policy: it shows {shown}."));
        };
        let who = match self.learned {
            1 => format!("The learned policy {}", best.name),
            n => format!("The best of {n} learned policies, {},", best.name),
        };
        let head = format!("{who} returns {} per episode", format::with_interval(best.returns()?));
        let clauses: Vec<_> = comparisons.iter().map(|c| c.clause.clone()).collect();
        let beaten = comparisons.first().is_some_and(|c| c.outcome == Outcome::Below && self.baseline.is_some());
        let more = match self.higher_baseline(best) {
            Some(row) => format!(
                "; {}, a baseline without learning, returns {}",
                row.name,
                format::with_interval(row.returns()?)
            ),
            None if beaten => "; a baseline without learning returns more".to_owned(),
            None => String::new(),
        };
        Some(match clauses.is_empty() {
            true => format!("{head}{more}."),
            false => format!("{head}: {}{more}.", format::list(&clauses)),
        })
    }

    /// The best baseline, where it returns more than the best policy under the same rules and no clause is about it.
    fn higher_baseline(&self, best: &Row) -> Option<&'a Row> {
        let row = self.best_baseline?;
        let told = [self.baseline, self.retriever].into_iter().flatten().any(|told| told.name == row.name);
        let below = matches!(outcome(best, row)?, Outcome::Below | Outcome::MaybeBelow | Outcome::Untested);
        (!told && below && row.returns()?.mean > best.returns()?.mean).then_some(row)
    }

    fn on_teacher(&self) -> Option<String> {
        let (teacher, retriever) = (self.teacher?, self.retriever?);
        let (own, base) = (teacher.returns()?, retriever.returns()?);
        let head = match self.teachers {
            0 | 1 => format!("The language model returns {}", format::with_interval(own)),
            n => format!("The best of {n} language models, {}, returns {}", teacher.name, format::with_interval(own)),
        };
        let base = format::with_interval(base);
        let fair = outcome(teacher, retriever)? != Outcome::Incomparable;
        if let Some(difference) = teacher.get("lead_over_retriever").filter(|_| fair) {
            let by = format::difference_with_interval(difference);
            return Some(match Outcome::of_difference(&difference) {
                Outcome::Above => format!(
                    "{head}, {by} against retriever top-1 on the same users: choosing among the candidates increases the return."
                ),
                Outcome::Below => format!(
                    "{head}, {by} against retriever top-1 on the same users: choosing among the candidates decreases the return."
                ),
                _ => format!(
                    "{head}, {by} against retriever top-1 on the same users: choosing among the candidates has no clear effect."
                ),
            });
        }
        Some(match outcome(teacher, retriever)? {
            Outcome::Above => format!(
                "{head}, above retriever top-1 ({base}; intervals do not overlap): choosing among the candidates increases the return."
            ),
            Outcome::MaybeAbove => format!(
                "{head}, above retriever top-1 ({base}; intervals overlap): whether choosing among the candidates has an effect is open."
            ),
            Outcome::Level | Outcome::MaybeBelow => format!(
                "{head}, not above retriever top-1 ({base}; intervals overlap): choosing among the candidates has no visible benefit."
            ),
            Outcome::Below => format!(
                "{head}, below retriever top-1 ({base}; intervals do not overlap): choosing among the candidates decreases the return."
            ),
            Outcome::Untested => {
                format!("{head}, retriever top-1 {base}; neither has an interval, so the difference is untested.")
            }
            Outcome::Incomparable => {
                format!("{head}; retriever top-1 ({base}) has another horizon, so the two are not comparable.")
            }
        })
    }
}

/// How `a` stands to `b`; `None` when one has no return.
fn outcome(a: &Row, b: &Row) -> Option<Outcome> {
    let (left, right) = (a.returns()?, b.returns()?);
    let differ = matches!((a.stats.cut_at, b.stats.cut_at), (Some(x), Some(y)) if x != y);
    Some(if differ { Outcome::Incomparable } else { Outcome::of(&left, &right) })
}

/// `improvement` says how probable it is, or nothing.
fn compare(
    best: &Row,
    other: &Row,
    against: String,
    paired: Option<Estimate>,
    improvement: String,
) -> Option<Comparison> {
    let (own, theirs) = (best.returns()?, other.returns()?);
    let outcome = outcome(best, other)?;
    let value = format::with_interval(theirs);
    if let Some(difference) = paired.filter(|_| outcome != Outcome::Incomparable) {
        let outcome = Outcome::of_difference(&difference);
        let word = match outcome {
            Outcome::Above => "above",
            Outcome::Below => "below",
            _ => "not clearly different from",
        };
        let clause = format!(
            "{word} {against} ({} on the same users{improvement})",
            format::difference_with_interval(difference)
        );
        return Some(Comparison { against, difference: difference.mean, paired, outcome, clause });
    }
    let clause = match outcome {
        Outcome::Above => format!("above {against} ({value}; intervals do not overlap{improvement})"),
        Outcome::MaybeAbove => format!("above {against} ({value}; intervals overlap{improvement})"),
        Outcome::Level => format!("equal to {against} ({value})"),
        Outcome::MaybeBelow => format!("below {against} ({value}; intervals overlap{improvement})"),
        Outcome::Below => format!("below {against} ({value}; intervals do not overlap{improvement})"),
        Outcome::Untested => {
            let word = if own.mean > theirs.mean { "higher" } else { "lower" };
            format!("{word} than {against} ({value}; neither has an interval, so the difference is untested)")
        }
        Outcome::Incomparable => format!("not comparable with {against} ({value}; its episodes have another horizon)"),
    };
    Some(Comparison { against, difference: own.mean - theirs.mean, paired: None, outcome, clause })
}

#[cfg(test)]
mod tests {
    use super::{Contenders, Estimate, Outcome};
    use crate::report::fixture;

    fn sentences(rows: &[(&str, bool, f64, f64)]) -> Vec<String> {
        Contenders::of(&fixture::rows(rows), None).verdict().sentences
    }

    #[test]
    fn above_everything_with_intervals_apart() {
        let said = sentences(&[
            ("popular quit-aware", true, 132.0, 0.0),
            ("retriever top-1", true, 125.0, 0.5),
            ("teacher (LLM)", false, 130.0, 2.0),
            ("bc", false, 128.0, 1.0),
            ("a2c", false, 135.0, 1.0),
        ]);
        assert_eq!(
            said,
            [
                "The best of 2 learned policies, a2c, returns 135.0 [134.0, 136.0] per episode: above popular quit-aware \
                 (132.0; intervals do not overlap), above the teacher (130.0 [128.0, 132.0]; intervals do not overlap) and above \
                 retriever top-1 (125.0 [124.5, 125.5]; intervals do not overlap).",
                "The language model returns 130.0 [128.0, 132.0], above retriever top-1 (125.0 [124.5, 125.5]; intervals do not \
                 overlap): choosing among the candidates increases the return.",
            ]
        );
    }

    #[test]
    fn one_number_against_another_is_no_test() {
        // google-research/rliable#20: an interval without a width looked like certainty.
        let said = sentences(&[
            ("popular quit-aware", true, 132.0, 0.0),
            ("retriever top-1", true, 125.0, 0.0),
            ("teacher (LLM)", false, 130.0, 0.0),
            ("a2c", false, 135.0, 0.0),
        ]);
        assert!(said[0].contains("higher than popular quit-aware (132.0; neither has an interval"), "{said:?}");
        assert!(said[1].ends_with("so the difference is untested."), "{said:?}");
        assert!(!said.iter().any(|said| said.contains("intervals do not overlap")), "{said:?}");
    }

    #[test]
    fn of_several_language_models_the_best_is_meant() {
        let said = sentences(&[
            ("retriever top-1", true, 125.0, 0.5),
            ("teacher expert=act_only", false, 120.0, 6.0),
            ("teacher expert=react", false, 137.0, 6.0),
            ("a2c", false, 135.0, 1.0),
        ]);
        assert!(
            said[0].contains("below the best of 2 language models (137.0 [131.0, 143.0]; intervals overlap)"),
            "{said:?}"
        );
        assert!(said[1].starts_with("The best of 2 language models, teacher expert=react, returns 137.0"), "{said:?}");
        let said = sentences(&[("retriever top-1", true, 125.0, 0.5), ("teacher a", false, 120.0, 6.0)]);
        assert!(said[0].ends_with("shows language models and baselines."), "{said:?}");
    }

    #[test]
    fn a_paired_difference_decides_where_it_was_measured() {
        let mut rows = fixture::rows(&[
            ("popular quit-aware", true, 130.0, 0.7),
            ("retriever top-1", true, 125.0, 0.6),
            ("teacher (LLM)", false, 120.0, 6.0),
            ("a2c", false, 130.8, 0.7),
        ]);
        let estimate = |mean: f64, half: f64| Estimate { mean, low: mean - half, high: mean + half };
        rows[3].measures.insert("lead_over_popular".into(), estimate(0.8, 0.4));
        rows[2].measures.insert("lead_over_retriever".into(), estimate(-1.2, 0.6));
        let verdict = Contenders::of(&rows, None).verdict();
        assert_eq!(verdict.comparisons[0].outcome, Outcome::Above);
        assert!(
            verdict.sentences[0].contains("above popular quit-aware (+0.8 [0.4, 1.2] on the same users)"),
            "{}",
            verdict.sentences[0]
        );
        assert!(verdict.sentences[1].contains("−1.2 [−1.8, −0.6]"), "{}", verdict.sentences[1]);
        assert!(verdict.sentences[1].contains("decreases the return"), "{}", verdict.sentences[1]);
        rows[2].measures.insert("lead_over_retriever".into(), estimate(1.0, 0.0));
        let said = Contenders::of(&rows, None).verdict().sentences.pop().unwrap();
        assert!(said.ends_with("has no clear effect."), "of a single user: {said}");
        rows[3].measures.insert("lead_over_popular".into(), estimate(0.8, 0.9));
        assert_eq!(Contenders::of(&rows, None).verdict().comparisons[0].outcome, Outcome::MaybeAbove);
    }

    #[test]
    fn below_popular_is_said_plainly() {
        let said = sentences(&[("popular quit-aware", true, 132.0, 0.0), ("a2c", false, 120.0, 1.0)]);
        assert_eq!(
            said,
            [
                "The learned policy a2c returns 120.0 [119.0, 121.0] per episode: below popular quit-aware (132.0; intervals do not overlap); a baseline without learning returns more."
            ]
        );
    }

    #[test]
    fn a_baseline_that_no_clause_is_about_is_named_where_it_returns_more() {
        let said = |cycle: f64| {
            let rows = [
                ("popular quit-aware", true, 132.0, 0.5),
                ("popular cycle", true, cycle, 0.5),
                ("a2c", false, 134.0, 0.5),
            ];
            sentences(&rows).remove(0)
        };
        assert!(
            said(140.0).ends_with("; popular cycle, a baseline without learning, returns 140.0 [139.5, 140.5]."),
            "{}",
            said(140.0)
        );
        assert!(!said(120.0).contains("popular cycle"), "{}", said(120.0));
    }

    #[test]
    fn overlapping_intervals_are_named() {
        let said = sentences(&[("popular quit-aware", true, 132.0, 0.0), ("a2c", false, 133.0, 3.0)]);
        assert!(said[0].ends_with("above popular quit-aware (132.0; intervals overlap)."), "{said:?}");
        let said = sentences(&[("popular quit-aware", true, 132.0, 0.0), ("a2c", false, 131.0, 3.0)]);
        assert!(said[0].ends_with("below popular quit-aware (132.0; intervals overlap)."), "{said:?}");
    }

    #[test]
    fn a_language_model_no_better_than_its_retriever_is_said_plainly() {
        let llm = |mean, half| {
            sentences(&[("retriever top-1", true, 125.0, 0.5), ("teacher (LLM)", false, mean, half)])[1].clone()
        };
        assert!(llm(118.0, 6.0).contains("below retriever top-1"));
        assert!(llm(124.0, 6.0).contains("not above retriever top-1 (125.0 [124.5, 125.5]; intervals overlap)"));
        assert!(llm(125.0, 6.0).contains("not above retriever top-1"));
        assert!(llm(127.0, 6.0).contains("above retriever top-1 (125.0 [124.5, 125.5]; intervals overlap): whether"));
        assert!(llm(137.0, 6.0).contains("intervals do not overlap): choosing among the candidates increases"));
    }

    #[test]
    fn episodes_cut_at_another_length_are_not_compared() {
        let mut rows = fixture::rows(&[("teacher (LLM)", false, 24.0, 1.0), ("a2c", false, 135.0, 1.0)]);
        rows[0].stats.cut_at = Some(6);
        rows[1].stats.cut_at = Some(30);
        let verdict = Contenders::of(&rows, None).verdict();
        assert_eq!(verdict.comparisons[0].outcome, Outcome::Incomparable);
        assert!(verdict.sentences[0].contains("not comparable with the teacher"));
    }

    #[test]
    fn rows_without_a_return_take_no_part() {
        let said = sentences(&[("popular quit-aware", true, f64::NAN, 0.0), ("a2c", false, f64::NAN, 0.0)]);
        assert_eq!(said, ["The table holds no learned policy: it shows baselines only."]);
        let said = sentences(&[("a2c", false, 135.0, 1.0)]);
        assert_eq!(said, ["The learned policy a2c returns 135.0 [134.0, 136.0] per episode."]);
    }

    #[test]
    fn a_mean_is_said_with_the_probability_of_improvement() {
        let rows = fixture::rows(&[("popular quit-aware", true, 132.0, 0.0), ("a2c", false, 135.0, 1.0)]);
        let comparisons = fixture::inputs().comparisons;
        let said = Contenders::of(&rows, None).with(comparisons.as_ref()).verdict().sentences;
        assert!(said[0].ends_with("(132.0; intervals do not overlap, probability of improvement 0.55)."), "{said:?}");
    }

    #[test]
    fn a_named_baseline_replaces_popularity() {
        let rows = fixture::rows(&[
            ("popular quit-aware", true, 132.0, 0.0),
            ("greedy oracle", true, 141.0, 0.0),
            ("a2c", false, 135.0, 1.0),
        ]);
        let verdict = Contenders::of(&rows, Some("greedy oracle")).verdict();
        assert_eq!(
            (verdict.comparisons[0].against.as_str(), verdict.comparisons[0].outcome),
            ("greedy oracle", Outcome::Below)
        );
    }
}
