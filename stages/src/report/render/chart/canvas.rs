//! The few shapes that the charts are made of.

use std::fmt::Write as _;

use minijinja::HtmlEscape;

use crate::report::table::row::Role;

/// Where a text hangs from its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// One drawing, in pixels from its upper left corner. Every text that enters is escaped here.
pub(super) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    fn push(&mut self, shape: std::fmt::Arguments<'_>) {
        self.body.write_fmt(shape).expect("a String takes every write");
    }

    pub fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        self.push(format_args!(r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#));
    }

    pub fn rect(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2]) {
        self.push(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        ));
    }

    pub fn text(&mut self, class: &str, anchor: Anchor, [x, y]: [f64; 2], text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = HtmlEscape(text);
        self.push(format_args!(r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#));
    }

    /// A line through the points; fewer than two draw nothing.
    pub fn path(&mut self, class: &str, points: &[[f64; 2]], closed: bool) {
        if points.len() < 2 {
            return;
        }
        self.push(format_args!(r#"<path class="{class}" d=""#));
        for (i, [x, y]) in points.iter().enumerate() {
            self.push(format_args!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' }));
        }
        self.push(format_args!(r#"{}"/>"#, if closed { "Z" } else { "" }));
    }

    pub fn dot(&mut self, class: &str, [x, y]: [f64; 2], radius: f64) {
        self.push(format_args!(r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius:.1}"/>"#));
    }

    /// A row's mark: the shape tells the role as well as the colour does; the tip shows when pointed at.
    pub fn mark(&mut self, role: Role, at: [f64; 2], tip: &str) {
        self.sized_mark(role, at, "mark", 1.0, tip);
    }

    /// As [`Self::mark`], small enough to leave a short whisker visible.
    pub fn small_mark(&mut self, role: Role, at: [f64; 2], tip: &str) {
        self.sized_mark(role, at, "mark small", 0.7, tip);
    }

    fn sized_mark(&mut self, role: Role, [x, y]: [f64; 2], kind: &str, size: f64, tip: &str) {
        let (class, tip) = (role.name(), HtmlEscape(tip));
        self.push(format_args!(r#"<g class="{kind} {class}"><title>{tip}</title>"#));
        match role {
            Role::Baseline | Role::Plan | Role::Untrained => {
                self.push(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{:.1}"/>"#, 4.5 * size));
            }
            Role::Teacher => {
                let reach = 6.5 * size;
                let [left, right, up, down] = [x - reach, x + reach, y - reach, y + reach];
                self.push(format_args!(
                    r#"<path d="M{x:.1} {up:.1}L{right:.1} {y:.1}L{x:.1} {down:.1}L{left:.1} {y:.1}Z"/>"#
                ));
            }
            Role::Learned | Role::WithoutRepeats => {
                self.push(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{:.1}"/>"#, 5.5 * size))
            }
        }
        self.push(format_args!("</g>"));
    }

    /// The finished drawing; `title` is what a screen reader says.
    pub fn finish(self, title: &str) -> String {
        let (width, height, title) = (self.width, self.height, HtmlEscape(title));
        format!(
            r#"<svg role="img" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}"><title>{title}</title>{}</svg>"#,
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Anchor, Canvas};
    use crate::report::table::row::Role;

    #[test]
    fn every_text_is_escaped() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.text("name", Anchor::Start, [1.0, 2.0], "<script>");
        canvas.mark(Role::Baseline, [1.0, 2.0], "a & b");
        let svg = canvas.finish("x < \"y\"");
        assert!(svg.contains("&lt;script&gt;") && svg.contains("a &amp; b") && svg.contains("x &lt; &quot;y&quot;"));
    }

    #[test]
    fn a_single_point_is_no_path() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.path("seed", &[[1.0, 1.0]], false);
        assert!(!canvas.finish("empty").contains("<path"));
    }
}
