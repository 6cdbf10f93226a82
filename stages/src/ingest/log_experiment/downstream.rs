//! The pipeline behind a log, with settings that fit its size.

use std::collections::HashSet;
use std::path::Path;

use super::feedback::{Amounts, Feedback};
use super::yaml_text::{self, count};
use crate::artifact::Interactions;

/// Beyond so many pairs of a user and an item a world holds factors, and `world.deepfm` has none.
const DENSE_PAIRS: u64 = 100_000_000;
/// Beyond so many interactions a softmax takes longer than the rest together.
const SOFTMAX_ROWS: usize = 1_000_000;
/// The default of `simulator.embedding_dim`.
const EMBEDDING_DIM: usize = 16;

/// The sizes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub users: usize,
    pub items: usize,
    pub rows: usize,
}

/// What decides on the pipeline.
pub(super) struct Downstream {
    pub sizes: Sizes,
    /// How many rows repeat a user and an item, and how many of these are copies of a row.
    pub repeats: (usize, usize),
    pub feedback: Feedback,
    /// Whether the log has times, and whether many of them are equal within a user.
    pub has_times: bool,
    pub has_ties: bool,
    /// The title of the page, as YAML.
    pub title: String,
    /// Commented lines that declare columns as features of the world; may be empty.
    pub features: String,
    /// The stage that reads what a benchmark holds out, as YAML.
    pub test_part: Option<String>,
}

impl Downstream {
    fn amounts(&self) -> Option<Amounts> {
        match self.feedback {
            Feedback::Amounts(amounts) => Some(amounts),
            _ => None,
        }
    }

    fn is_large(&self) -> bool {
        self.sizes.users as u64 * self.sizes.items as u64 > DENSE_PAIRS
    }

    /// The stages after `log`, as text.
    pub fn text(&self) -> String {
        let explicit = matches!(self.feedback, Feedback::Explicit { .. });
        let amounts = self.amounts();
        let (before, source) = self.before();
        // Two families where they fit; else two fits to different halves of the log.
        let halves = if explicit { self.is_large() } else { self.sizes.rows - self.repeats.0 > SOFTMAX_ROWS };
        let (split, train, world, evaluation) = match (explicit, halves) {
            (true, false) => (self.split(), "split.train", DEEPFM, MF),
            (false, false) => (self.split(), "split.train", TWO_TOWER, IALS),
            (true, true) => (HALVES.to_owned(), "halves.train", MF_HALF, MF_OTHER_HALF),
            (false, true) => (HALVES.to_owned(), "halves.train", IALS_HALF, IALS_OTHER_HALF),
        };
        let (simulator, rules) = (self.simulator(), self.evaluation_simulator());
        let world = match simulator.as_str() {
            "" => world.replace("      SIMULATOR\n", ""),
            simulator => world.replace("SIMULATOR", simulator),
        };
        let [chosen, confidence] = match (amounts, halves) {
            (Some(amounts), false) => {
                let least = digits(amounts.least_rescaled(), 1);
                [
                    format!("      min_rating: {least} # what was chosen: an amount of more than 0\n"),
                    "alpha: 1.0, ".into(),
                ]
            }
            (Some(_), true) => ["      alpha: 1.0 # amounts are confidence\n", "alpha: 1.0, "].map(str::to_owned),
            (None, _) => Default::default(),
        };
        let calibration = if explicit { "      calibration: world.calibration\n" } else { "" };
        let tail = TAIL
            .replace("TRAIN", train)
            .replace("OFFERS", &self.offers())
            .replace("SCORE", &self.score())
            .replace("CALIBRATION", calibration)
            .replace("TITLE", &self.title);
        format!("{before}{split}\n{world}\n{evaluation}\n{tail}")
            .replace("      MIN_RATING\n", &chosen)
            .replace("      FEATURES\n", &self.features)
            .replace("ALPHA, ", &confidence)
            .replace(", SIMULATOR", &rules)
            .replace("    with: {  }\n", "")
            .replace("with: { , ", "with: { ")
            .replace("SOURCE", source)
    }

    /// The stages between the log and its split, and the last of them.
    fn before(&self) -> (String, &'static str) {
        let (mut text, mut source) = (String::new(), "log");
        let amounts = self.amounts();
        let (repeats, copies) = self.repeats;
        if repeats > 0 {
            // Amounts of several visits add up, those of a row that was written twice do not.
            let keep = if amounts.is_some() && 2 * copies < repeats { "sum" } else { "last" };
            text += &format!(
                "  # {}{}: {}\n  # (`keep`: first, last, mean, sum, count).\n  distinct: {{ use: \
                 filter.duplicates, inputs: {{ interactions: log.interactions }}, with: {{ keep: {keep} }} }}\n\n",
                yaml_text::repeats(repeats, self.sizes.rows),
                match copies {
                    0 => String::new(),
                    copies => format!(", {} of them also rating and time", count(copies)),
                },
                match keep {
                    "sum" => "of each pair\n  # one row is kept, with the sum of its amounts",
                    _ =>
                        "of each pair\n  # the latest row is kept; of equal times, or without times, the last in the file",
                }
            );
            source = "distinct";
        }
        if let Some(amounts) = amounts {
            let (why, by) = match amounts.is_signed() {
                false => (
                    "Amounts spread over powers of ten: ln(1 + r), which leaves 0 at 0 (`log`, `quantile`, `threshold`, `range`)".to_owned(),
                    "log".to_owned(),
                ),
                true => (
                    format!("← Some amounts are below 0 (the lowest is {}), as of goods that came back: they count as 0", amounts.min),
                    format!("{{ range: [0, {}] }}", amounts.max),
                ),
            };
            text += &format!(
                "  # {why}.\n  scaled: {{ use: rescale, inputs: {{ interactions: {source}.interactions }}, with: {{ by: {by} }} }}\n\n"
            );
            source = "scaled";
        }
        (text, source)
    }

    fn split(&self) -> String {
        if let Some(stage) = &self.test_part {
            return format!(
                "  # Held out from everything but the evaluation world: the benchmark's own test part. `by: time` or `random` would cut anew.\n  \
                 held_out: {stage}\n  split:\n    use: split\n    inputs: {{ interactions: SOURCE.interactions, test: held_out.interactions }}\n    \
                 with: {{ by: predefined }}\n"
            );
        }
        let (by, why) = match (self.has_times, self.has_ties) {
            (false, _) => {
                ("by: random, test_fraction: 0.2", "a random fifth of each user's rows, for no times are read")
            }
            (true, false) => ("by: time, test_fraction: 0.2", "the last fifth of each user's rows"),
            (true, true) => (
                "by: time, test_fraction: 0.2, ties: random",
                "the last fifth of each user's rows. Many of them\n  # have one time; their order is drawn (`ties`)",
            ),
        };
        format!(
            "  # Held out from everything but the evaluation world: {why}.\n  split:\n    use: split\n    inputs: {{ interactions: \
             SOURCE.interactions }}\n    with: {{ {by} }}\n"
        )
    }

    /// The settings of the user simulator, those that differ from their defaults.
    fn simulator(&self) -> String {
        let (mut settings, mut reasons) = (Vec::new(), Vec::new());
        let Sizes { users, items, .. } = self.sizes;
        if items < 60 {
            settings.push(format!("horizon: {}", (items / 2).max(2)));
            reasons.push("few items: short episodes");
        }
        if users.min(items) < EMBEDDING_DIM {
            settings.push(format!("embedding_dim: {}", users.min(items)));
            reasons.push("no more directions than users or items");
        }
        if (4_097..=16_384).contains(&items) {
            settings.push("distance_form: on_demand".to_owned());
            reasons.push("distances of that many items are computed when they are asked for");
        }
        if users > 8_192 {
            settings.push("distance_users: 4096".to_owned());
            reasons.push("how far items are apart is defined on a sample of the users");
        }
        match settings.is_empty() {
            true => String::new(),
            false => format!("simulator: {{ {} }} # {}", settings.join(", "), reasons.join("; ")),
        }
    }

    /// Those of the evaluation world, whose distances are the training world's.
    fn evaluation_simulator(&self) -> String {
        let Sizes { users, items, .. } = self.sizes;
        let horizon = (items < 60).then(|| format!("horizon: {}", (items / 2).max(2)));
        let embedding = (users.min(items) < EMBEDDING_DIM).then(|| format!("embedding_dim: {}", users.min(items)));
        match [horizon, embedding].into_iter().flatten().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => String::new(),
            settings => format!(", simulator: {{ {settings} }}"),
        }
    }

    fn offers(&self) -> String {
        let items = self.sizes.items;
        match items {
            0..100 => format!("    with: {{ top_k: {} }} # all items\n", items.max(1)),
            20_000.. => "    with: { n_neighbors: 200 } # bounds time and memory of a wide catalogue\n".to_owned(),
            _ => String::new(),
        }
    }

    fn score(&self) -> String {
        let users = match self.sizes.users {
            0..=500 => "",
            _ => "users: 500, ",
        };
        let mut why = Vec::new();
        if !users.is_empty() {
            why.push("of all users the first 500; without `users` all, which takes longer");
        }
        let liked = self.amounts().map(|amounts| {
            why.push("liked: as much as the median of the amounts above 0, rescaled");
            format!("liked_from: {}, ", digits(amounts.rescaled(amounts.usual), 3))
        });
        let why = if why.is_empty() { String::new() } else { format!(" # {}", why.join("; ")) };
        format!(
            "{{ {users}exclude_history: true, {}baselines: {{ seeds: 1, n_iterations: 100 }} }}{why}",
            liked.unwrap_or_default()
        )
    }
}

impl Amounts {
    /// Whether some are below 0, which have no logarithm.
    fn is_signed(&self) -> bool {
        self.min < 0.0
    }

    /// An amount as the stage `scaled` writes it.
    fn rescaled(&self, amount: f32) -> f64 {
        match self.is_signed() {
            false => f64::from(amount).ln_1p(),
            true => f64::from(amount) / f64::from(self.max),
        }
    }

    /// What all amounts above 0 exceed, once rescaled; also in 32 bits.
    fn least_rescaled(&self) -> f64 {
        (0.999 * self.rescaled(self.least)).min(0.1)
    }
}

/// A number above 0, rounded down to so many digits.
fn digits(number: f64, many: i32) -> String {
    // A power of ten is not below itself by a rounding of its logarithm.
    let places = many - 1 - (number.log10() + 1e-12).floor() as i32;
    let unit = 10_f64.powi(places);
    format!("{:.*}", places.max(0) as usize, (number * unit + 1e-9).floor() / unit)
}

const HALVES: &str =
    "  # The training world is fitted to one half of the log and the evaluation world to the other half.
  halves: { use: split, inputs: { interactions: SOURCE.interactions }, with: { by: global_random, test_fraction: 0.5 } }
";
const DEEPFM: &str = "  # The training world: simulated users, fitted to the train part. They leave at an item too similar to one of the last seven.
  world:
    use: world.deepfm
    inputs: { interactions: split.train, holdout: split.test, items: log.items, users: log.users }
    with:
      ensemble_size: 3
      FEATURES
      SIMULATOR
";
const MF: &str = "  # The evaluation world: another family, fitted with the held-out part too. Item distances are the training world's.
  evaluation:
    use: world.mf
    inputs: { interactions: SOURCE.interactions, items: log.items, users: log.users, distances: world.world }
    with: { , SIMULATOR }
";
const TWO_TOWER: &str = "  # The training world: which item a user chooses among all. Users leave at an item too similar to one of the last seven.
  world:
    use: world.two_tower
    inputs: { interactions: split.train, holdout: split.test, items: log.items, users: log.users }
    with:
      n_epochs: 5
      MIN_RATING
      FEATURES
      SIMULATOR
";
const IALS: &str = "  # The evaluation world: another family, fitted with the held-out part too. The reward is how sure it is that the user would take
  # the item.
  evaluation:
    use: world.ials
    inputs: { interactions: SOURCE.interactions, items: log.items, users: log.users, distances: world.world }
    with: { ALPHA, n_factors: 32, SIMULATOR }
";
const MF_HALF: &str =
    "  # The training world: simulated users. They leave at an item too similar to one of the last seven.
  world:
    use: world.mf
    inputs: { interactions: halves.train, holdout: halves.test, items: log.items, users: log.users }
    with:
      n_epochs: 10
      batch_size: 4096
      FEATURES
      SIMULATOR
";
const MF_OTHER_HALF: &str = "  # The evaluation world: other ratings and other factors.
  evaluation:
    use: world.mf
    inputs: { interactions: halves.test, items: log.items, users: log.users, distances: world.world }
    with: { n_factors: 32, n_epochs: 10, batch_size: 4096, seed: 100, SIMULATOR }
";
const IALS_HALF: &str = "  # The training world: how sure it is that the user would take the item. Users leave at an item too similar to one of the last seven.
  world:
    use: world.ials
    inputs: { interactions: halves.train, holdout: halves.test, items: log.items, users: log.users }
    with:
      n_factors: 32
      MIN_RATING
      SIMULATOR
";
const IALS_OTHER_HALF: &str = "  # The evaluation world: other choices and other factors.
  evaluation:
    use: world.ials
    inputs: { interactions: halves.test, items: log.items, users: log.users, distances: world.world }
    with: { ALPHA, n_factors: 64, seed: 100, SIMULATOR }
";
const TAIL: &str = "  # Candidates for each user, by what others rated together: a baseline of the table, and what a language model would choose from.
  offers:
    use: retrieve
    inputs: { interactions: TRAIN, items: log.items, users: log.users }
OFFERS
  # The policy: an actor-critic that learns in the training world, three seeds. `apprentice init` without `--log` shows a pipeline with a
  # language model as teacher; `apprentice stages` lists all learners.
  policy:
    use: rl.a2c
    sweep: { seed: [0, 1, 2] }
    inputs: { world: world.world }
    with: { n_iterations: 100, episodes_per_update: 32, bc_coef: 0.0 } # no demonstrations: nothing is cloned

  # Everything is evaluated in the world in which nothing was trained, beside baselines.
  score:
    use: evaluate
    inputs:
      world: evaluation.world
      train: TRAIN
      candidates: offers.candidates
      policies: { a2c: policy.policy }
      training_world: world.world
    with: SCORE

  report:
    use: report
    inputs:
      metrics: score.metrics
      rollouts: score.rollouts
      comparisons: score.comparisons
      profiles: score.profiles
CALIBRATION      curves: policy.curves
    with: { title: TITLE } # ← the title of the page
";

pub(super) fn title_of(path: &Path) -> String {
    let name = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or(&name).to_owned()
}

/// Whether a log has times, and whether many rows of a user share one.
pub(super) fn times(log: &Interactions) -> (bool, bool) {
    let has_times = log.timestamp.iter().any(|time| *time != log.timestamp[0]);
    let distinct: HashSet<(u32, i64)> = log.user.iter().copied().zip(log.timestamp.iter().copied()).collect();
    (has_times, (log.len() - distinct.len()) as f64 > TIED * log.len() as f64)
}

/// The share of rows of a user at one time from which on their order is drawn.
const TIED: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sizes: [usize; 3], feedback: Feedback) -> String {
        let [users, items, rows] = sizes;
        let sizes = Sizes { users, items, rows };
        Downstream {
            sizes,
            repeats: (0, 0),
            feedback,
            has_times: false,
            has_ties: false,
            title: "x".into(),
            features: String::new(),
            test_part: None,
        }
        .text()
    }

    #[test]
    fn what_was_chosen_is_below_every_amount_above_zero() {
        let amounts =
            |min, max, least, usual| Feedback::Amounts(Amounts { zeros: 0.0, median: usual, min, max, least, usual });
        let hours = text([200, 200, 3000], amounts(0.0, 0.8, 0.0001, 0.07));
        assert!(hours.contains("min_rating: 0.00009 #") && hours.contains("with: { by: log }"), "{hours}");
        assert!(hours.contains("exclude_history: true, liked_from: 0.0676, baselines"), "{hours}");
        let plays = text([200, 200, 3000], amounts(0.0, 900.0, 1.0, 16.0));
        assert!(plays.contains("min_rating: 0.1 #") && plays.contains("liked_from: 2.83, "), "{plays}");
        let returned = text([200, 200, 3000], amounts(-1.0, 4.0, 1.0, 2.0));
        for part in [
            "# ← Some amounts are below 0 (the lowest is -1)",
            "by: { range: [0, 4] }",
            "min_rating: 0.1",
            "liked_from: 0.500",
        ] {
            assert!(returned.contains(part), "no {part} in\n{returned}");
        }
    }

    #[test]
    fn few_users_or_items_have_few_directions() {
        let ratings = Feedback::Explicit { values: 5, min: 1.0, max: 5.0, doubt: None };
        let few = text([9, 10, 10], ratings);
        assert!(few.contains("simulator: { horizon: 5, embedding_dim: 9 } # few items"), "{few}");
        let more = text([16, 70, 900], ratings);
        assert!(!more.contains("simulator:") && !more.contains("liked_from"), "{more}");
        assert!(
            few.contains("distances: world.world }\n    with: { simulator: { horizon: 5, embedding_dim: 9 } }\n"),
            "{few}"
        );
        assert!(more.contains("distances: world.world }\n\n"), "{more}");
        let chosen = text([9, 10, 10], Feedback::Implicit);
        assert!(chosen.contains("with: { n_factors: 32, simulator: { horizon: 5, embedding_dim: 9 } }"), "{chosen}");
    }

    #[test]
    fn numbers_are_rounded_down() {
        for (number, many, wanted) in [
            (0.0001, 1, "0.0001"),
            (0.000_099_9, 1, "0.00009"),
            (2.833_9, 3, "2.83"),
            (12.0, 1, "10"),
            (0.5, 3, "0.500"),
            (1.0, 1, "1"),
        ] {
            assert_eq!(digits(number, many), wanted);
        }
    }
}
