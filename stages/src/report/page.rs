//! Puts rows, verdict and charts into the template.

use anyhow::{Context as _, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::chart::{NARROW, WIDE, curves, ridge, scatter, whisker};
use super::row::Row;
use super::verdict::{Cast, Comparison};
use super::{Inputs, caution, episode, legend, say};
use crate::artifact::{End, Step};

/// Steps of an episode that are printed before the rest folds away.
const UNFOLDED: usize = 5;

/// Renders the page; `cast` is chosen from `rows`.
pub(super) fn render(title: &str, rows: &[Row], cast: &Cast, inputs: &Inputs) -> Result<String> {
    let verdict = cast.verdict();
    let panels = curves::panels(&inputs.curves);
    let both = |draw: &dyn Fn(f64) -> Option<String>| match (draw(WIDE), draw(NARROW)) {
        (Some(wide), Some(narrow)) => {
            context! { wide => Value::from_safe_string(wide), narrow => Value::from_safe_string(narrow) }
        }
        _ => Value::from(()),
    };
    let page = context! {
        title,
        sentences => verdict.sentences,
        comparisons => verdict.comparisons.iter().map(comparison).collect::<Value>(),
        best => cast.best.map(|row| row.name.as_str()),
        cautions => caution::cautions(rows, cast, inputs.rollouts.as_ref()),
        rows => rows.iter().map(table_row).collect::<Value>(),
        whisker => both(&|width| whisker::draw(rows, &cast.references(), width)),
        scatter => both(&|width| scatter::draw(rows, width)),
        ridge => both(&|width| ridge::draw(rows, width)),
        panels => panels.iter().map(panel).collect::<Value>(),
        episodes => episodes(inputs),
        first_taken => inputs.demonstrations.as_ref().and_then(episode::first_taken).map(first_taken),
        terms => legend::TERMS.iter().map(|&(term, text)| context! { term, text }).collect::<Value>(),
        meanings => meanings(rows),
        has_rollouts => inputs.rollouts.is_some(),
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    // The names decide the escaping: everything that enters `.html` is escaped, the style is taken as it is.
    environment.add_template("page.css", include_str!("page.css"))?;
    environment.add_template("page.html.j2", include_str!("page.html.j2"))?;
    environment.get_template("page.html.j2")?.render(page).context("cannot fill the page's template")
}

fn comparison(comparison: &Comparison) -> Value {
    let (sign, class, words) = comparison.standing.words();
    let words = match comparison.paired {
        Some(paired) => format!("[{}, {}], same users", say::one(paired.low), say::one(paired.high)),
        None => words.to_owned(),
    };
    let difference = say::one(comparison.difference);
    let difference = if comparison.difference > 0.0 { format!("+{difference}") } else { difference };
    context! { against => comparison.against.as_str(), difference, sign, class, words }
}

fn table_row(row: &Row) -> Value {
    let mean = |metric: &str, write: fn(f64) -> String| row.get(metric).map(|estimate| write(estimate.mean));
    let share = |end: End| row.get(&format!("end_{}", end.name())).map(|estimate| estimate.mean);
    let ends = [End::Similar, End::LowReward, End::Category, End::Horizon];
    // A bar of shares, each from where the one before it stops; kept in 0..=1 whatever the file says.
    let mut from = 0.0;
    let ends: Vec<Value> = ends
        .into_iter()
        .filter_map(|end| Some((end, share(end)?.clamp(0.0, 1.0))))
        .filter(|(_, share)| *share > 0.0)
        .map(|(end, share)| {
            let x = from;
            from += share;
            let [x, width] = [x, share].map(|part| format!("{:.1}", part * 100.0));
            context! { name => end_in_words(end), class => end.name(), share => say::percent(share), x, width }
        })
        .collect();
    context! {
        name => row.name.as_str(),
        role => row.role.name(),
        remark => row.remark.as_str(),
        mean => mean("return_inclusive", say::one),
        interval => row.returns().filter(|r| r.low < r.high).map(|r| format!("[{}, {}]", say::one(r.low), say::one(r.high))),
        exclusive => mean("return_exclusive", say::one),
        each => mean("reward_each", say::two),
        length => mean("length", say::one),
        coverage => mean("coverage", say::percent),
        distinct => mean("distinct", say::one),
        ends,
        seeds => row.seeds,
        episodes => row.episodes,
    }
}

fn end_in_words(end: End) -> &'static str {
    match end {
        End::Similar => "too similar",
        End::LowReward => "low reward",
        End::Category => "too much of a category",
        End::Horizon => "horizon",
    }
}

fn panel(panel: &curves::Panel) -> Value {
    let drawn = panel.draw();
    context! { title => drawn.title, caption => drawn.caption, svg => drawn.svg.map(Value::from_safe_string) }
}

fn episodes(inputs: &Inputs) -> Value {
    let (Some(demonstrations), Some(items)) = (&inputs.demonstrations, &inputs.items) else {
        return Vec::<Value>::new().into();
    };
    let step = |(number, step): (usize, &Step)| {
        let offered = step.candidates.iter().enumerate();
        let offered =
            offered.map(|(i, title)| context! { title => title.as_str(), chosen => step.place == Some(i + 1) });
        context! {
            number => number + 1,
            title => step.title.as_str(),
            reward => say::two(step.reward),
            place => step.place,
            candidates => offered.collect::<Value>(),
        }
    };
    let episode = |example: episode::Example| {
        let episode = example.told;
        let steps: Vec<Value> = episode.steps.iter().enumerate().map(step).collect();
        let (shown, folded) = steps.split_at(steps.len().min(UNFOLDED));
        context! {
            why => example.why,
            user => episode.user,
            total => say::one(episode.total),
            length => steps.len(),
            end => end_in_words(episode.end),
            left => episode.end.terminal(),
            shown,
            folded,
        }
    };
    episode::examples(demonstrations, items).into_iter().map(episode).collect()
}

fn first_taken(taken: episode::FirstTaken) -> Value {
    context! { share => say::percent(taken.share), by_chance => say::percent(taken.by_chance), choices => taken.choices }
}

/// The legend's entries for the rows of this table that have one.
fn meanings(rows: &[Row]) -> Value {
    let entry = |row: &Row| {
        Some(context! { name => row.name.as_str(), role => row.role.name(), text => legend::meaning(row)? })
    };
    rows.iter().filter_map(entry).collect()
}
