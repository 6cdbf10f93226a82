//! Performance profiles: one small chart a row, its own line and band over the faint lines of all others, so that fifteen
//! rows stay as readable as three.

use super::SMALL;
use super::canvas::{Anchor, Canvas};
use super::scale::Scale;
use crate::artifact::{ProfilePoint, Profiles};
use crate::report::table::row::{Role, Row};

/// The chart of one row.
pub(in crate::report) struct Profile {
    pub title: String,
    /// Where the row stands, in words.
    pub caption: String,
    pub svg: String,
}

/// One chart for each row with a profile; teachers and learned rows come first.
pub(in crate::report) fn draw(profiles: &Profiles, rows: &[Row]) -> Vec<Profile> {
    let finite = |p: &&ProfilePoint| [p.threshold, p.share, p.low, p.high].iter().all(|value| value.is_finite());
    let points: Vec<&ProfilePoint> = profiles.0.iter().filter(finite).collect();
    let of = |name: &str| -> Vec<&ProfilePoint> { points.iter().copied().filter(|p| p.policy == name).collect() };
    let mut order: Vec<&Row> = rows.iter().filter(|row| of(&row.name).len() > 1).collect();
    order.sort_by_key(|row| matches!(row.role, Role::Baseline | Role::Untrained));
    let lines: Vec<Vec<&ProfilePoint>> = order.iter().map(|row| of(&row.name)).collect();
    order.iter().zip(&lines).map(|(row, own)| one(row, own, &lines)).collect()
}

fn one(row: &Row, own: &[&ProfilePoint], all: &[Vec<&ProfilePoint>]) -> Profile {
    let [width, height] = SMALL;
    let (left, right, top, bottom) = (40.0, width - 12.0, 8.0, height - 24.0);
    let mut canvas = Canvas::new(width, height);
    let x = Scale::from_zero(all.iter().flatten().map(|p| p.threshold), left, right);
    let y = Scale { low: 0.0, high: 1.0, from: bottom, to: top };
    for (share, label) in [(0.0, "0"), (0.5, "50 %"), (1.0, "100 %")] {
        canvas.line("grid", [left, y.at(share)], [right, y.at(share)]);
        canvas.text("tick", Anchor::End, [left - 5.0, y.at(share) + 4.0], label);
    }
    for tick in x.ticks(4) {
        let px = x.at(tick.value);
        canvas.line("tick-mark", [px, bottom], [px, bottom + 4.0]);
        canvas.text("tick", Anchor::Middle, [px, bottom + 17.0], &tick.label);
    }
    let at = |p: &&ProfilePoint| [x.at(p.threshold), y.at(p.share)];
    for line in all {
        canvas.path("other", &line.iter().map(at).collect::<Vec<_>>(), false);
    }
    let class = row.role.name();
    let upper = own.iter().map(|p| [x.at(p.threshold), y.at(p.high)]);
    let lower = own.iter().rev().map(|p| [x.at(p.threshold), y.at(p.low)]);
    canvas.path(&format!("area {class}"), &upper.chain(lower).collect::<Vec<_>>(), true);
    canvas.path(&format!("line {class}"), &own.iter().map(at).collect::<Vec<_>>(), false);
    let half = own.iter().rev().find(|p| p.share >= 0.5);
    let caption = half.map_or_else(
        || "fewer than half of the episodes return more than the lowest τ".to_owned(),
        |p| {
            format!("half of the episodes return more than {}", crate::report::table::format::three_digits(p.threshold))
        },
    );
    let title = format!("Performance profile of {}: the share of episodes that return more than τ", row.name);
    Profile { title: row.name.clone(), caption, svg: canvas.finish(&title) }
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::artifact::{ProfilePoint, Profiles};
    use crate::report::fixture;

    #[test]
    fn each_row_has_its_own_chart_over_all_others() {
        let rows = fixture::rows(&[("random", true, 24.0, 0.5), ("a2c", false, 135.0, 1.0), ("bc", false, 120.0, 1.0)]);
        let point = |policy: &str, threshold: f64, share: f64| ProfilePoint {
            policy: policy.to_owned(),
            threshold,
            share,
            low: share - 0.05,
            high: share + 0.05,
        };
        let mut points = vec![point("bc", 0.0, f64::NAN)];
        for name in ["random", "a2c"] {
            points.extend([point(name, 0.0, 1.0), point(name, 50.0, 0.6), point(name, 100.0, 0.1)]);
        }
        let drawn = draw(&Profiles(points), &rows);
        let titles: Vec<_> = drawn.iter().map(|p| p.title.as_str()).collect();
        assert_eq!(titles, ["a2c", "random"], "learned rows first; a row without two points has none");
        assert_eq!(drawn[0].caption, "half of the episodes return more than 50.0");
        assert_eq!(drawn[0].svg.matches("class=\"other\"").count(), 2);
        assert!(drawn[0].svg.contains("area learned") && !drawn[0].svg.contains("NaN"));
    }
}
