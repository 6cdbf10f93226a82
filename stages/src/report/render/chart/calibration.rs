//! What a world model promises against what held-out users said: a dot for each bin of predictions, on the diagonal where
//! the promise is kept.

use super::SMALL;
use super::canvas::{Anchor, Canvas};
use super::scale::Scale;
use crate::artifact::{Calibration, CalibrationBin};
use crate::report::table::format;
use crate::report::table::row::Role;

/// The chart of one model.
pub(in crate::report) struct Chart {
    pub title: String,
    /// What it shows, in words.
    pub caption: String,
    pub svg: String,
}

/// One chart for each model of a world named `world`, in the order of the file.
pub(in crate::report) fn draw(world: &str, calibration: &Calibration) -> Vec<Chart> {
    let mut models: Vec<(&str, Vec<&CalibrationBin>)> = Vec::new();
    for bin in calibration.0.iter().filter(|bin| bin.predicted.is_finite() && bin.observed.is_finite() && bin.count > 0)
    {
        match models.iter_mut().find(|(model, _)| *model == bin.model) {
            Some((_, bins)) => bins.push(bin),
            None => models.push((&bin.model, vec![bin])),
        }
    }
    models.into_iter().map(|(model, bins)| one(&format!("{world} · {model}"), &bins)).collect()
}

fn one(title: &str, bins: &[&CalibrationBin]) -> Chart {
    let [width, height] = [SMALL[0], 250.0];
    let (left, right, top, bottom) = (40.0, width - 12.0, 24.0, height - 40.0);
    let mut canvas = Canvas::new(width, height);
    // One scale for both axes: the diagonal is where the promise is kept.
    let values = || bins.iter().flat_map(|bin| [bin.predicted, bin.observed]);
    let x = Scale::holding(values(), 4, left, right);
    let y = Scale { from: bottom, to: top, ..x };
    for tick in x.ticks(4) {
        let [px, py] = [x.at(tick.value), y.at(tick.value)];
        canvas.line("grid", [left, py], [right, py]);
        canvas.text("tick", Anchor::End, [left - 6.0, py + 4.0], &tick.label);
        canvas.line("tick-mark", [px, bottom], [px, bottom + 4.0]);
        canvas.text("tick", Anchor::Middle, [px, bottom + 17.0], &tick.label);
    }
    canvas.line("reference", [x.at(x.low), y.at(x.low)], [x.at(x.high), y.at(x.high)]);
    let points: Vec<_> = bins.iter().map(|bin| [x.at(bin.predicted), y.at(bin.observed)]).collect();
    canvas.path("mean", &points, false);
    for (bin, &at) in bins.iter().zip(&points) {
        let (predicted, observed) = (format::two_decimals(bin.predicted), format::two_decimals(bin.observed));
        let tip = format!("predicted {predicted}, observed {observed}, {} ratings", bin.count);
        canvas.small_mark(Role::Learned, at, &tip);
    }
    canvas.text("axis-name", Anchor::Start, [2.0, 11.0], "observed rating");
    canvas.text("axis-name", Anchor::End, [right, height - 4.0], "predicted rating");
    let svg = canvas.finish(&format!("Calibration of {title}: observed against predicted rating by bin"));
    Chart { title: title.to_owned(), caption: caption(bins), svg }
}

fn caption(bins: &[&CalibrationBin]) -> String {
    let count: f64 = bins.iter().map(|bin| f64::from(bin.count)).sum();
    let mean = |value: &dyn Fn(&CalibrationBin) -> f64| {
        bins.iter().map(|bin| value(bin) * f64::from(bin.count)).sum::<f64>() / count
    };
    let off = mean(&|bin| (bin.predicted - bin.observed).abs());
    let rmse = mean(&|bin| bin.error * bin.error).sqrt();
    let expected = mean(&|bin| bin.deviation * bin.deviation).sqrt();
    let mut said =
        format!("mean calibration error {}; held-out RMSE {}", format::two_decimals(off), format::two_decimals(rmse));
    // The file does not tell what a model states of its noise from what its fit left over, so no model is said to be sure.
    if expected > 0.0 && expected.is_finite() {
        let word = match rmse / expected {
            ratio if ratio > 1.25 => "above",
            ratio if ratio < 0.8 => "below",
            _ => "close to",
        };
        said += &format!(", {word} the {} expected from ensemble spread and noise", format::two_decimals(expected));
    }
    format!("{said}; {count:.0} ratings")
}

#[cfg(test)]
mod tests {
    use super::{caption, draw};
    use crate::artifact::{Calibration, CalibrationBin};

    fn bin(model: &str, bin: u32, predicted: f64, observed: f64, deviation: f64) -> CalibrationBin {
        CalibrationBin { model: model.to_owned(), bin, count: 10, predicted, observed, deviation, error: 1.0 }
    }

    #[test]
    fn each_model_has_its_chart_and_its_words() {
        let bins = vec![
            bin("mean", 0, 2.0, 2.5, 0.5),
            bin("mean", 1, 4.0, 3.5, 0.5),
            bin("mean", 2, f64::NAN, 3.5, 0.5),
            bin("member0", 0, 2.0, 2.0, 0.0),
        ];
        assert_eq!(
            caption(&[&bins[0], &bins[1]]),
            "mean calibration error 0.50; held-out RMSE 1.00, above the 0.50 expected from ensemble spread and noise; 20 ratings"
        );
        let timid = [&bin("mean", 0, 2.0, 2.5, 2.0)];
        assert!(caption(&timid).contains("held-out RMSE 1.00, below the 2.00 expected"), "{}", caption(&timid));
        let drawn = draw("world", &Calibration(bins));
        assert_eq!(drawn.iter().map(|d| d.title.as_str()).collect::<Vec<_>>(), ["world · mean", "world · member0"]);
        assert!(drawn[0].svg.matches("class=\"mark").count() == 2 && !drawn[0].svg.contains("NaN"));
        assert_eq!(drawn[1].caption, "mean calibration error 0.00; held-out RMSE 1.00; 10 ratings");
        assert!(draw("world", &Calibration::default()).is_empty());
    }
}
