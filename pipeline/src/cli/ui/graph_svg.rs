//! The graph of a run as a picture: one column a step from the sources, one box a stage with all its cells, coloured by state.

use std::collections::BTreeMap;

use super::html;
use crate::report::RunSummary;

const WIDTH: usize = 150;
const HEIGHT: usize = 38;
const GAP: [usize; 2] = [46, 14];

/// A stage with its cells.
struct Group<'a> {
    name: &'a str,
    kind: &'a str,
    /// How many cells are in which state.
    states: BTreeMap<&'a str, usize>,
    from: Vec<usize>,
    column: usize,
    row: usize,
}

/// Inline SVG. `states` are those of the stages, in their order.
pub(super) fn graph(run: &RunSummary, states: &[&str]) -> String {
    let groups = groups(run, states);
    let place = |group: &Group| [group.column * (WIDTH + GAP[0]) + 1, group.row * (HEIGHT + GAP[1]) + 1];
    let end = |axis: usize, size: usize| groups.iter().map(|group| place(group)[axis] + size + 1).max().unwrap_or(0);
    let (width, height) = (end(0, WIDTH), end(1, HEIGHT));
    let mut out = format!(
        "<div class=\"wide\"><svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"graph of stages\">\n"
    );
    for group in &groups {
        let [x, y] = place(group);
        for from in &group.from {
            let [from_x, from_y] = place(&groups[*from]);
            let (a, b, c, d) = (from_x + WIDTH, from_y + HEIGHT / 2, x, y + HEIGHT / 2);
            let middle = usize::midpoint(a, c);
            out += &format!(
                "<path d=\"M{a} {b} C{middle} {b} {middle} {d} {c} {d}\" fill=\"none\" stroke=\"var(--line)\" stroke-width=\"1.5\"/>\n"
            );
        }
    }
    for group in &groups {
        let [x, y] = place(group);
        let state = worst(&group.states);
        let count: usize = group.states.values().sum();
        let states =
            group.states.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ");
        let name = if count == 1 { group.name.to_owned() } else { format!("{} ×{count}", group.name) };
        out += &format!(
            "<g class=\"{state}\"><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"none\" \
             stroke=\"currentColor\"/><text x=\"{}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{}\" opacity=\".65\">{}</text></g>\n",
            html::text(&format!("{} ({}): {states}", group.name, group.kind)),
            x + 8,
            y + 16,
            html::text(&cut(&name)),
            x + 8,
            y + 31,
            html::text(&cut(group.kind)),
        );
    }
    out + "</svg></div>"
}

fn cut(name: &str) -> String {
    const MOST: usize = 22;
    if name.chars().count() <= MOST { name.to_owned() } else { name.chars().take(MOST - 1).chain(['…']).collect() }
}

/// What a person should know of a stage first.
fn worst<'a>(states: &BTreeMap<&'a str, usize>) -> &'a str {
    let order = ["failed", "killed", "running", "interrupted", "submitted", "not started", "ran", "hit"];
    let rank = |state: &str| order.iter().position(|one| *one == state);
    states.keys().copied().min_by_key(|state| rank(state).unwrap_or(order.len())).unwrap_or_default()
}

fn groups<'a>(run: &'a RunSummary, states: &[&'a str]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group> = Vec::new();
    // Who made a content, as far as this run tells.
    let mut makers: BTreeMap<&str, usize> = BTreeMap::new();
    for (stage, state) in run.stages.iter().zip(states) {
        let name = stage.name.split('@').next().unwrap_or_default();
        let at = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            let (states, from) = (BTreeMap::new(), Vec::new());
            groups.push(Group { name, kind: &stage.kind, states, from, column: 0, row: 0 });
            groups.len() - 1
        });
        *groups[at].states.entry(state).or_default() += 1;
        for input in &stage.inputs {
            if let Some(&from) = makers.get(input.digest.as_str())
                && from != at
                && !groups[at].from.contains(&from)
            {
                groups[at].from.push(from);
            }
        }
        // The first to make it: a stage that makes the same is another one's equal.
        stage.files.iter().for_each(|file| {
            makers.entry(&file.digest).or_insert(at);
        });
    }
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    for at in 0..groups.len() {
        let column = groups[at].from.iter().map(|&from| groups[from].column + 1).max().unwrap_or(0);
        let row = rows.entry(column).or_default();
        (groups[at].column, groups[at].row) = (column, *row);
        *row += 1;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_that_matters_most_is_shown() {
        let states = |names: &[&'static str]| names.iter().map(|name| (*name, 1)).collect::<BTreeMap<_, _>>();
        assert_eq!(worst(&states(&["hit", "ran", "failed", "not started"])), "failed");
        assert_eq!(worst(&states(&["hit", "running", "ran"])), "running");
        assert_eq!(worst(&states(&["hit", "ran"])), "ran");
        assert_eq!(cut("a-stage-with-a-very-long-name"), "a-stage-with-a-very-l…");
    }
}
