//! Puts rows, verdict and charts into the template.

use anyhow::{Context as _, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use pipeline::escape::is_unsafe;

use crate::artifact::{Demonstrations, Page, Profiles, Termination, TitledStep};
use crate::report::findings::caveats::{self, Evidence};
use crate::report::findings::verdict::{Comparison, Contenders};
use crate::report::findings::{agreement, off_policy, ranking, significance, teachers};
use crate::report::ports::Inputs;
use crate::report::render::chart::{NARROW, WIDE, calibration, curves, profile, rewards, ridge, scatter, whisker};
use crate::report::render::link::{self, Linker};
use crate::report::render::{episode, glossary, while_learning};
use crate::report::table::row::{self, Row};
use crate::report::table::{format, metric_labels};

/// Steps of an episode that are printed before the rest folds away.
const UNFOLDED: usize = 5;

/// Renders the page; `contenders` is chosen from `rows`.
pub(in crate::report) fn render(title: &str, rows: &[Row], contenders: &Contenders, inputs: &Inputs) -> Result<String> {
    let verdict = contenders.verdict();
    let panels = curves::panels(&inputs.curves);
    let evidence = Evidence {
        metrics: inputs.metrics.as_ref(),
        comparisons: inputs.comparisons.as_ref(),
        rollouts: inputs.rollouts.as_ref(),
        estimates: inputs.estimates.as_ref(),
        several_worlds: inputs.agreement.is_some(),
    };
    let both = |draw: &dyn Fn(f64) -> Option<String>| match (draw(WIDE), draw(NARROW)) {
        (Some(wide), Some(narrow)) => {
            context! { wide => Value::from_safe_string(wide), narrow => Value::from_safe_string(narrow) }
        }
        _ => Value::from(()),
    };
    // In the order of the page: the first use of a term leads to its meaning.
    let mut linker = Linker::new(rows);
    let mut linked = |texts: &[String]| texts.iter().map(|text| linker.text(text)).collect::<Vec<_>>();
    let worlds = inputs.world_differences.as_ref();
    let of_worlds = inputs.agreement.as_ref().map(|agreement| agreement::sentences(agreement, worlds));
    let sentences = linked(&[sentences(contenders, inputs), of_worlds.unwrap_or_default()].concat());
    let caveats = linked(&caveats::caveats(rows, contenders, evidence));
    let differences = inputs.comparisons.as_ref().map(significance::test_all);
    let differences = differences.map(|tested| tested_differences(&tested, &linked(&significance::sentences(&tested))));
    let horizon = row::horizon(rows);
    let page = context! {
        title,
        sentences,
        comparisons => verdict.comparisons.iter().map(comparison).collect::<Value>(),
        best => contenders.best.map(|row| row.name.as_str()),
        caveats,
        heads => heads(),
        rows => rows.iter().enumerate().map(|(place, row)| table_row(place, row, horizon)).collect::<Value>(),
        tested => differences,
        models => Some(teachers::rows(rows)).filter(|rows| !rows.is_empty()).map(|rows| teachers::table(&rows)),
        more => more(rows),
        profiles => inputs.profiles.as_ref().map(|profiles| profiles_of(profiles, rows)),
        calibration => inputs.calibration.iter().flat_map(|world| calibration::draw(&named(world), &world.value))
            .map(|drawn| figure(&drawn.title, &drawn.caption, drawn.svg)).collect::<Value>(),
        rewards => inputs.rewards.iter().flat_map(|reward| rewards::draw(&named(reward), &reward.value))
            .map(|drawn| figure(&drawn.title, &drawn.caption, drawn.svg)).collect::<Value>(),
        estimates => inputs.estimates.as_ref().map(off_policy::rows),
        estimates_said => inputs.estimates.as_ref().map(off_policy::sentences),
        agreement => inputs.agreement.as_ref().map(|agreement| agreement::section(agreement, worlds)),
        ranking => inputs.ranking.as_ref().map(ranking::section),
        absent => absent(inputs),
        place => Value::from_safe_string(Page::PLACE.to_owned()),
        whisker => both(&|width| whisker::draw(rows, &contenders.references(), width)),
        scatter => both(&|width| scatter::draw(rows, width)),
        ridge => both(&|width| ridge::draw(rows, width)),
        panels => panels.iter().map(panel).collect::<Value>(),
        learning => while_learning::table(&panels),
        series => series(&panels),
        example_episodes => example_episodes(inputs),
        terms => terms(),
        meanings => meanings(rows),
        has_rollouts => inputs.rollouts.is_some(),
    };
    fill("page.html.j2", page)
}

/// What stands at the top: the verdict on returns, or without them the ranking's.
pub(in crate::report) fn sentences(contenders: &Contenders, inputs: &Inputs) -> Vec<String> {
    match (&inputs.metrics, &inputs.ranking) {
        (None, Some(ranking)) => ranking::sentences(ranking),
        _ => contenders.verdict().sentences,
    }
}

/// Fills one of the folder's templates.
pub(in crate::report) fn fill(template: &str, with: Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    // The names decide the escaping: everything that enters `.html` is escaped, the style is taken as it is.
    environment.add_template("page.css", include_str!("page.css"))?;
    environment.add_template("page.html.j2", include_str!("page.html.j2"))?;
    environment.add_template("compare.html.j2", include_str!("compare.html.j2"))?;
    environment.add_template("worth.html.j2", include_str!("worth.html.j2"))?;
    environment.add_template("run_info.html.j2", include_str!("run_info.html.j2"))?;
    let page = environment.get_template(template)?.render(with);
    Ok(harmless(&page.with_context(|| format!("cannot fill the template {template}"))?))
}

/// A page in which no character that a name or a title brought with it turns around what follows: such are written as escapes.
fn harmless(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    for character in page.chars() {
        if is_unsafe(character) && !matches!(character, '\n' | '\t') {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// What was measured beyond the table's own columns.
fn more(rows: &[Row]) -> Value {
    let measures = metric_labels::further_metrics(rows);
    if measures.is_empty() {
        return Value::from(());
    }
    let cells = |row: &Row| {
        measures
            .iter()
            .map(|name| row.get(name).map_or("–".to_owned(), |e| metric_labels::formatted(name, e)))
            .collect::<Vec<_>>()
    };
    let meaning =
        |name: &String| Some(context! { name => metric_labels::label(name), text => glossary::measure(name)? });
    context! {
        meanings => measures.iter().filter_map(meaning).collect::<Value>(),
        names => measures.iter().map(|name| metric_labels::label(name)).collect::<Vec<_>>(),
        rows => rows.iter().map(|row| context! { name => row.name.as_str(), cells => cells(row) }).collect::<Value>(),
    }
}

fn tested_differences(tested: &[significance::TestedDifference], sentences: &[Value]) -> Value {
    let row = |j: &significance::TestedDifference| {
        let c = j.comparison;
        let chance =
            [c.probability_of_improvement, c.probability_of_improvement_low, c.probability_of_improvement_high]
                .map(format::percent);
        context! {
            policy => c.policy.as_str(),
            other => c.other.as_str(),
            metric => metric_labels::label(&c.metric),
            difference => format::difference_with_interval(j.estimate()),
            probability_of_improvement => format!("{} [{}, {}]", chance[0], chance[1], chance[2]),
            real => j.holds(),
            p => format::p_value(j.p),
            seeds => c.seeds,
            users => c.users,
        }
    };
    context! { sentences, rows => tested.iter().map(row).collect::<Value>() }
}

fn profiles_of(profiles: &Profiles, rows: &[Row]) -> Value {
    let drawn = profile::draw(profiles, rows).into_iter();
    drawn.map(|drawn| figure(&drawn.title, &drawn.caption, drawn.svg)).collect()
}

fn figure(title: &str, caption: &str, svg: String) -> Value {
    context! { title, caption, svg => Value::from_safe_string(svg) }
}

/// `policy`, or `policy seed=3` for a cell.
fn named<T>(named: &pipeline::Named<T>) -> String {
    if named.cell.is_empty() { named.name.clone() } else { format!("{} {}", named.name, named.cell) }
}

/// What this page could say more, in the ports' names.
fn absent(inputs: &Inputs) -> Vec<&'static str> {
    let all = [
        ("metrics", inputs.metrics.is_none()),
        ("comparisons", inputs.comparisons.is_none()),
        ("profiles", inputs.profiles.is_none()),
        ("rollouts", inputs.rollouts.is_none()),
        ("agreement", inputs.agreement.is_none()),
        ("ranking", inputs.ranking.is_none()),
        ("estimates", inputs.estimates.is_none()),
        ("calibration", inputs.calibration.is_empty()),
        ("rewards", inputs.rewards.is_empty()),
        ("curves", inputs.curves.is_empty()),
        ("demonstrations", inputs.demonstrations.is_empty()),
    ];
    all.into_iter().filter(|(_, absent)| *absent).map(|(name, _)| name).collect()
}

fn comparison(comparison: &Comparison) -> Value {
    let (sign, class, words) = comparison.outcome.words();
    let words = match comparison.paired {
        Some(paired) => format!("{}, same users", format::interval_ends(paired)),
        None => words.to_owned(),
    };
    let difference = format::signed_difference(comparison.difference);
    context! { against => comparison.against.as_str(), difference, sign, class, words }
}

/// The glossary: the terms, each with its address.
pub(in crate::report) fn terms() -> Value {
    let term = |term: &glossary::Term| context! { id => link::term_id(term.id), term => term.term, text => term.text };
    glossary::TERMS.iter().map(term).collect()
}

/// The heads of the table's columns, which lead to their meaning.
fn heads() -> Value {
    let column = |metric: &str, id: &str| (metric_labels::label(metric), id.to_owned(), "");
    let heads = [
        ("row".to_owned(), "learned".to_owned(), ""),
        column("return_inclusive", "return"),
        column("return_exclusive", "return"),
        column("reward_per_step", "each"),
        column("length", "each"),
        column("coverage", "coverage"),
        column("distinct_items", "coverage"),
        ("episodes end by".to_owned(), "ends".to_owned(), "ends"),
        column("seeds", "seeds"),
        column("episodes", "episode"),
    ];
    heads.into_iter().map(|(label, id, class)| context! { head => link::head(&label, &id), label, class }).collect()
}

/// A row of the table; `horizon` as [`Row::ends`] has it.
fn table_row(place: usize, row: &Row, horizon: Option<f64>) -> Value {
    let mean = |metric: &str, write: fn(f64) -> String| row.get(metric).map(|estimate| write(estimate.mean));
    // A bar of shares, each from where the one before it stops.
    let mut from = 0.0;
    let ends: Vec<Value> = row
        .ends(horizon)
        .into_iter()
        .map(|(end, share)| {
            let x = from;
            from += share;
            let [x, width] = [x, share].map(|part| format!("{:.1}", part * 100.0));
            context! { name => end_in_words(end), class => end.name(), share => format::percent(share), x, width }
        })
        .collect();
    context! {
        name => glossary::meaning(row).map_or_else(
            || Value::from(row.name.as_str()),
            |meaning| Value::from_safe_string(link::anchor(&link::row_id(place), meaning, &row.name)),
        ),
        role => row.role.name(),
        remark => row.remark.as_str(),
        mean => mean("return_inclusive", format::one_decimal),
        interval => row.returns().filter(|r| r.low < r.high).map(format::interval_ends),
        exclusive => mean("return_exclusive", format::one_decimal),
        each => mean("reward_per_step", format::two_decimals),
        length => mean("length", format::one_decimal),
        coverage => mean("coverage", format::percent),
        distinct => mean("distinct_items", format::one_decimal),
        ends,
        seeds => row.seeds,
        episodes => row.episodes,
    }
}

fn end_in_words(end: Termination) -> &'static str {
    match end {
        Termination::Similar => "too similar",
        Termination::LowReward => "low reward",
        Termination::Category => "too much of a category",
        Termination::Stopped => "left, no reason known",
        Termination::Horizon => "horizon",
    }
}

/// What is measured in the panels, each series once.
fn series(panels: &[curves::Panel]) -> Value {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for (name, text) in panels.iter().filter_map(|panel| Some((&*panel.series, glossary::series(&panel.series)?))) {
        if !told.iter().any(|(_, known)| *known == text) {
            told.push((name, text));
        }
    }
    told.into_iter().map(|(name, text)| context! { name, text }).collect()
}

fn panel(panel: &curves::Panel) -> Value {
    let drawn = panel.draw();
    context! { title => drawn.title, caption => drawn.caption, svg => drawn.svg.map(Value::from_safe_string) }
}

/// Episodes of each language model; of several only the first example of each.
fn example_episodes(inputs: &Inputs) -> Value {
    let Some(items) = &inputs.items else { return Vec::<Value>::new().into() };
    let several = inputs.demonstrations.len() > 1;
    let model = |model: &pipeline::Named<Demonstrations>| {
        let mut examples = episode::examples(&model.value, items);
        examples.truncate(if several { 1 } else { examples.len() });
        context! {
            name => several.then(|| named(model)),
            first_taken => episode::first_taken(&model.value).map(first_taken),
            episodes => examples.into_iter().map(one_episode).collect::<Value>(),
        }
    };
    let models = inputs.demonstrations.iter().filter(|model| !model.value.trajectories.is_empty());
    models.map(model).collect()
}

fn one_episode(example: episode::Example) -> Value {
    let step = |(number, step): (usize, &TitledStep)| {
        let offered = step.candidates.iter().enumerate();
        let offered =
            offered.map(|(i, title)| context! { title => title.as_str(), chosen => step.place == Some(i + 1) });
        context! {
            number => number + 1,
            title => step.title.as_str(),
            reward => format::two_decimals(step.reward),
            place => step.place,
            candidates => offered.collect::<Value>(),
        }
    };
    let episode = example.told;
    let steps: Vec<Value> = episode.steps.iter().enumerate().map(step).collect();
    let (shown, folded) = steps.split_at(steps.len().min(UNFOLDED));
    context! {
        why => example.why,
        user => episode.user,
        total => format::one_decimal(episode.total),
        length => steps.len(),
        end => end_in_words(episode.end),
        left => episode.end.terminal(),
        shown,
        folded,
    }
}

fn first_taken(taken: episode::FirstTaken) -> Value {
    context! { share => format::percent(taken.share), by_chance => format::percent(taken.by_chance), choices => taken.choices }
}

/// The legend's entries for the rows of this table that have one.
fn meanings(rows: &[Row]) -> Value {
    let entry = |(place, row): (usize, &Row)| {
        let (id, name) = (link::row_id(place), row.name.as_str());
        Some(context! { id, name, role => row.role.name(), text => glossary::meaning(row)? })
    };
    rows.iter().enumerate().filter_map(entry).collect()
}
