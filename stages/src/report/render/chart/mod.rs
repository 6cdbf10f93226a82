//! Charts as SVG text that the page holds inline: no script, no font, no picture from elsewhere.
//!
//! A chart sets geometry and class names only; colours live in `page.css`, so that one drawing serves light, dark and
//! print. Nothing scales text down: a chart that must fit a telephone is drawn a second time, narrow.

pub(in crate::report) mod calibration;
mod canvas;
pub(in crate::report) mod curves;
pub(in crate::report) mod learning_curves;
pub(in crate::report) mod profile;
pub(in crate::report) mod rewards;
pub(in crate::report) mod ridge;
pub(in crate::report) mod scale;
pub(in crate::report) mod scatter;
pub(in crate::report) mod whisker;

/// Width of a chart on a desk, in pixels of the page.
pub(in crate::report) const WIDE: f64 = 920.0;
/// Width of the same chart on a telephone.
pub(in crate::report) const NARROW: f64 = 360.0;
/// Width and height of one of many small charts.
pub(in crate::report) const SMALL: [f64; 2] = [290.0, 170.0];

/// A name cut to at most `most` characters.
fn clip(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let kept: String = name.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// About how wide `text` is at `size` pixels a line, for placing labels; proportional fonts differ by a tenth.
fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.56
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn long_names_end_in_an_ellipsis() {
        assert_eq!(clip("a2c", 5), "a2c");
        assert_eq!(clip("random quit-aware", 8), "random…");
    }
}
