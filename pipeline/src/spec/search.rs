//! Random search: `search: { n_trials: 16, over: { gamma: { uniform: [0.3, 0.95] } } }` makes sixteen cells `trial=0` … `trial=15`, each with
//! values of its own for all the settings.
//!
//! A value is drawn from (seed, path, trial) alone and rounded to four digits, unless the range is narrow: a larger search contains the smaller one, whose cells stay what
//! they were, and another setting beside it changes no draw. (Bergstra and Bengio 2012, JMLR 13: where few of many settings matter, random
//! trials find good ones sooner than a grid.)

use std::collections::BTreeSet;

use serde_json::Value;

use super::document::only;
use super::sweep::{self, Axis, Coordinate, JoinSide};
use super::tree::{Data, Entry, Tree};
use crate::diagnostic::{Diagnostic, MOST, Span};
use crate::secret::is_reference;

/// What stands before the number of a trial in the name of its cell.
const TRIAL: &str = "trial";
/// More trials than this are a typing mistake.
const MAX_TRIALS: u64 = 1000;
/// How values are drawn.
const DRAWS: &[&str] = &["uniform", "log_uniform", "integer", "choice"];
/// For messages.
const FORMS: &str = "a setting is drawn by `{ uniform: [0.3, 0.95] }`, `{ log_uniform: [1e-4, 1e-2] }`, `{ integer: [1, 8] }` or \
                     `{ choice: [16, 32, 64] }`";

/// The settings that are searched, with the values of each trial.
pub(crate) struct Search<'t> {
    span: Span,
    n_trials: u64,
    settings: Vec<Setting<'t>>,
}

struct Setting<'t> {
    path: &'t Entry,
    values: Vec<Tree>,
}

impl<'t> Search<'t> {
    /// Reads `search`. Faulty settings are reported and left out; nothing where no trial is left.
    pub fn read(
        entry: &'t Entry,
        with: Option<&Entry>,
        axes: &[Axis<'_>],
        errors: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        only(&entry.value, "`search`", &["n_trials", "seed", "over"], errors);
        let n_trials = whole(entry, "n_trials", errors);
        let seed = match entry.value.get("seed") {
            None => Some(0),
            Some(_) => whole(entry, "seed", errors),
        };
        let over = entry.value.get("over").filter(|over| !over.value.entries().is_empty());
        if over.is_none() {
            errors
                .push(Diagnostic::at(entry.key_span, "`search` needs `over`: the settings that are drawn").help(FORMS));
        }
        let (n_trials, seed, over) = (n_trials?, seed?, over?);
        if !(1..=MAX_TRIALS).contains(&n_trials) {
            let fault = Diagnostic::at(entry.key_span, format!("a search of {n_trials} trials"));
            errors.push(fault.help(format!("between 1 and {MAX_TRIALS}")));
            return None;
        }
        let swept: BTreeSet<&str> = axes.iter().map(|axis| axis.key).collect();
        let mut settings = Vec::new();
        for path in over.value.entries() {
            if errors.len() > MOST {
                break;
            }
            if with.and_then(|with| sweep::written(&with.value, &path.key)).is_some() {
                let message = format!("`{}` is searched here and has a value in `with`", path.key);
                errors.push(Diagnostic::at(path.key_span, message).help("keep one of them"));
            }
            let within = |other: &str| {
                let inside =
                    |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
                inside(other, &path.key) || inside(&path.key, other)
            };
            let others = over.value.entries().iter().map(|entry| &*entry.key).filter(|key| *key != path.key);
            if let Some(other) = swept.iter().copied().chain(others).find(|other| within(other)) {
                let message = format!("`{}` is searched, and `{other}` is swept or searched too", path.key);
                errors.push(Diagnostic::at(path.key_span, message).help("keep one of them"));
                continue;
            }
            match Draw::read(path) {
                Ok(draw) => {
                    let value = |trial| draw.value(unit(seed, &path.key, trial), path.value.span);
                    settings.push(Setting { path, values: (0..n_trials).map(value).collect() });
                }
                Err(fault) => errors.push(*fault),
            }
        }
        Some(Self { span: entry.key_span, n_trials, settings })
    }

    /// Its cells as a side of a join.
    pub fn side(&self) -> JoinSide {
        let cell = |trial| vec![Coordinate { key: TRIAL.into(), label: format!("{trial}") }];
        JoinSide { what: "`search`".into(), span: self.span, cells: (0..self.n_trials).map(cell).collect() }
    }

    /// The values of a cell: path, its place and the value.
    pub fn values<'s>(&'s self, cell: &[Coordinate]) -> impl Iterator<Item = (&'t str, Span, &'s Tree)> {
        let trial = cell.iter().find(|at| at.key == TRIAL).and_then(|at| at.label.parse::<usize>().ok());
        let of = move |setting: &'s Setting<'t>| {
            Some((&*setting.path.key, setting.path.key_span, setting.values.get(trial?)?))
        };
        self.settings.iter().filter_map(of)
    }
}

fn whole(entry: &Entry, key: &str, errors: &mut Vec<Diagnostic>) -> Option<u64> {
    let Some(found) = entry.value.get(key) else {
        errors.push(
            Diagnostic::at(entry.key_span, format!("`search` needs `{key}`")).help(format!("for example `{key}: 16`")),
        );
        return None;
    };
    let number = if let Data::Scalar(value) = &found.value.data { value.as_u64() } else { None };
    if number.is_none() {
        let message = format!("`{key}` takes a whole number, not {}", found.value.noun());
        errors.push(Diagnostic::at(found.value.span, message));
    }
    number
}

/// How a setting is drawn.
enum Draw<'t> {
    /// Between two numbers.
    Uniform(f64, f64),
    /// Between two numbers above 0, uniform in their logarithm.
    LogUniform(f64, f64),
    /// Whole numbers, both ends among them.
    Integer(i64, i64),
    /// One of a list.
    Choice(&'t [Tree]),
}

impl<'t> Draw<'t> {
    fn read(path: &'t Entry) -> Result<Self, Box<Diagnostic>> {
        let fault = |message: String| Box::new(Diagnostic::at(path.value.span, message).help(FORMS));
        let [Entry { key, value, .. }] = path.value.entries() else {
            return Err(fault(format!("`{}` is searched, but how it is drawn is not said", path.key)));
        };
        let Data::List(list) = &value.data else {
            return Err(fault(format!("`{key}` takes a list, not {}", value.noun())));
        };
        let number = |tree: &Tree| if let Data::Scalar(value) = &tree.data { value.as_f64() } else { None };
        let range = match &list[..] {
            [low, high] => number(low).zip(number(high)).filter(|(low, high)| low < high && high.is_finite()),
            _ => None,
        };
        let wanted = || fault(format!("`{key}` takes the lowest and the highest value, in this order"));
        match &**key {
            "uniform" => range.map(|(low, high)| Self::Uniform(low, high)).ok_or_else(wanted),
            "log_uniform" => match range {
                Some((low, _)) if low <= 0.0 => Err(fault("`log_uniform` takes values above 0".into())),
                _ => range.map(|(low, high)| Self::LogUniform(low, high)).ok_or_else(wanted),
            },
            "integer" => match range {
                Some((low, high)) if low.fract() == 0.0 && high.fract() == 0.0 && low.abs().max(high.abs()) < 1e15 => {
                    Ok(Self::Integer(low as i64, high as i64))
                }
                _ => Err(fault("`integer` takes the lowest and the highest whole number".into())),
            },
            "choice" if list.iter().any(|value| value.text().is_some_and(is_reference)) => {
                Err(fault(format!("`{}` cannot be searched: a secret changes no result", path.key)))
            }
            "choice" if !list.is_empty() => Ok(Self::Choice(list)),
            "choice" => Err(fault("`choice` takes at least one value".into())),
            _ => {
                let found = Diagnostic::at(path.value.span, format!("there is no draw `{key}`"));
                Err(Box::new(found.suggest(key, DRAWS.iter().copied(), || FORMS.to_owned())))
            }
        }
    }

    /// The value at `at` of [0, 1).
    fn value(&self, at: f64, span: Span) -> Tree {
        let scalar = |value: Value| Tree { span, data: Data::Scalar(value) };
        match *self {
            Self::Uniform(low, high) => scalar(within(low + (high - low) * at, low, high).into()),
            Self::LogUniform(low, high) => {
                scalar(within((low.ln() + (high.ln() - low.ln()) * at).exp(), low, high).into())
            }
            Self::Integer(low, high) => scalar((low + ((high - low + 1) as f64 * at) as i64).min(high).into()),
            Self::Choice(list) => list[((list.len() as f64 * at) as usize).min(list.len() - 1)].clone(),
        }
    }
}

/// Uniform in [0, 1), of 53 bits.
fn unit(seed: u64, path: &str, trial: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(&trial.to_le_bytes()).update(path.as_bytes());
    let bytes = hasher.finalize();
    let number = u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("a digest has 32 bytes"));
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

/// To four significant digits, as a person would write it; as it is where these tell too few values of the range apart.
fn within(value: f64, low: f64, high: f64) -> f64 {
    let narrow = high - low < 0.01 * low.abs().max(high.abs());
    let rounded = if narrow { value } else { format!("{value:.3e}").parse().unwrap_or(value) };
    rounded.clamp(low, high)
}

#[cfg(test)]
mod tests {
    use crate::spec::toy::{good, load_text};

    /// The toy experiment with `search` in the stage `policy` instead of its sweep, or beside one.
    fn experiment(keys: &str) -> String {
        format!(
            "name: toy\nassets:\n  rows: {{ from: [{{ generate: toy-log }}] }}\nstages:\n  log: {{ use: ingest, with: {{ asset: rows, user_column: user }} }}\n  \
             world: {{ use: fit, inputs: {{ interactions: log.interactions, items: log.items }} }}\n  policy:\n    use: learn.a2c\n    inputs: {{ world: \
             world.world }}\n{keys}"
        )
    }

    fn values(keys: &str) -> Vec<(String, serde_json::Value)> {
        let experiment = good(&experiment(keys), &[]);
        let of_policy = experiment.nodes.iter().filter(|node| node.stage == "policy");
        of_policy.map(|node| (node.cell.clone(), node.config.config())).collect()
    }

    #[test]
    fn each_trial_has_values_of_its_own_and_a_larger_search_contains_the_smaller() {
        let search = |n: usize| {
            format!(
                "    search: {{ n_trials: {n}, over: {{ gamma: {{ uniform: [0.5, 0.9] }}, learning_rate: {{ log_uniform: [1e-4, 1e-1] }} }} }}\n"
            )
        };
        let (few, many) = (values(&search(3)), values(&search(40)));
        assert_eq!(few.iter().map(|(cell, _)| &**cell).collect::<Vec<_>>(), ["trial=0", "trial=1", "trial=2"]);
        assert_eq!(few[..], many[..3]);
        let numbers = |key: &str| many.iter().map(|(_, config)| config[key].as_f64().unwrap()).collect::<Vec<_>>();
        let (gammas, rates) = (numbers("gamma"), numbers("learning_rate"));
        assert!(gammas.iter().all(|gamma| (0.5..=0.9).contains(gamma)) && gammas.iter().any(|gamma| *gamma < 0.6));
        let below = rates.iter().filter(|rate| **rate < 0.003_162).count();
        assert!((10..30).contains(&below) && rates.iter().all(|rate| (1e-4..=1e-1).contains(rate)), "{rates:?}");
        let alone = "    search: { n_trials: 3, over: { gamma: { uniform: [0.5, 0.9] } } }\n";
        assert!(values(alone).iter().zip(&few).all(|(a, b)| a.1["gamma"] == b.1["gamma"]));
        let other = "    search: { n_trials: 3, seed: 1, over: { gamma: { uniform: [0.5, 0.9] } } }\n";
        assert!(values(other).iter().zip(&few).all(|(a, b)| a.1["gamma"] != b.1["gamma"]));
    }

    #[test]
    fn a_search_is_crossed_with_a_sweep_and_choices_and_integers_are_among_those_given() {
        let keys =
            "    sweep: { seed: [0, 1] }\n    search: { n_trials: 20, over: { gamma: { choice: [0.25, 0.75] } } }\n";
        let found = values(keys);
        assert_eq!((found.len(), &*found[0].0, &*found[39].0), (40, "seed=0,trial=0", "seed=1,trial=19"));
        let of_seed = |seed: u64| {
            found
                .iter()
                .filter(|(_, config)| config["seed"] == seed)
                .map(|(_, config)| config["gamma"].as_f64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(of_seed(0), of_seed(1));
        assert!(of_seed(0).contains(&0.25) && of_seed(0).contains(&0.75));
        let seeds = values("    search: { n_trials: 30, over: { seed: { integer: [3, 5] } } }\n");
        let seeds: std::collections::BTreeSet<u64> =
            seeds.iter().map(|(_, config)| config["seed"].as_u64().unwrap()).collect();
        assert_eq!(seeds, [3, 4, 5].into());
    }

    #[test]
    fn a_value_stays_in_its_range_and_a_narrow_range_has_many() {
        let keys = "    search: { n_trials: 30, over: { gamma: { uniform: [0.9999, 0.99999] } } }\n";
        let gammas: Vec<f64> = values(keys).iter().map(|(_, config)| config["gamma"].as_f64().unwrap()).collect();
        assert!(gammas.iter().all(|gamma| (0.9999..=0.99999).contains(gamma)), "{gammas:?}");
        let distinct: std::collections::BTreeSet<u64> = gammas.iter().map(|gamma| gamma.to_bits()).collect();
        assert_eq!(distinct.len(), 30);
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let refused = |keys: &str, said: &str| {
            let faults = load_text(&experiment(keys), &[]).err().unwrap().to_string();
            assert!(faults.contains(said), "{said}: {faults}");
        };
        let over = |over: &str| format!("    search: {{ n_trials: 2, over: {{ {over} }} }}\n");
        refused("    search: { over: { gamma: { uniform: [0, 1] } } }\n", "`search` needs `n_trials`");
        refused("    search: { n_trials: 0, over: { gamma: { uniform: [0, 1] } } }\n", "a search of 0 trials");
        refused(
            "    search: { n_trials: 2.5, over: { gamma: { uniform: [0, 1] } } }\n",
            "`n_trials` takes a whole number, not 2.5",
        );
        refused("    search: { n_trials: 2 }\n", "`search` needs `over`");
        refused("    search: { n_trial: 2, over: { gamma: { uniform: [0, 1] } } }\n", "n_trial");
        refused(&over("gamma: 0.5"), "how it is drawn is not said");
        refused(&over("gamma: { uniform: [0.9, 0.5] }"), "the lowest and the highest value");
        refused(&over("gamma: { log_uniform: [0, 0.5] }"), "values above 0");
        refused(&over("seed: { integer: [0.5, 3] }"), "whole number");
        refused(&over("gamma: { choice: [] }"), "at least one value");
        refused(&over("gamma: { unifrom: [0, 1] }"), "there is no draw `unifrom`");
        refused(&over("gama: { uniform: [0, 1] }"), "gama");
        refused(
            &format!("    with: {{ gamma: 0.5 }}\n{}", over("gamma: { uniform: [0, 1] }")),
            "is searched here and has a value in `with`",
        );
        refused(
            &format!("    sweep: {{ gamma: [0.5] }}\n{}", over("gamma: { uniform: [0, 1] }")),
            "`gamma` is searched, and `gamma` is swept",
        );
    }
}
