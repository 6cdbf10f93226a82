//! Pictures of an experiment: lanes of text for a terminal, Mermaid for a page. Sweeps are shown as one stage.

use std::fmt::Write;

use crate::spec::{Experiment, Node};

/// A stage with all its cells.
struct Row<'a> {
    /// The first cell stands for all: cells differ in their config alone.
    node: &'a Node,
    cells: usize,
    /// Distinct `(from, output, input)`, `from` being the position of a row.
    edges: Vec<(usize, &'static str, &'a str)>,
}

impl Row<'_> {
    /// `policy ×5 (seed)`.
    fn title(&self) -> String {
        if self.node.cell.is_empty() {
            return self.node.stage.clone();
        }
        let keys = self.node.cell.split(',').filter_map(|part| part.split('=').next());
        format!("{} ×{} ({})", self.node.stage, self.cells, keys.collect::<Vec<_>>().join(", "))
    }
}

fn rows(experiment: &Experiment) -> Vec<Row<'_>> {
    let mut rows: Vec<Row> = Vec::new();
    for node in &experiment.nodes {
        if let Some(row) = rows.last_mut().filter(|row| row.node.stage == node.stage) {
            row.cells += 1;
            continue;
        }
        let mut edges = Vec::new();
        for (port, incoming) in &node.inputs {
            for edge in incoming {
                let stage = &experiment.nodes[edge.node].stage;
                let from = rows.iter().position(|row| row.node.stage == *stage);
                let Some(edge) = from.map(|from| (from, edge.port, port.as_str())) else { continue };
                if !edges.contains(&edge) {
                    edges.push(edge);
                }
            }
        }
        rows.push(Row { node, cells: 1, edges });
    }
    rows
}

/// The graph as text, one line for each stage in reading order. A lane begins at the stage that feeds it and runs down to
/// the last stage that reads it; what is read stands at the end of the line as well.
#[must_use]
pub fn ascii(experiment: &Experiment) -> String {
    let rows = rows(experiment);
    let last_reader = |of: usize| rows.iter().rposition(|row| row.edges.iter().any(|edge| edge.0 == of));
    // The stage whose lane each column is.
    let mut lanes: Vec<Option<usize>> = Vec::new();
    let mut drawn: Vec<String> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let mut own = None;
        if last_reader(index).is_some() {
            let free = lanes.iter().position(Option::is_none);
            own = Some(free.unwrap_or(lanes.len()));
            if free.is_none() {
                lanes.push(None);
            }
        }
        let reads = |lane: Option<usize>| lane.is_some_and(|from| row.edges.iter().any(|edge| edge.0 == from));
        let first = (0..lanes.len()).find(|&column| reads(lanes[column]) || own == Some(column));
        let mut line = String::new();
        for (column, lane) in lanes.iter().enumerate() {
            let joined = first.is_some_and(|first| column > first);
            let ends = lane.is_some_and(|from| last_reader(from) == Some(index));
            line.push(match (reads(*lane), own == Some(column), joined) {
                (true, _, true) => {
                    if ends {
                        '┴'
                    } else {
                        '┼'
                    }
                }
                (true, _, false) => {
                    if ends {
                        '╰'
                    } else {
                        '├'
                    }
                }
                (_, true, true) => '┬',
                (_, true, false) => '╭',
                // A lane that passes by is not crossed by the line: it does not feed this stage.
                (false, false, joined) => {
                    if lane.is_some() {
                        '│'
                    } else if joined {
                        '─'
                    } else {
                        ' '
                    }
                }
            });
            line.push(if first.is_some_and(|first| column >= first) { '─' } else { ' ' });
        }
        drawn.push(line);
        for lane in &mut lanes {
            if lane.is_some_and(|from| last_reader(from) == Some(index)) {
                *lane = None;
            }
        }
        if let Some(column) = own {
            lanes[column] = Some(index);
        }
    }
    let columns = lanes.len() * 2;
    let titles = rows.iter().map(|row| row.title().chars().count()).max().unwrap_or(0);
    let kinds = rows.iter().map(|row| row.node.kind.kind.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (row, line) in rows.iter().zip(drawn) {
        let connected = line.contains(['├', '╰', '╭']);
        let fill = if connected { '─' } else { ' ' };
        let line: String = line.chars().chain(std::iter::repeat(fill)).take(columns).collect();
        let line =
            format!("{line}{fill} {:titles$}  {:kinds$}  {}", row.title(), row.node.kind.kind, sources(&rows, row));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `← split.train, log.items`.
fn sources(rows: &[Row], row: &Row) -> String {
    let mut names: Vec<String> = Vec::new();
    for (from, output, _) in &row.edges {
        let name = format!("{}.{output}", rows[*from].node.stage);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { String::new() } else { format!("← {}", names.join(", ")) }
}

/// The graph as a Mermaid flowchart.
#[must_use]
pub fn mermaid(experiment: &Experiment) -> String {
    let rows = rows(experiment);
    let mut text = String::from("flowchart TD\n");
    // Writing to a text does not fail. Stages are numbered, because some names (`end`) are words of Mermaid.
    for (index, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "    s{index}[\"{}<br/><i>{}</i>\"]", row.title(), row.node.kind.kind);
    }
    for (index, row) in rows.iter().enumerate() {
        for (from, output, input) in &row.edges {
            let label = if output == input { (*output).to_owned() } else { format!("{output} → {input}") };
            let _ = writeln!(text, "    s{from} -- \"{label}\" --> s{index}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::toy::{GOOD, good};

    #[test]
    fn lanes_join_what_feeds_a_stage() {
        let picture = "\
╭──────── log               ingest
├─┬────── world             fit        ← log.interactions, log.items
╰─│─┬──── judge             fit        ← log.interactions
╭─┼─│──── policy ×3 (seed)  learn.a2c  ← world.world
│ ╰─│─┬── one               learn.a2c  ← world.world
├─┬─┴─┴── score             score      ← judge.world, policy.policy, one.policy
╰─┴────── report            report     ← score.metrics, policy.curves
";
        assert_eq!(ascii(&good(GOOD, &[])), picture);
    }

    #[test]
    fn a_lonely_stage_has_no_lane() {
        let text = "name: t\nstages:\n  a: { use: report }\n  b: { use: report }\n";
        assert_eq!(ascii(&good(text, &[])), "  a  report\n  b  report\n");
    }

    #[test]
    fn mermaid_names_the_ports() {
        let text = mermaid(&good(GOOD, &["stages.policy.sweep.gamma=[0.9, 1]"]));
        assert!(text.starts_with("flowchart TD\n    s0[\"log<br/><i>ingest</i>\"]\n"), "{text}");
        assert!(text.contains("    s3[\"policy ×6 (seed, gamma)<br/><i>learn.a2c</i>\"]\n"), "{text}");
        assert!(text.contains("    s0 -- \"items\" --> s1\n"), "{text}");
        assert_eq!(text.matches("s3 -- \"policy → policies\" --> s5").count(), 1, "{text}");
    }
}
